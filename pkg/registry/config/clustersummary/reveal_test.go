// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/muster-project/muster/pkg/apis/config"
	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
)

// fixed are revisions that do not change, by name.
type fixed map[string]*config.ProfileSpec

func (f fixed) Get(_ context.Context, name string) (*config.ProfileSpec, error) {
	if spec := f[name]; spec != nil {
		return spec, nil
	}
	return nil, LostError{errors.New("there is no revision " + name)}
}

// counted counts the reads of revisions.
type counted struct {
	Revisions
	reads map[string]int
}

func (c counted) Get(ctx context.Context, name string) (*config.ProfileSpec, error) {
	c.reads[name]++
	return c.Revisions.Get(ctx, name)
}

func TestAListReadsEachRevisionOnce(t *testing.T) {
	reads := map[string]int{}
	list := &config.ClusterSummaryList{}
	for i := range 20 {
		summary := newSummary()
		if i%2 == 1 {
			summary.Spec.ProfileRevision = "ClusterProfile/_/lost/1"
		}
		list.Items = append(list.Items, *summary)
	}
	if _, err := (revealer{counted{fixed{storedRevision: profileSpec()}, reads}}).object(t.Context())(list, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{storedRevision: 1, "ClusterProfile/_/lost/1": 1}, reads); diff != "" {
		t.Errorf("reads (-want +got):\n%s", diff)
	}
	for i := range list.Items {
		if shown := list.Items[i].Spec.ClusterProfileSpec.Tier != 0; shown != (i%2 == 0) {
			t.Errorf("summary %d is shown: %t", i, shown)
		}
	}
}

func missing(summary *config.ClusterSummary) *metav1.Condition {
	return meta.FindStatusCondition(summary.Status.Conditions, ConditionRevisionAvailable)
}

func TestReadsShowTheRevisionsSpec(t *testing.T) {
	r := revealer{revisions: fixed{storedRevision: profileSpec()}}
	got, err := r.object(t.Context())(newSummary(), nil)
	if err != nil {
		t.Fatal(err)
	}
	summary := got.(*config.ClusterSummary)
	if diff := cmp.Diff(*profileSpec(), summary.Spec.ClusterProfileSpec); diff != "" {
		t.Errorf("clusterProfileSpec (-want +got):\n%s", diff)
	}
	if missing(summary) != nil {
		t.Errorf("the revision is said to be missing: %v", summary.Status.Conditions)
	}
}

