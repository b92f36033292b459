// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// shelf is a backend in memory.
type shelf map[string][]byte

func (s shelf) Get(_ context.Context, key string) ([]byte, bool, error) {
	value, ok := s[key]
	return value, ok, nil
}

func (s shelf) Put(_ context.Context, key string, value []byte) error {
	s[key] = value
	return nil
}

func (s shelf) Delete(_ context.Context, key string) error {
	delete(s, key)
	return nil
}

func (s shelf) List(_ context.Context, prefix string, visit func(string, []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(key, prefix) {
			if err := visit(key, s[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func of(namespace, cluster, profile string) Report {
	return Report{
		Cluster: fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: namespace, Name: cluster},
		Owner:   inventory.Owner{Kind: "ClusterProfile", Name: profile},
		Preview: deploy.Preview{Objects: []deploy.ObjectChange{{
			ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "x", Name: "a"}, Feature: deploy.Resources, Action: deploy.ActionCreate, Message: "why",
		}}},
	}
}

func names(t *testing.T, s *Store, namespace string) []string {
	t.Helper()
	reports, err := s.List(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range reports {
		out = append(out, r.Cluster.Namespace+"/"+r.Cluster.Name+" "+r.Owner.Name)
	}
	return out
}

func TestStore(t *testing.T) {
	s := NewStore(shelf{})
	for _, r := range []Report{of("civo", "c1", "a"), of("civo", "c1", "b"), of("civo", "c10", "a"), of("other", "c1", "a")} {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.List(t.Context(), "other")
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if diff := cmp.Diff(of("other", "c1", "a"), got[0]); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if err := s.DeleteCluster(t.Context(), of("civo", "c1", "").Cluster); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"civo/c10 a", "other/c1 a"}, names(t, s, "")); diff != "" {
		t.Errorf("left after a cluster went (-want +got):\n%s", diff)
	}
	last := of("civo", "c10", "a")
	if err := errors.Join(s.Delete(t.Context(), last.Cluster, last.Owner.Key()), s.Delete(t.Context(), last.Cluster, last.Owner.Key())); err != nil {
		t.Error(err)
	}
	if got := names(t, s, "civo"); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

func TestAReportIsBounded(t *testing.T) {
	r := of("civo", "c1", "a")
	long := strings.Repeat("x", 32<<10)
	r.Objects = nil
	for range 100 {
		r.Objects = append(r.Objects, deploy.ObjectChange{Action: deploy.ActionUpdate, Message: long})
	}
	backend := shelf{}
	if err := NewStore(backend).Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, value := range backend {
		if len(value) > maxMessages+64<<10 {
			t.Errorf("a report of %d bytes", len(value))
		}
		if !strings.Contains(string(value), "is left out") {
			t.Error("it does not say that something is missing")
		}
	}
	if r.Objects[99].Message != long {
		t.Error("what was given was written to")
	}
}
