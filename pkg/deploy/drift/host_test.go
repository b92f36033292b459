// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// On the host whoever watches may have rights in some namespaces, and each watches as
// itself.
func TestOnTheHostEachWatchesAsItselfAndApart(t *testing.T) {
	b := newBench(t)
	host := inventory.Host()
	eng := fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}
	local := Subject{NamespacedName: web.NamespacedName, OnHost: true}
	at := Target{Cluster: host, Mapper: mapper(), As: eng, Apart: true}
	here, there := applied("n", "a", "u", 10), applied("m", "b", "v", 10)
	b.track(applied("apps", "c", "w", 10))
	b.tracker.Track(local, at, &inventory.Record{Objects: []inventory.Object{here, there}}, nil, b.tracker.Watch(local))
	var got []string
	for key := range b.handlers {
		got = append(got, fmt.Sprintf("%s %q in %q", key.Cluster.Kind, key.As.UserName(), key.Namespace))
	}
	slices.Sort(got)
	want := []string{
		`HostCluster "system:serviceaccount:teams:eng" in "m"`, `HostCluster "system:serviceaccount:teams:eng" in "n"`,
		`SveltosCluster "" in "apps"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("watches (-want +got):\n%s", diff)
	}
	for key, handler := range b.handlers {
		if key.Namespace == "m" {
			handler.Listed(nil, "11")
		}
	}
	if watch := b.tracker.Watch(local); len(watch.Objects) != 1 || !watch.Objects[there.ObjectKey] {
		t.Errorf("on the host %v has drifted", watch.Objects)
	}
	b.wantDrifted("nothing of the cluster's")
	b.tracker.Track(local, Target{Cluster: host, Mapper: mapper(), Apart: true}, &inventory.Record{Objects: []inventory.Object{here}}, nil, b.tracker.Watch(local))
	if n := len(b.handlers); n != 2 {
		t.Errorf("%d watches, those of the tenant go on", n)
	}
	b.tracker.Forget(local)
	if n := len(b.watched()); n != 1 {
		t.Errorf("%d watches are left", n)
	}
}
