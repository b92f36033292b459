// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/storage/records"
)

// lagging knows of no cluster before it was waited for.
type lagging struct{ current []fleet.Member }

func (l *lagging) Members(labels.Selector, string) []fleet.Member { return l.current }
func (l *lagging) Member(fleet.Ref) (fleet.Member, bool)          { return fleet.Member{}, false }

// A cluster's event and the index come through different watches. Who reads the
// index for that event before it has caught up misses it for good.
func TestMatchingWaitsForTheIndex(t *testing.T) {
	index := &lagging{}
	r, _ := newReconciler(t, index)
	r.WaitCurrent = func(context.Context) (int64, error) {
		index.current = []fleet.Member{{Ref: clusterref.Of("ns", "c"), EverReady: true}}
		return 1, nil
	}
	p := ofClusterProfile(&configv1beta1.ClusterProfile{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       configv1beta1.ProfileSpec{ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
	})
	m, err := r.matching(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.clusters) != 1 {
		t.Errorf("the profile is for %v, want the cluster that the store has", m.clusters)
	}
}

// fleetOf is a fleet whose clusters all match every selector.
type fleetOf []string

func (f fleetOf) Members(labels.Selector, string) []fleet.Member {
	var members []fleet.Member
	for _, name := range f {
		members = append(members, ready(name))
	}
	return members
}
func (f fleetOf) Member(fleet.Ref) (fleet.Member, bool) { return fleet.Member{}, false }

// noRecords takes every record and has none.
type noRecords struct{ kept map[string][]byte }

func (n noRecords) Get(_ context.Context, key string) (records.Record, error) {
	if value, ok := n.kept[key]; ok {
		return records.Record{Key: key, Value: value}, nil
	}
	return records.Record{}, records.ErrNotFound
}

func (n noRecords) Create(_ context.Context, key string, value []byte) (int64, error) {
	n.kept[key] = value
	return 1, nil
}

func (n noRecords) Delete(_ context.Context, key string) error {
	delete(n.kept, key)
	return nil
}

func (n noRecords) List(context.Context, string) iter.Seq2[records.Record, error] {
	return func(func(records.Record, error) bool) {}
}

func newReconciler(t *testing.T, members Members, objects ...client.Object) (*Reconciler, client.WithWatch) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{configv1beta1.AddToScheme, libv1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	stored := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&configv1beta1.ClusterProfile{}).
		WithIndex(&configv1beta1.ClusterSummary{}, ownerIndex, func(o client.Object) []string { return []string{ownerIndexValue(o)} }).Build()
	return &Reconciler{
		Client: stored, Live: stored, Members: members,
		WaitCurrent: func(context.Context) (int64, error) { return 1, nil },
		Revisions:   revision.NewStore(noRecords{map[string][]byte{}}),
		Events:      events.NewFakeRecorder(100), Now: time.Now,
	}, stored
}

