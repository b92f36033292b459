// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/muster-project/muster/pkg/fleet"
)

// shelf is a Backend in memory.
type shelf struct {
	values map[string][]byte
	err    error
}

func (s *shelf) Get(_ context.Context, key string) ([]byte, bool, error) {
	value, ok := s.values[key]
	return value, ok, s.err
}

func (s *shelf) Put(_ context.Context, key string, value []byte) error {
	if s.err == nil {
		s.values[key] = value
	}
	return s.err
}

func (s *shelf) Delete(_ context.Context, key string) error {
	delete(s.values, key)
	return s.err
}

func (s *shelf) List(_ context.Context, prefix string, visit func(string, []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if strings.HasPrefix(key, prefix) {
			if err := visit(key, s.values[key]); err != nil {
				return err
			}
		}
	}
	return s.err
}

func cluster(namespace, name string) fleet.Ref {
	return fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: namespace, Name: name}
}

func sample() *Record {
	from := OwnerKey{Kind: "Profile", Namespace: "civo", Name: "old"}
	at := metav1.NewTime(time.Date(2026, 3, 13, 10, 19, 6, 0, time.UTC).Local())
	return &Record{
		Cluster: cluster("civo", "cluster1"), ClusterUID: "u", ClusterID: "i",
		Owner:   Owner{Kind: "ClusterProfile", Name: "web", Tier: 100},
		Summary: "web-sveltos-cluster1", Revision: "web-1",
		Objects: []Object{{
			ObjectKey: ObjectKey{Group: "apps", Kind: "Deployment", Namespace: "web", Name: "d"}, Version: "v1", Feature: "Resources",
			Source: Source{Kind: "ConfigMap", Namespace: "civo", Name: "manifests", Tier: 100},
			UID:    "x", ContentHash: "h", LastAppliedTime: at, TakenFrom: &from, FormerOwners: []OwnerKey{from},
		}},
		Releases: []Release{{
			ReleaseKey: ReleaseKey{Namespace: "web", Name: "nginx"}, Chart: "nginx", Version: "1.2.3", AppVersion: "1.27",
			RepoURL: "https://charts.example", Icon: "https://x/icon.png", ValuesHash: "v", ContentHash: "c", LastAppliedTime: at,
		}},
		WantedObjects:  []ObjectKey{{Kind: "ConfigMap", Namespace: "web", Name: "c"}},
		WantedReleases: []ReleaseKey{{Namespace: "web", Name: "redis"}},
	}
}

func TestStoreKeepsRecords(t *testing.T) {
	ctx := context.Background()
	store := NewStore(&shelf{values: map[string][]byte{}})
	want := sample()
	if err := store.Put(ctx, want); err != nil {
		t.Fatal(err)
	}
	got, err := store.Get(ctx, want.Cluster, want.Owner.Key())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if err := store.Delete(ctx, want.Cluster, want.Owner.Key()); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(ctx, want.Cluster, want.Owner.Key()); got != nil || err != nil {
		t.Errorf("after deleting: %v, %v", got, err)
	}
}

// The stored form is read by later versions: a change of it is a migration.
func TestEncodeIsStable(t *testing.T) {
	r := sample()
	r.Objects[0].LastAppliedTime = metav1.Time{}
	r.Releases[0].LastAppliedTime = metav1.Time{}
	got, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"format":1,"cluster":{"Group":"lib.projectsveltos.io","Kind":"SveltosCluster","Namespace":"civo","Name":"cluster1"},` +
		`"clusterUID":"u","clusterID":"i","owner":{"kind":"ClusterProfile","name":"web","tier":100},"summary":"web-sveltos-cluster1","revision":"web-1",` +
		`"objects":[{"group":"apps","kind":"Deployment","namespace":"web","name":"d","version":"v1","feature":"Resources",` +
		`"source":{"kind":"ConfigMap","namespace":"civo","name":"manifests","tier":100},"uid":"x","contentHash":"h",` +
		`"takenFrom":{"kind":"Profile","namespace":"civo","name":"old"},"formerOwners":[{"kind":"Profile","namespace":"civo","name":"old"}]}],` +
		`"releases":[{"namespace":"web","name":"nginx","chart":"nginx","version":"1.2.3","appVersion":"1.27","repoURL":"https://charts.example",` +
		`"icon":"https://x/icon.png","valuesHash":"v","contentHash":"c"}],` +
		`"wantedObjects":[{"kind":"ConfigMap","namespace":"web","name":"c"}],"wantedReleases":[{"namespace":"web","name":"redis"}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("stored form (-want +got):\n%s", diff)
	}
}

