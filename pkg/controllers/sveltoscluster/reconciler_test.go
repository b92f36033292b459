// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/fleet"
)

// targets is a prober that notes what it was told.
type targets struct {
	set     []fleet.Target
	removed []fleet.Ref
}

func (p *targets) Set(t fleet.Target)     { p.set = append(p.set, t) }
func (p *targets) Remove(ref fleet.Ref)   { p.removed = append(p.removed, ref) }
func (p *targets) ProbeNow(ref fleet.Ref) {}

func newClient(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := libv1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func TestOnlyTheAPISaysThatARegistrationIsGone(t *testing.T) {
	registration := &libv1beta1.SveltosCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", UID: "u"}}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(registration)}
	for name, tc := range map[string]struct {
		live    []client.Object
		forgets bool
	}{
		"the cache is behind": {live: []client.Object{registration}},
		"it is gone":          {forgets: true},
	} {
		t.Run(name, func(t *testing.T) {
			brake, err := NewBrake(t.Context(), newClient(t), clock.RealClock{}, func() {})
			if err != nil {
				t.Fatal(err)
			}
			prober, forgotten := &targets{}, 0
			r := &Reconciler{
				Client: newClient(t), Live: newClient(t, tc.live...), Prober: prober, Brake: brake,
				Trigger: trigger.New[reconcile.Request](),
				Forget:  func(fleet.Ref) {},
				ForgetInventories: func(context.Context, fleet.Ref) error {
					forgotten++
					return nil
				},
			}
			if _, err := r.Reconcile(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			if forgot := forgotten == 1 && len(prober.removed) == 1; forgot != tc.forgets {
				t.Errorf("forgot it: %t (%d times), removed %v", forgot, forgotten, prober.removed)
			}
			if probed := len(prober.set) == 1 && prober.set[0].UID == "u"; probed == tc.forgets {
				t.Errorf("probed: %t, %v", probed, prober.set)
			}
		})
	}
}

func TestAFindingIsAboutOneRegistration(t *testing.T) {
	brake, err := NewBrake(t.Context(), newClient(t), clock.RealClock{}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	r := &Reconciler{Brake: brake, Trigger: trigger.New[reconcile.Request]()}
	ref := clusterref.Of("ns", "c")
	r.Report(ref, types.UID("old"), fleet.Health{Ready: true})
	if _, known := r.lastHealth(ref, "new"); known {
		t.Error("a finding about a former registration is used for its successor")
	}
	if health, known := r.lastHealth(ref, "old"); !known || !health.Ready {
		t.Errorf("the finding is %v, known: %t", health, known)
	}
}

// A leader that has found nothing new about a cluster says all the same that it has seen
// what somebody changed in its spec: kstatus waits for that.
func TestAChangedSpecIsSeenThoughTheHealthIsAsBefore(t *testing.T) {
	cluster := registration()
	cluster.Namespace, cluster.Name, cluster.UID = "ns", "c", "u"
	cluster.Status = desiredStatus(cluster, fleet.Health{Ready: true, EverReady: true, Version: "v1.37.0"}, nil)
	cluster.Generation++
	stored := fake.NewClientBuilder().WithScheme(newClient(t).Scheme()).WithObjects(cluster).WithStatusSubresource(cluster).Build()
	brake, err := NewBrake(t.Context(), stored, clock.RealClock{}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	r := &Reconciler{
		Client: stored, Live: stored, Prober: &targets{}, Brake: brake, Trigger: trigger.New[reconcile.Request](),
		Forget: func(fleet.Ref) {}, Events: events.NewFakeRecorder(10),
	}
	name := client.ObjectKeyFromObject(cluster)
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: name}); err != nil {
		t.Fatal(err)
	}
	if err := stored.Get(t.Context(), name, cluster); err != nil {
		t.Fatal(err)
	}
	ready := meta.FindStatusCondition(cluster.Status.Conditions, libv1beta1.ConditionReady)
	if cluster.Status.ObservedGeneration != cluster.Generation || ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != cluster.Generation {
		t.Errorf("generation %d was observed as %d, Ready is %+v", cluster.Generation, cluster.Status.ObservedGeneration, ready)
	}
}

func TestVersionsBecomeLabels(t *testing.T) {
	for text, want := range map[string]string{
		"v1.37.0": "v1.37.0", "v1.36.2+k3s1": "v1.36.2", "v1.33.4-eks-036c24b": "v1.33.4", "v1.33.1-gke.1043002": "v1.33.1",
		"v1.36.0-rc.1": "v1.36.0", "": "", "unknown": "",
	} {
		if got := versionLabel(text); got != want {
			t.Errorf("the label of %q is %q, want %q", text, got, want)
		}
		if problems := validation.IsValidLabelValue(versionLabel(text)); len(problems) > 0 {
			t.Errorf("%q: %v", text, problems)
		}
	}
}
