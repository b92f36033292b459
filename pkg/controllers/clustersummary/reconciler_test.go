// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

func newClient(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{libv1beta1.AddToScheme, configv1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&configv1beta1.ClusterSummary{}).
		WithIndex(&configv1beta1.ClusterSummary{}, clusterIndex, clusterOf).Build()
}

// summaryFor is what a ClusterProfile has on cluster civo/cluster1.
func summaryFor(profile string) *configv1beta1.ClusterSummary {
	summary := summaryOf(configv1beta1.SyncModeContinuous, 1)
	summary.Name, summary.UID = profile+"-sveltos-cluster1", types.UID("summary-of-"+profile)
	summary.Finalizers = []string{configv1beta1.ClusterSummaryFinalizer}
	summary.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: configv1beta1.SchemeGroupVersion.String(), Kind: configv1beta1.KindClusterProfile, Name: profile,
		UID: types.UID(profile), Controller: ptr.To(true),
	}}
	return summary
}

func registration() *libv1beta1.SveltosCluster {
	cluster := readyCluster()
	cluster.Namespace, cluster.Name, cluster.UID = "civo", "cluster1", "u"
	return cluster
}

// Nothing wakes a summary that found no place in its cluster's queue.
func TestASummaryComesBackForAPlaceInAFullQueue(t *testing.T) {
	summary := summaryFor("kyverno")
	workers := fleet.NewWorkers(fleet.WorkersOptions{QueueLength: 1})
	r := New(Options{
		Client: newClient(t, summary, registration()), Workers: workers, Now: time.Now,
		Trigger: trigger.New[reconcile.Request](), Events: events.NewFakeRecorder(10),
	})
	if !workers.Submit(clusterref.OfSummary(summary), "another", nil) {
		t.Fatal("the queue takes nothing at all")
	}
	result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(summary)})
	if err != nil {
		t.Fatal(err)
	}
	if result.RequeueAfter != queueRetry {
		t.Errorf("the summary is looked at again after %s, want %s", result.RequeueAfter, queueRetry)
	}
}

func TestWhatIsTakenOverOrLetGoWakesItsProfiles(t *testing.T) {
	elsewhere := summaryFor("kyverno")
	elsewhere.Name, elsewhere.Spec.ClusterName = "kyverno-sveltos-cluster2", "cluster2"
	woken := trigger.New[reconcile.Request]()
	r := New(Options{Client: newClient(t, summaryFor("kyverno"), summaryFor("nginx"), elsewhere), Trigger: woken})
	r.wake(t.Context(), clusterref.Of("civo", "cluster1"), []inventory.OwnerKey{{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"}})
	for name, want := range map[string]bool{"kyverno-sveltos-cluster1": true, "nginx-sveltos-cluster1": false, "kyverno-sveltos-cluster2": false} {
		if _, due := r.memory.last(types.NamespacedName{Namespace: "civo", Name: name}, ""); due != want {
			t.Errorf("%s is due: %t, want %t", name, due, want)
		}
	}
}

// A withdrawal deletes content. That a profile is gone is for the store to say,
// and not for a cache that may be behind.
func TestOnlyTheStoreSaysThatAProfileIsGone(t *testing.T) {
	now := metav1.Now()
	profile := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "kyverno"}}
	going := profile.DeepCopy()
	going.DeletionTimestamp, going.Finalizers = &now, []string{configv1beta1.ClusterProfileFinalizer}
	deleted := summaryFor("kyverno")
	deleted.DeletionTimestamp = &now
	for _, tc := range []struct {
		name          string
		cached, store []client.Object
		want          bool
	}{
		{"it is there", []client.Object{profile}, []client.Object{profile}, false},
		{"the cache has not seen it yet", nil, []client.Object{profile}, false},
		{"the cache has its predecessor", []client.Object{going}, []client.Object{profile}, false},
		{"it is gone", nil, nil, true},
		{"it is going", []client.Object{going}, []client.Object{going}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := New(Options{Client: newClient(t, tc.cached...), Live: newClient(t, tc.store...)})
			withdrawal, err := r.isWithdrawal(t.Context(), deleted)
			if err != nil || withdrawal != tc.want {
				t.Errorf("withdrawal: %t, %v; want %t", withdrawal, err, tc.want)
			}
		})
	}
}

// inventories keeps the records of one test.
type inventories map[string][]byte

func (m inventories) Get(_ context.Context, key string) ([]byte, bool, error) {
	value, found := m[key]
	return value, found, nil
}

func (m inventories) Put(_ context.Context, key string, value []byte) error {
	m[key] = value
	return nil
}

func (m inventories) Delete(_ context.Context, key string) error {
	delete(m, key)
	return nil
}

func (m inventories) List(context.Context, string, func(string, []byte) error) error { return nil }