func TestStoreLists(t *testing.T) {
	ctx := context.Background()
	store := NewStore(&shelf{values: map[string][]byte{}})
	otherKind := fleet.Ref{Group: "cluster.x-k8s.io", Kind: "Cluster", Namespace: "civo", Name: "cluster1"}
	for _, r := range []*Record{
		{Cluster: cluster("civo", "cluster1"), Owner: Owner{Kind: "ClusterProfile", Name: "a"}},
		{Cluster: cluster("civo", "cluster1"), Owner: Owner{Kind: "Profile", Namespace: "civo", Name: "a"}},
		{Cluster: cluster("civo", "cluster11"), Owner: Owner{Kind: "ClusterProfile", Name: "b"}},
		{Cluster: otherKind, Owner: Owner{Kind: "ClusterProfile", Name: "c"}},
		{Cluster: cluster("civo2", "cluster1"), Owner: Owner{Kind: "ClusterProfile", Name: "d"}},
	} {
		if err := store.Put(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	names := func(records []*Record, err error) []string {
		if err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, r := range records {
			out = append(out, r.Owner.String())
		}
		return out
	}
	tests := map[string]struct{ got, want []string }{
		"a cluster, and no other of its prefix or kind": {names(store.ForCluster(ctx, cluster("civo", "cluster1"))), []string{"ClusterProfile a", "Profile civo/a"}},
		"a namespace": {names(store.List(ctx, "civo")), []string{"ClusterProfile a", "ClusterProfile c", "Profile civo/a", "ClusterProfile b"}},
		"everything":  {names(store.List(ctx, "")), []string{"ClusterProfile a", "ClusterProfile c", "Profile civo/a", "ClusterProfile b", "ClusterProfile d"}},
	}
	for name, tc := range tests {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStoreErrorsSayWhichInventory(t *testing.T) {
	ctx := context.Background()
	broken := errors.New("etcd: no leader")
	r := sample()
	failing := NewStore(&shelf{values: map[string][]byte{}, err: broken})
	damaged := NewStore(&shelf{values: map[string][]byte{Key(r.Cluster, r.Owner.Key()): []byte("{")}})
	newer := NewStore(&shelf{values: map[string][]byte{Key(r.Cluster, r.Owner.Key()): []byte(`{"format":2}`)}})
	_, getErr := failing.Get(ctx, r.Cluster, r.Owner.Key())
	_, listErr := failing.List(ctx, "")
	_, damagedErr := damaged.Get(ctx, r.Cluster, r.Owner.Key())
	_, damagedListErr := damaged.ForCluster(ctx, r.Cluster)
	_, newerErr := newer.Get(ctx, r.Cluster, r.Owner.Key())
	tests := map[string]struct {
		err   error
		cause error
		want  string
	}{
		"get":           {getErr, broken, "ClusterProfile web on SveltosCluster civo/cluster1"},
		"put":           {failing.Put(ctx, r), broken, "ClusterProfile web on SveltosCluster civo/cluster1"},
		"delete":        {failing.Delete(ctx, r.Cluster, r.Owner.Key()), broken, "ClusterProfile web on SveltosCluster civo/cluster1"},
		"list":          {listErr, broken, "inventories"},
		"damaged":       {damagedErr, nil, "inventories/civo/cluster1/ClusterProfile/_/web is damaged"},
		"damaged, list": {damagedListErr, nil, "inventories/civo/cluster1/ClusterProfile/_/web is damaged"},
		"newer":         {newerErr, nil, "has format 2"},
	}
	for name, tc := range tests {
		if tc.err == nil || tc.cause != nil && !errors.Is(tc.err, tc.cause) || !strings.Contains(tc.err.Error(), tc.want) {
			t.Errorf("%s: %v", name, tc.err)
		}
	}
}

func TestKeysOfDifferentOwnersDiffer(t *testing.T) {
	name := rapid.StringMatching(`[a-z]([-a-z0-9.]{0,6}[a-z0-9])?`)
	namespace := rapid.OneOf(name, rapid.Just(""))
	owner := rapid.Custom(func(rt *rapid.T) OwnerKey {
		return OwnerKey{Kind: rapid.SampledFrom([]string{"Profile", "ClusterProfile"}).Draw(rt, "kind"), Namespace: namespace.Draw(rt, "namespace"), Name: name.Draw(rt, "name")}
	})
	rapid.Check(t, func(rt *rapid.T) {
		a, b := owner.Draw(rt, "a"), owner.Draw(rt, "b")
		c, d := cluster(name.Draw(rt, "ns"), name.Draw(rt, "name")), cluster(name.Draw(rt, "ns"), name.Draw(rt, "name"))
		if same := a == b && c == d; (Key(c, a) == Key(d, b)) != same {
			rt.Fatalf("keys %s and %s of %v on %v, %v on %v", Key(c, a), Key(d, b), a, c, b, d)
		}
		if (a.Compare(b) == 0) != (a == b) || a.Compare(b) != -b.Compare(a) {
			rt.Fatalf("order of %v and %v", a, b)
		}
	})
}

func TestBoundTo(t *testing.T) {
	tests := map[string]struct {
		record Record
		uid    types.UID
		id     fleet.ClusterID
		want   bool
	}{
		"the same":         {Record{ClusterUID: "u", ClusterID: "i"}, "u", "i", true},
		"registered anew":  {Record{ClusterUID: "u", ClusterID: "i"}, "u2", "i", false},
		"another cluster":  {Record{ClusterUID: "u", ClusterID: "i"}, "u", "i2", false},
		"not yet known ID": {Record{ClusterUID: "u"}, "u", "i", true},
	}
	for name, tc := range tests {
		if got := tc.record.BoundTo(tc.uid, tc.id); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := sample()
	c := r.Clone()
	c.Objects[0].Name, c.Releases[0].Name, c.WantedObjects[0].Name, c.WantedReleases[0].Name = "1", "2", "3", "4"
	if diff := cmp.Diff(sample(), r); diff != "" {
		t.Errorf("the original was written to (-want +got):\n%s", diff)
	}
}

func TestLookups(t *testing.T) {
	r := sample()
	if r.Object(r.Objects[0].ObjectKey) != &r.Objects[0] || r.Release(r.Releases[0].ReleaseKey) != &r.Releases[0] {
		t.Error("lookups do not point into the record")
	}
	if r.Object(ObjectKey{Name: "x"}) != nil || r.Release(ReleaseKey{Name: "x"}) != nil {
		t.Error("found what is not there")
	}
	if r.Empty() || !(&Record{WantedObjects: r.WantedObjects}).Empty() {
		t.Error("what a profile wants is not what it has")
	}
}
