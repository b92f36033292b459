// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import "testing"

// What a person asks for once is done once, whoever leads.
func TestRetriggerAppliesOnceMore(t *testing.T) {
	b := newBench(t)
	for _, step := range []struct {
		retrigger string
		applied   int
	}{{"", 1}, {"", 0}, {"a", 1}, {"a", 0}, {"b", 1}, {"", 0}, {"b", 1}, {"b", 0}} {
		request := Request{Revision: "web-1", Objects: resources(configMap(t, "a", "1")), Retrigger: step.retrigger}
		if got := b.mustDeploy(request).Features[Resources].Applied; got != step.applied {
			t.Errorf("with %q %d objects were applied, want %d", step.retrigger, got, step.applied)
		}
	}
}
