// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rounds

import (
	"errors"
	"testing"
)

func TestCallersShareTheRoundThatHasNotBegun(t *testing.T) {
	r := New[int]()
	first := r.Join()
	if r.Join() != first {
		t.Error("two callers have two rounds")
	}
	<-r.Wake()
	if r.Take() != first {
		t.Fatal("another round begins than was joined")
	}
	late := r.Join()
	if late == first {
		t.Error("a caller joined a round that had begun")
	}
	failed := errors.New("no")
	first.End(7, failed)
	<-first.Done()
	if value, err := first.Result(); value != 7 || !errors.Is(err, failed) {
		t.Errorf("the round ended with %d, %v", value, err)
	}
	<-r.Wake()
	if r.Take() != late {
		t.Error("the late caller's round does not follow")
	}
	select {
	case <-r.Wake():
		t.Error("a round begins that nobody joined")
	default:
	}
}
