// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package revision

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/storage/records"
)

// memory is records without an etcd behind them.
type memory map[string][]byte

func (m memory) Get(_ context.Context, key string) (records.Record, error) {
	value, ok := m[key]
	if !ok {
		return records.Record{}, records.ErrNotFound
	}
	return records.Record{Key: key, Value: value}, nil
}

func (m memory) Create(_ context.Context, key string, value []byte) (int64, error) {
	if _, ok := m[key]; ok {
		return 0, records.ErrExists
	}
	m[key] = value
	return 1, nil
}

func (m memory) Delete(_ context.Context, key string) error {
	delete(m, key)
	return nil
}

func (m memory) List(_ context.Context, keyPrefix string) iter.Seq2[records.Record, error] {
	return func(yield func(records.Record, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if strings.HasPrefix(key, keyPrefix) && !yield(records.Record{Key: key, Value: m[key]}, nil) {
				return
			}
		}
	}
}

func specWithSet(name string) *configv1beta1.ProfileSpec {
	return &configv1beta1.ProfileSpec{SetRefs: []string{name}, Tier: 100}
}

var (
	owner = Owner{Kind: "ClusterProfile", Name: "kyverno"}
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func ensure(t *testing.T, store *Store, spec *configv1beta1.ProfileSpec, at time.Time) string {
	t.Helper()
	name, _, err := store.Ensure(t.Context(), owner, spec, at)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestASpecIsStoredOnce(t *testing.T) {
	m := memory{}
	first := ensure(t, NewStore(m), specWithSet("prod"), start)
	again := ensure(t, NewStore(m), specWithSet("prod"), start.Add(time.Hour))
	if first != again || len(m) != 1 {
		t.Errorf("names %q and %q, %d records; want one name and one record", first, again, len(m))
	}
	got, err := NewStore(m).Get(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	want := Revision{Name: first, Created: start, Spec: specWithSet("prod")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("revision (-want +got):\n%s", diff)
	}
}

// Another leader deletes a profile with its revisions, and the profile is made
// again when this process leads once more.
func TestANewTermsStoreEnsuresWhatAnotherLeaderHasDeleted(t *testing.T) {
	stored := memory{}
	spec := specWithSet("prod")
	if _, _, err := NewStore(stored).Ensure(t.Context(), owner, spec, start); err != nil {
		t.Fatal(err)
	}
	if err := NewStore(stored).Trim(t.Context(), owner, nil, 0); err != nil {
		t.Fatal(err)
	}
	name, created, err := NewStore(stored).Ensure(t.Context(), owner, spec, start)
	if err != nil || !created {
		t.Fatalf("created %t, %v", created, err)
	}
	if _, err := NewStore(stored).Get(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func TestEverySpecHasItsOwnName(t *testing.T) {
	store := NewStore(memory{})
	if a, b := ensure(t, store, specWithSet("a"), start), ensure(t, store, specWithSet("b"), start); a == b {
		t.Errorf("two specs share the name %q", a)
	}
	other := Owner{Kind: "Profile", Namespace: "ns", Name: "kyverno"}
	mine, _ := Name(owner, specWithSet("a"))
	theirs, _ := Name(other, specWithSet("a"))
	if mine == theirs {
		t.Errorf("two profiles share the name %q", mine)
	}
}

func TestARevisionDoesNotChangeWithItsSource(t *testing.T) {
	store := NewStore(memory{})
	spec := specWithSet("prod")
	name := ensure(t, store, spec, start)
	spec.SetRefs[0] = "changed"
	got, err := store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"prod"}, got.Spec.SetRefs); diff != "" {
		t.Errorf("setRefs (-want +got):\n%s", diff)
	}
}

func TestMissingAndDamagedRevisions(t *testing.T) {
	m := memory{prefix + "ClusterProfile/_/x/1": []byte("{"), prefix + "ClusterProfile/_/x/2": []byte("{}")}
	store := NewStore(m)
	if _, err := store.Get(t.Context(), "ClusterProfile/_/x/0"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error of a missing revision is %v, want ErrNotFound", err)
	}
	for _, name := range []string{"ClusterProfile/_/x/1", "ClusterProfile/_/x/2"} {
		_, err := store.Get(t.Context(), name)
		if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), name) {
			t.Errorf("error of damaged revision %s is %v; it must name it, and not pass for missing", name, err)
		}
	}
}

func TestTrimKeepsWhatIsInUseAndTheNewest(t *testing.T) {
	m := memory{}
	store := NewStore(m)
	var names []string
	for i, set := range []string{"a", "b", "c", "d", "e"} {
		names = append(names, ensure(t, store, specWithSet(set), start.Add(time.Duration(i)*time.Minute)))
	}
	if err := store.Trim(t.Context(), owner, map[string]bool{names[0]: true}, 2); err != nil {
		t.Fatal(err)
	}
	history, err := store.History(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, revision := range history {
		left = append(left, revision.Name)
	}
	if diff := cmp.Diff([]string{names[4], names[3], names[0]}, left); diff != "" {
		t.Errorf("history after trim (-want +got):\n%s", diff)
	}
	if _, err := store.Get(t.Context(), names[1]); !errors.Is(err, ErrNotFound) {
		t.Errorf("a trimmed revision is still served: %v", err)
	}
}