// Another cluster behind the same name has nothing of what its predecessor got.
func TestOneTimeIsOncePerCluster(t *testing.T) {
	for _, tc := range []struct {
		name   string
		uid    types.UID
		id     fleet.ClusterID
		reason string
	}{
		{"the same cluster", "u", "system", configv1beta1.ReasonProvisioned},
		{"another cluster", "u", "former", configv1beta1.ReasonProvisioning},
		{"another registration", "former", "system", configv1beta1.ReasonProvisioning},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cluster := registration()
			cluster.Status.ClusterID = "system"
			summary := summaryFor("kyverno")
			summary.Spec.ClusterProfileSpec.SyncMode = configv1beta1.SyncModeOneTime
			summary.Status.Conditions = []metav1.Condition{provisioned(1)}
			store := inventory.NewStore(inventories{})
			record := &inventory.Record{
				Cluster: clusterref.OfSummary(summary), ClusterUID: tc.uid, ClusterID: tc.id,
				Owner: inventory.Owner{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"},
			}
			if err := store.Put(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			r := New(Options{
				Client: newClient(t, summary, cluster), Workers: fleet.NewWorkers(fleet.WorkersOptions{}), Now: time.Now,
				Deployer: deploy.New(deploy.Options{Inventory: store}), Events: events.NewFakeRecorder(10),
			})
			name := client.ObjectKeyFromObject(summary)
			queued := func() bool {
				t.Helper()
				if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: name}); err != nil {
					t.Fatal(err)
				}
				if err := r.Client.Get(t.Context(), name, summary); err != nil {
					t.Fatal(err)
				}
				return r.memory.of(name).active != ""
			}
			if queued() {
				t.Error("the work began before the status says that it is not done")
			}
			if got := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady).Reason; got != tc.reason {
				t.Errorf("Ready says %s, want %s", got, tc.reason)
			}
			if got, want := queued(), tc.reason == configv1beta1.ReasonProvisioning; got != want {
				t.Errorf("it is deployed once more: %t, want %t", got, want)
			}
		})
	}
}

func TestAPassLeavesNoInventoryOfAClusterThatWasDeregistered(t *testing.T) {
	again, going := registration(), registration()
	again.UID = "another"
	going.DeletionTimestamp, going.Finalizers = &metav1.Time{Time: noon}, []string{metav1.FinalizerDeleteDependents}
	for _, tc := range []struct {
		name          string
		cached, store []client.Object
		forgets       bool
	}{
		{"it is registered", []client.Object{registration()}, nil, false},
		{"the cache is behind", nil, []client.Object{registration()}, false},
		{"it is gone", nil, nil, true},
		{"it was registered anew", []client.Object{again}, nil, true},
		{"a finalizer keeps it", []client.Object{going}, []client.Object{going}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kept := inventories{}
			store := inventory.NewStore(kept)
			summary := summaryFor("kyverno")
			record := &inventory.Record{
				Cluster: clusterref.OfSummary(summary),
				Owner:   inventory.Owner{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"},
			}
			if err := store.Put(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			r := New(Options{
				Client: newClient(t, tc.cached...), Live: newClient(t, tc.store...),
				Deployer: deploy.New(deploy.Options{Inventory: store}),
			})
			if err := r.forgetGone(t.Context(), summary, registration()); err != nil {
				t.Fatal(err)
			}
			if forgot := len(kept) == 0; forgot != tc.forgets {
				t.Errorf("forgot the inventory: %t, want %t", forgot, tc.forgets)
			}
		})
	}
}

// Whoever deregisters a cluster leaves what is there, also where a finalizer, of a
// deletion in the foreground for one, keeps the registration for a while.
func TestNothingIsWithdrawnFromAClusterThatIsBeingDeregistered(t *testing.T) {
	summary, cluster := summaryFor("kyverno"), registration()
	summary.Spec.Withdraw, summary.DeletionTimestamp = true, &metav1.Time{Time: noon}
	cluster.DeletionTimestamp, cluster.Finalizers = summary.DeletionTimestamp, []string{metav1.FinalizerDeleteDependents}
	stored := newClient(t, summary, cluster)
	r := New(Options{
		Client: stored, Live: stored, Workers: fleet.NewWorkers(fleet.WorkersOptions{}), Now: time.Now,
		Deployer: deploy.New(deploy.Options{Inventory: inventory.NewStore(inventories{})}), Events: events.NewFakeRecorder(10),
	})
	name := client.ObjectKeyFromObject(summary)
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: name}); err != nil {
		t.Fatal(err)
	}
	if queued := r.memory.of(name).active; queued != "" {
		t.Error("a withdrawal is queued")
	}
	if err := stored.Get(t.Context(), name, summary); !apierrors.IsNotFound(err) {
		t.Errorf("the summary is still there: %v", err)
	}
	if err := r.awaitSuccessors(t.Context(), summary, inventory.OwnerKey{}); !errors.Is(err, errHeld) {
		t.Errorf("a job that has begun goes on: %v", err)
	}
}
