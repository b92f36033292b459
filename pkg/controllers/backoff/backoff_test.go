// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package backoff

import "testing"

func TestNobodyWaitsLongNorForOthers(t *testing.T) {
	limiter := Limiter[int]()
	for failures := range 100 {
		if wait := limiter.When(0); wait > most {
			t.Fatalf("after %d failures a request waits %s, at most %s are allowed", failures+1, wait, most)
		}
	}
	if wait := limiter.When(0); wait != most {
		t.Errorf("after very many failures a request waits %s, want %s", wait, most)
	}
	for request := range 10_000 {
		if wait := limiter.When(request + 1); wait != first {
			t.Fatalf("the first failure of request %d waits %s, want %s", request+1, wait, first)
		}
	}
}
