// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRecordsAreTheReadersOwn(t *testing.T) {
	store := NewStore(&shelf{values: map[string][]byte{}})
	if err := store.Put(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	read := map[string]func() (*Record, error){
		"by key": func() (*Record, error) { return store.Get(t.Context(), sample().Cluster, sample().Owner.Key()) },
		"in a list": func() (*Record, error) {
			records, err := store.ForCluster(t.Context(), sample().Cluster)
			return records[0], err
		},
	}
	for range 2 {
		for how, read := range read {
			got, err := read()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample(), got); diff != "" {
				t.Fatalf("%s, a record has what another reader wrote into it (-want +got):\n%s", how, diff)
			}
			got.Revision, got.Objects[0].UID, got.Objects[0].FormerOwners = "other", "other", nil
			got.Objects = append(got.Objects, Object{})
			got.Releases[0].Version, got.WantedObjects = "other", nil
		}
	}
}

func TestWhatIsRememberedIsNotBelieved(t *testing.T) {
	ctx, backend := t.Context(), &shelf{values: map[string][]byte{}}
	store, other := NewStore(backend), NewStore(backend)
	record := sample()
	for _, revision := range []string{"web-1", "web-2", "web-1"} {
		record.Revision = revision
		if err := other.Put(ctx, record); err != nil {
			t.Fatal(err)
		}
		got, err := store.Get(ctx, record.Cluster, record.Owner.Key())
		if err != nil || got.Revision != revision {
			t.Errorf("the record is of %v, %v, want %s as somebody else has stored it", got, err, revision)
		}
	}
	backend.values[Key(record.Cluster, record.Owner.Key())] = []byte("nonsense")
	if _, err := store.Get(ctx, record.Cluster, record.Owner.Key()); err == nil {
		t.Error("a damaged record was read")
	}
	delete(backend.values, Key(record.Cluster, record.Owner.Key()))
	if got, err := store.Get(ctx, record.Cluster, record.Owner.Key()); got != nil || err != nil {
		t.Errorf("a record that is gone is %v, %v", got, err)
	}
}

func TestByKeyPointsIntoTheRecord(t *testing.T) {
	r := sample()
	if entries := r.ByKey(); len(entries) != 1 || entries[r.Objects[0].ObjectKey] != &r.Objects[0] {
		t.Errorf("the entries are %v", entries)
	}
}