func TestAMissingRevisionSpoilsNoList(t *testing.T) {
	lost := newSummary()
	lost.Spec.ProfileRevision = "ClusterProfile/_/lost/1"
	lost.Status.Conditions = []metav1.Condition{{Type: configv1beta1.ConditionReady, Status: metav1.ConditionTrue}}
	none := newSummary()
	none.Spec.ProfileRevision = ""
	r := revealer{revisions: fixed{storedRevision: profileSpec()}}
	got, err := r.object(t.Context())(&config.ClusterSummaryList{Items: []config.ClusterSummary{*lost, *newSummary(), *none}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	items := got.(*config.ClusterSummaryList).Items
	condition := missing(&items[0])
	if condition == nil || condition.Status != metav1.ConditionFalse || !strings.Contains(condition.Message, "ClusterProfile/_/lost/1") {
		t.Errorf("the object does not say which revision is missing: %v", items[0].Status.Conditions)
	}
	if meta.FindStatusCondition(items[0].Status.Conditions, configv1beta1.ConditionReady) == nil {
		t.Error("another condition has gone")
	}
	if items[1].Spec.ClusterProfileSpec.Tier != 100 {
		t.Error("the next object is not shown")
	}
	if missing(&items[2]) != nil {
		t.Error("an object without a revision is said to miss one")
	}
}

// A controller may have written back what it was shown.
func TestAStoredWarningIsNotShown(t *testing.T) {
	summary := newSummary()
	summary.Status.Conditions = []metav1.Condition{
		{Type: ConditionRevisionAvailable, Status: metav1.ConditionFalse},
		{Type: configv1beta1.ConditionReady, Status: metav1.ConditionTrue},
	}
	r := revealer{revisions: fixed{storedRevision: profileSpec()}}
	if err := r.summary(t.Context(), summary); err != nil {
		t.Fatal(err)
	}
	if missing(summary) != nil || len(summary.Status.Conditions) != 1 {
		t.Errorf("conditions are %v", summary.Status.Conditions)
	}
}

// What storage hands out shares its slices with the watch cache, and what
// revisions hand out is shared by all readers.
func TestNothingThatIsSharedIsWrittenTo(t *testing.T) {
	cached := newSummary()
	conditions := make([]metav1.Condition, 2, 8)
	conditions[0] = metav1.Condition{Type: ConditionRevisionAvailable, Status: metav1.ConditionFalse}
	conditions[1] = metav1.Condition{Type: configv1beta1.ConditionReady, Status: metav1.ConditionTrue}
	cached.Status.Conditions = conditions
	before := cached.DeepCopy()
	revisions := fixed{storedRevision: profileSpec()}
	for _, revision := range []string{storedRevision, "lost"} {
		handed := *cached // as the cache does
		handed.Spec.ProfileRevision = revision
		if err := (revealer{revisions: revisions}).summary(t.Context(), &handed); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, cached); diff != "" {
		t.Errorf("the cached object (-before +after):\n%s", diff)
	}
	if spare := conditions[:3][2]; spare.Type != "" {
		t.Errorf("spare room of a shared list was written to: %v", spare)
	}
	if diff := cmp.Diff(profileSpec(), revisions[storedRevision]); diff != "" {
		t.Errorf("the revision (-before +after):\n%s", diff)
	}
}

// away are revisions that cannot be read now.
type away struct{}

func (away) Get(context.Context, string) (*config.ProfileSpec, error) {
	return nil, errors.New("the store is away")
}

// A summary with the spec of no profile would be one of a profile that deploys
// nothing and waits for nothing.
func TestWhatCannotBeReadNowIsNotShown(t *testing.T) {
	r := revealer{revisions: away{}}
	for name, obj := range map[string]runtime.Object{
		"summary": newSummary(),
		"list":    &config.ClusterSummaryList{Items: []config.ClusterSummary{*newSummary()}},
	} {
		got, err := r.object(t.Context())(obj, nil)
		if got != nil || !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "the store is away") {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	none := newSummary()
	none.Spec.ProfileRevision = ""
	if _, err := r.object(t.Context())(none, nil); err != nil {
		t.Errorf("a summary without a revision: %v", err)
	}
}

func TestAWatchEndsWhereOneCannotBeRead(t *testing.T) {
	source := watch.NewFakeWithChanSize(8, false)
	source.Action(watch.Bookmark, newSummary())
	source.Add(newSummary())
	source.Add(newSummary())
	var got []watch.Event
	for event := range (revealer{revisions: away{}}).watch(t.Context(), source).ResultChan() {
		got = append(got, event)
	}
	if len(got) != 2 || got[1].Type != watch.Error {
		t.Fatalf("events are %v, want a bookmark and an error", got)
	}
	if err := apierrors.FromObject(got[1].Object); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestErrorsAndStatusPassUnchanged(t *testing.T) {
	r := revealer{revisions: fixed{}}
	failure := errors.New("gone")
	if _, err := r.object(t.Context())(nil, failure); !errors.Is(err, failure) {
		t.Errorf("error is %v", err)
	}
	status := &metav1.Status{Status: metav1.StatusSuccess}
	if got, err := r.object(t.Context())(status, nil); err != nil || got != runtime.Object(status) {
		t.Errorf("got %v, %v", got, err)
	}
}

// cachedObject is what a busy watch cache sends: an object with its encoding.
type cachedObject struct {
	runtime.Object
}

func (c cachedObject) CacheEncode(runtime.Identifier, func(runtime.Object, io.Writer) error, io.Writer) error {
	return errors.New("the encoding was made before the spec was known")
}

func (c cachedObject) GetObject() runtime.Object { return c.Object.DeepCopyObject() }

func TestWatchesShowTheRevisionsSpec(t *testing.T) {
	source := watch.NewFakeWithChanSize(8, false)
	bookmark := &config.ClusterSummary{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9"}}
	source.Add(newSummary())
	source.Modify(cachedObject{newSummary()})
	source.Delete(newSummary())
	source.Action(watch.Bookmark, bookmark)
	source.Error(&metav1.Status{Code: 410})
	source.Stop()

	events := revealer{revisions: fixed{storedRevision: profileSpec()}}.watch(t.Context(), source)
	var got []watch.EventType
	for event := range events.ResultChan() {
		got = append(got, event.Type)
		switch event.Type {
		case watch.Added, watch.Modified, watch.Deleted:
			summary, ok := event.Object.(*config.ClusterSummary)
			if !ok {
				t.Fatalf("%s: object is %T, which brings its own encoding", event.Type, event.Object)
			}
			if summary.Spec.ClusterProfileSpec.Tier != 100 {
				t.Errorf("%s: clusterProfileSpec is not shown", event.Type)
			}
		case watch.Bookmark:
			if event.Object != runtime.Object(bookmark) || len(bookmark.Status.Conditions) > 0 {
				t.Errorf("the bookmark is %v", event.Object)
			}
		case watch.Error:
			if _, ok := event.Object.(*metav1.Status); !ok {
				t.Errorf("the error is %T", event.Object)
			}
		}
	}
	want := []watch.EventType{watch.Added, watch.Modified, watch.Deleted, watch.Bookmark, watch.Error}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	summary := newSummary()
	summary.OwnerReferences = []metav1.OwnerReference{{Kind: "ConfigMap", Name: "x"}, {Kind: "ClusterProfile", Name: "p"}}
	summary.Status.Conditions = []metav1.Condition{{Type: configv1beta1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Provisioning"}}
	summary.Status.FeatureSummaries = []config.FeatureSummary{
		{FeatureID: lib.FeatureResources, Status: config.FeatureStatusProvisioned},
		{FeatureID: lib.FeatureHelm, Status: config.FeatureStatusProvisioning},
	}
	got, err := table.ConvertToTable(t.Context(), summary, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{"p-sveltos-c1", "civo/c1", "ClusterProfile/p", "Provisioning", "<unknown>", "Provisioning", "", "Provisioned"}
	if diff := cmp.Diff(want, got.Rows[0].Cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
}
