// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/drift"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/watches"
)

// told are the handlers of what is watched.
type told map[watches.Key]watches.Handler

func (w told) Subscribe(key watches.Key, handler watches.Handler) func() {
	w[key] = handler
	return func() { delete(w, key) }
}

func (w told) String() string {
	var out []string
	for key := range w {
		out = append(out, fmt.Sprintf("%s %s/%s %q", key.Cluster.Kind, key.Namespace, key.Resource.Resource, key.As.UserName()))
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}

// What a tenant has on the host is watched as the tenant, and repaired as well.
func TestWhatIsOnTheHostIsWatched(t *testing.T) {
	w, seen := newTwoClusters(t), told{}
	w.Drift = drift.New(drift.Options{Watches: seen, Due: func(drift.Subject) {}, Wake: func(drift.Subject) {}})
	recorder := events.NewFakeRecorder(10)
	w.Events = recorder
	w.actor.as = fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}
	summary := summaryFor("kyverno")
	name := client.ObjectKeyFromObject(summary)
	pass := func(mode configv1beta1.SyncMode, local string) {
		t.Helper()
		request := deploy.Request{
			Owner:   inventory.Owner{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"},
			Objects: []deploy.ObjectList{{Feature: deploy.Resources, Objects: objectsNamed("there")}},
			Watch:   w.watch(name, mode),
		}
		toHost := map[deploy.Feature][]deploy.Object{}
		if local != "" {
			toHost[deploy.Resources] = objectsNamed(local)
		}
		var o outcome
		work, err := w.deploy(t.Context(), w.actor, name, request, toHost, &o)
		if err != nil || !o.result.OK() {
			t.Fatal(err, resultError(o.result))
		}
		w.track(summary, w.actor, request.Watch, work, o.parts)
	}
	want := func(what, watched string) {
		t.Helper()
		if diff := cmp.Diff(watched, seen.String()); diff != "" {
			t.Errorf("%s: watched are (-want +got):\n%s", what, diff)
		}
	}
	const managed, host = `SveltosCluster civo/configmaps ""`, `HostCluster civo/configmaps "system:serviceaccount:teams:eng"`
	pass(configv1beta1.SyncModeContinuousWithDriftDetection, "here")
	want("deployed", "["+host+" "+managed+"]")
	delete(w.host.objects, "here")
	for key, handler := range seen {
		if key.Cluster == inventory.Host() {
			handler.Listed(nil, "9")
		}
	}
	pass(configv1beta1.SyncModeContinuousWithDriftDetection, "here")
	if w.host.names() != "here" || len(recorder.Events) != 1 {
		t.Errorf("the host has %q, %d events", w.host.names(), len(recorder.Events))
	}
	pass(configv1beta1.SyncModeContinuousWithDriftDetection, "")
	want("nothing on the host", "["+managed+"]")
	pass(configv1beta1.SyncModeContinuousWithDriftDetection, "here")
	pass(configv1beta1.SyncModeContinuous, "here")
	want("another mode", "[]")
}
