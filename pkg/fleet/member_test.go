// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"slices"
	"testing"
)

func TestRefOrder(t *testing.T) {
	sorted := []Ref{
		{"", "Cluster", "a", "a"}, {"g", "Cluster", "a", "a"}, {"g", "Other", "a", "a"},
		{"g", "Cluster", "a", "b"}, {"g", "Cluster", "b", "a"},
	}
	shuffled := []Ref{sorted[3], sorted[0], sorted[4], sorted[2], sorted[1]}
	slices.SortFunc(shuffled, Ref.Compare)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("got %v", shuffled)
	}
	for _, r := range sorted {
		if r.Compare(r) != 0 {
			t.Errorf("%v differs from itself", r)
		}
	}
	if got := sorted[1].String(); got != "Cluster a/a" {
		t.Errorf("got %q", got)
	}
}

func TestIdentity(t *testing.T) {
	if !(Identity{}).IsZero() || (Identity{}).UserName() != "" {
		t.Error("the zero identity is Muster's own")
	}
	tenant := Identity{ServiceAccountNamespace: "team", ServiceAccountName: "deployer"}
	if tenant.IsZero() || tenant.UserName() != "system:serviceaccount:team:deployer" {
		t.Errorf("got %q", tenant.UserName())
	}
}