func everywhere(name string) *configv1beta1.ClusterProfile {
	return &configv1beta1.ClusterProfile{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u", Generation: 1},
		Spec:       configv1beta1.ProfileSpec{ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
	}
}

// A profile that cannot be put on one cluster is put on the others, and says
// why.
func TestAClusterThatIsRefusedKeepsNoOtherWaiting(t *testing.T) {
	key := Key{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"}
	taken := summaryBy("cluster2", false)
	taken.Namespace, taken.Name = "civo", summaryName(key, "cluster2")
	r, stored := newReconciler(t, fleetOf{"cluster1", "cluster2", "cluster3"}, everywhere("kyverno"), &taken)
	log := &strings.Builder{}
	ctx := klog.NewContext(t.Context(), funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{}))
	for range 3 {
		// An error would be logged each time.
		if result, err := r.Reconcile(ctx, key); err != nil || result.RequeueAfter != refusedRetry {
			t.Errorf("%+v, %v; want to be asked again", result, err)
		}
	}
	if got := strings.Count(log.String(), "two names collide"); got != 1 {
		t.Errorf("the log tells of the collision %d times, want once:\n%s", got, log)
	}
	for _, cluster := range []string{"cluster1", "cluster3"} {
		if err := stored.Get(t.Context(), client.ObjectKey{Namespace: "civo", Name: summaryName(key, cluster)}, &configv1beta1.ClusterSummary{}); err != nil {
			t.Error(err)
		}
	}
	p := &configv1beta1.ClusterProfile{}
	if err := stored.Get(t.Context(), client.ObjectKey{Name: "kyverno"}, p); err != nil {
		t.Fatal(err)
	}
	ready := meta.FindStatusCondition(p.Status.Conditions, configv1beta1.ConditionReady)
	if ready == nil || ready.Reason != configv1beta1.ReasonFailed || !strings.Contains(ready.Message, "civo/cluster2") {
		t.Errorf("condition Ready is %+v, want it to name the cluster", ready)
	}
}

func TestARefusalDoesNotHideAConflict(t *testing.T) {
	lost := apierrors.NewConflict(schema.GroupResource{Resource: "clustersummaries"}, "a", errors.New("changed"))
	denied := &refusedError{err: apierrors.NewForbidden(schema.GroupResource{Resource: "clustersummaries"}, "b", nil)}
	refused, others := apart(errors.Join(denied, lost))
	if apierrors.IsConflict(refused) || !apierrors.IsConflict(others) || !apierrors.IsForbidden(refused) {
		t.Errorf("refused: %v; others: %v", refused, others)
	}
	if refused, others := apart(lost); refused != nil || !apierrors.IsConflict(others) {
		t.Errorf("refused: %v; others: %v", refused, others)
	}
}

// A summary that was made a moment ago is withdrawn with its profile, although
// the cache has not seen it yet.
func TestAProfileThatIsDeletedAtOnceLeavesNoSummary(t *testing.T) {
	key := Key{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"}
	r, stored := newReconciler(t, fleetOf{"cluster1"}, everywhere("kyverno"))
	if _, err := r.Reconcile(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	p := &configv1beta1.ClusterProfile{}
	p.Name = "kyverno"
	if err := stored.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r.Client = interceptor.NewClient(stored, interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return nil },
	})
	if _, err := r.Reconcile(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := stored.Get(t.Context(), client.ObjectKey{Namespace: "civo", Name: summaryName(key, "cluster1")}, &configv1beta1.ClusterSummary{}); err == nil {
		t.Error("the summary was left behind") // nothing holds it here once it is deleted
	}
	if err := stored.Get(t.Context(), client.ObjectKey{Name: "kyverno"}, p); err != nil {
		t.Errorf("the profile went before its summary was withdrawn: %v", err)
	}
}

// generations counts what is written to specs of summaries, as an API server does.
type generations struct{ client.Client }

func (g generations) Update(ctx context.Context, object client.Object, opts ...client.UpdateOption) error {
	if summary, ok := object.(*configv1beta1.ClusterSummary); ok {
		summary.Generation++
	}
	return g.Client.Update(ctx, object, opts...)
}

// What a summary says of the revision before is no answer about the one that it was
// just given: whoever waits for the profile would go on too early.
func TestASummaryThatHasJustChangedIsNotReady(t *testing.T) {
	key := Key{Kind: configv1beta1.KindClusterProfile, Name: "web"}
	r, stored := newReconciler(t, fleetOf{"a"}, everywhere("web"), &libv1beta1.SveltosCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "a"}, Status: libv1beta1.SveltosClusterStatus{Ready: true},
	})
	r.Client = generations{r.Client}
	reconcile := func() string {
		for range 3 { // the finalizer, the summary, the status
			if _, err := r.Reconcile(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		found := &configv1beta1.ClusterProfile{}
		if err := stored.Get(t.Context(), client.ObjectKey{Name: "web"}, found); err != nil {
			t.Fatal(err)
		}
		return string(meta.FindStatusCondition(found.Status.Conditions, configv1beta1.ConditionReady).Status)
	}
	reconcile()
	list := &configv1beta1.ClusterSummaryList{}
	if err := stored.List(t.Context(), list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d summaries, %v", len(list.Items), err)
	}
	summary := &list.Items[0]
	summary.Status.Conditions = []metav1.Condition{{
		Type: configv1beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: configv1beta1.ReasonProvisioned,
		ObservedGeneration: summary.Generation, LastTransitionTime: metav1.NewTime(noon),
	}}
	if err := stored.Update(t.Context(), summary); err != nil {
		t.Fatal(err)
	}
	if got := reconcile(); got != "True" {
		t.Errorf("it is deployed, and Ready is %s", got)
	}
	p := &configv1beta1.ClusterProfile{}
	if err := stored.Get(t.Context(), client.ObjectKey{Name: "web"}, p); err != nil {
		t.Fatal(err)
	}
	p.Spec.Tier = 5
	if err := stored.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reconcile(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := stored.Get(t.Context(), client.ObjectKey{Name: "web"}, p); err != nil {
		t.Fatal(err)
	}
	if ready := meta.FindStatusCondition(p.Status.Conditions, configv1beta1.ConditionReady); ready.Status == metav1.ConditionTrue {
		t.Error("another revision is not deployed yet, and the profile is ready")
	}
}
