// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// indexed computes from an index that is at revision 42.
type indexed struct {
	index   *selection.Index
	members map[fleet.Ref]fleet.Member
	err     error
	// newest is what was asked for last.
	newest bool
}

func (i *indexed) Selection(_ context.Context, set selection.SetKey, query selection.Query, newest bool) (Answer, error) {
	i.newest = newest
	if i.err != nil {
		return Answer{}, i.err
	}
	view, err := i.index.Selection(set, query)
	unready := map[fleet.Ref]fleet.Member{}
	for ref, member := range i.members {
		if !member.Ready || member.Deleting {
			unready[ref] = member
		}
	}
	return Answer{View: view, Revision: 42, Unready: unready}, err
}

func ref(name string) fleet.Ref {
	return fleet.Ref{Group: lib.GroupName, Kind: "SveltosCluster", Namespace: "civo", Name: name}
}

// newIndexed has a ClusterSet and a Set, both called prod, of three clusters of
// which one is selected, and five more in every other state.
func newIndexed() *indexed {
	i := &indexed{index: selection.NewIndex(), members: map[fleet.Ref]fleet.Member{}}
	prod := map[string]string{"env": "prod"}
	for _, member := range []fleet.Member{
		{Ref: ref("a"), Labels: prod, Ready: true, EverReady: true},
		{Ref: ref("b"), Labels: prod, Ready: true, EverReady: true},
		{Ref: ref("c"), Labels: prod, Ready: true, EverReady: true},
		{Ref: ref("down"), Labels: prod, EverReady: true},
		{Ref: ref("new"), Labels: prod},
		{Ref: ref("other"), Labels: map[string]string{"env": "test"}, Ready: true},
		{Ref: ref("leaving"), Labels: prod, Ready: true, Deleting: true},
	} {
		i.members[member.Ref] = member
		i.index.PutMember(member)
	}
	for _, key := range []selection.SetKey{
		{Kind: selection.KindClusterSet, Name: "prod"},
		{Kind: selection.KindSet, Namespace: "civo", Name: "prod"},
	} {
		i.index.PutSet(selection.Spec{Set: key, Selector: labels.SelectorFromSet(prod), MaxReplicas: 1},
			selection.Stored{Selected: []fleet.Ref{ref("b")}, Count: 1})
	}
	return i
}

func clusterSets(selections Selections) *SelectionREST {
	return NewSelectionREST(selection.KindClusterSet, lib.Resource("clustersets"), false, selections)
}

func sets(selections Selections) *SelectionREST {
	return NewSelectionREST(selection.KindSet, lib.Resource("sets"), true, selections)
}

func get(t *testing.T, r *SelectionREST, namespace string, options *lib.SelectionOptions) *lib.Selection {
	t.Helper()
	got, err := r.Get(request.WithNamespace(t.Context(), namespace), "prod", options)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return got.(*lib.Selection)
}

func TestSelection(t *testing.T) {
	for name, test := range map[string]struct {
		rest      *SelectionREST
		namespace string
	}{
		"of a ClusterSet": {rest: clusterSets(newIndexed())},
		"of a Set":        {rest: sets(newIndexed()), namespace: "civo"},
	} {
		t.Run(name, func(t *testing.T) {
			got := get(t, test.rest, test.namespace, &lib.SelectionOptions{})
			if got.Name != "prod" || got.Namespace != test.namespace || got.ResourceVersion != "42" {
				t.Errorf("metadata is %v", got.ObjectMeta)
			}
			want := []lib.SelectedCluster{{
				APIVersion: "lib.projectsveltos.io/v1beta1", Kind: "SveltosCluster", Namespace: "civo", Name: "b",
				State: lib.ClusterStateReady, Reason: lib.SelectionSelected,
			}}
			if diff := cmp.Diff(want, got.Selected); diff != "" {
				t.Errorf("selected (-want +got):\n%s", diff)
			}
			counts := map[string]int32{"Selected": 1, "Held": 0, "Standby": 2, "NotReady": 2, "Returning": 0, "NotMatching": 2}
			if diff := cmp.Diff(counts, got.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if !got.Persisted {
				t.Error("the status says the same, and persisted is false")
			}
			var ranks []int32
			for _, candidate := range got.Candidates {
				ranks = append(ranks, candidate.Rank)
			}
			if diff := cmp.Diff([]int32{1, 2, 3, 4, 5}, ranks); diff != "" {
				t.Errorf("ranks of candidates (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCandidatesHaveReasonAndState(t *testing.T) {
	type row struct {
		Reason lib.SelectionReason
		State  lib.ClusterState
	}
	r := clusterSets(newIndexed())
	got := map[string]row{}
	for _, options := range []*lib.SelectionOptions{{}, {Reason: string(selection.NotMatching)}} {
		for _, candidate := range get(t, r, "", options).Candidates {
			got[candidate.Ref.Name] = row{candidate.Reason, candidate.State}
		}
	}
	want := map[string]row{
		"a":       {lib.SelectionStandby, lib.ClusterStateReady},
		"b":       {lib.SelectionSelected, lib.ClusterStateReady},
		"c":       {lib.SelectionStandby, lib.ClusterStateReady},
		"down":    {lib.SelectionNotReady, lib.ClusterStateNotReady},
		"new":     {lib.SelectionNotReady, lib.ClusterStateNeverReady},
		"other":   {lib.SelectionNotMatching, lib.ClusterStateReady},
		"leaving": {lib.SelectionNotMatching, lib.ClusterStateDeleting},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
}

func TestPagesHoldEveryCandidateOnce(t *testing.T) {
	r := clusterSets(newIndexed())
	options := &lib.SelectionOptions{Limit: 2}
	var got []string
	for {
		page := get(t, r, "", options)
		if len(page.Candidates) > 2 {
			t.Fatalf("a page has %d candidates", len(page.Candidates))
		}
		for _, candidate := range page.Candidates {
			got = append(got, candidate.Ref.Name)
		}
		if page.Continue == "" {
			break
		}
		options.Continue = page.Continue
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "b", "c", "down", "new"}, got); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
}

func TestReadsAreOfTheNewestUnlessToldOtherwise(t *testing.T) {
	selections := newIndexed()
	r := clusterSets(selections)
	// What is newest is not older than any version.
	for _, version := range []string{"", "7"} {
		selections.newest = false
		get(t, r, "", &lib.SelectionOptions{ResourceVersion: version})
		if !selections.newest {
			t.Errorf("resourceVersion=%s is answered from what is at hand", version)
		}
	}
	get(t, r, "", &lib.SelectionOptions{ResourceVersion: "0"})
	if selections.newest {
		t.Error("resourceVersion=0 waits for the store")
	}
}

func TestSelectionErrors(t *testing.T) {
	tests := map[string]struct {
		err     error
		name    string
		options lib.SelectionOptions
		code    int32
		message string
	}{
		"no such set":              {name: "none", code: http.StatusNotFound, message: `clustersets.lib.projectsveltos.io "none" not found`},
		"not read yet":             {name: "prod", err: fmt.Errorf("%w: the fleet is being read", ErrNotReady), code: http.StatusServiceUnavailable, message: "being read"},
		"negative limit":           {name: "prod", options: lib.SelectionOptions{Limit: -1}, code: http.StatusBadRequest, message: "limit"},
		"unknown reason":           {name: "prod", options: lib.SelectionOptions{Reason: "Because"}, code: http.StatusBadRequest, message: "Standby"},
		"somebody else's continue": {name: "prod", options: lib.SelectionOptions{Continue: "x"}, code: http.StatusBadRequest, message: "continue"},
		"no version":               {name: "prod", options: lib.SelectionOptions{ResourceVersion: "x"}, code: http.StatusBadRequest, message: "resourceVersion"},
		"anything else":            {name: "prod", err: errors.New("bug"), code: http.StatusInternalServerError, message: "bug"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			selections := newIndexed()
			selections.err = test.err
			_, err := clusterSets(selections).Get(t.Context(), test.name, &test.options)
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				t.Fatalf("error is %v", err)
			}
			if status.Status().Code != test.code || !strings.Contains(err.Error(), test.message) {
				t.Errorf("%d %v, want %d with %q", status.Status().Code, err, test.code, test.message)
			}
		})
	}
}

// A set is found by its own kind and in its own namespace alone.
func TestSetsOfOtherKindsAndNamespacesAreNotFound(t *testing.T) {
	selections := newIndexed()
	selections.index.DeleteSet(selection.SetKey{Kind: selection.KindClusterSet, Name: "prod"})
	if _, err := clusterSets(selections).Get(t.Context(), "prod", &lib.SelectionOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("ClusterSet: %v", err)
	}
	if _, err := sets(selections).Get(request.WithNamespace(t.Context(), "default"), "prod", &lib.SelectionOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("Set of another namespace: %v", err)
	}
}

func TestReferencesHaveTheVersionThatTheyAreReadAt(t *testing.T) {
	got := get(t, clusterSets(newIndexed()), "", &lib.SelectionOptions{})
	for _, version := range []runtime.GroupVersioner{v1beta1.SchemeGroupVersion, v1alpha1.SchemeGroupVersion} {
		converted, err := scheme.Scheme.ConvertToVersion(got, version)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := runtime.DefaultUnstructuredConverter.ToUnstructured(converted)
		if err != nil {
			t.Fatal(err)
		}
		want := converted.GetObjectKind().GroupVersionKind().GroupVersion().String()
		if selected := encoded["selected"].([]any)[0].(map[string]any); selected["apiVersion"] != want {
			t.Errorf("selected cluster at %s: %v", want, selected)
		}
		if candidate := encoded["candidates"].([]any)[0].(map[string]any)["ref"].(map[string]any); candidate["apiVersion"] != want {
			t.Errorf("candidate at %s: %v", want, candidate)
		}
	}
}

func TestSelectionTable(t *testing.T) {
	r := clusterSets(newIndexed())
	got := get(t, r, "", &lib.SelectionOptions{})
	table, err := r.ConvertToTable(t.Context(), got, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Rows) != len(got.Candidates) || table.ResourceVersion != "42" {
		t.Errorf("%d rows at %q for %d candidates", len(table.Rows), table.ResourceVersion, len(got.Candidates))
	}
	for i, row := range table.Rows {
		if len(row.Cells) != len(table.ColumnDefinitions) {
			t.Fatalf("row %d has %d cells for %d columns", i, len(row.Cells), len(table.ColumnDefinitions))
		}
		object, ok := row.Object.Object.(metav1.Object)
		if !ok || object.GetName() != got.Candidates[i].Ref.Name {
			t.Errorf("row %d is of %v", i, row.Object.Object)
		}
		if row.Cells[0] == "civo/b" && cmp.Diff([]any{"civo/b", "Selected", "Ready"}, row.Cells[:3]) != "" {
			t.Errorf("the selected cluster's row is %v", row.Cells)
		}
	}
	headless, err := r.ConvertToTable(t.Context(), got, &metav1.TableOptions{NoHeaders: true})
	if err != nil || len(headless.ColumnDefinitions) > 0 {
		t.Errorf("without headers: %v, %v", headless.ColumnDefinitions, err)
	}
	if _, err := r.ConvertToTable(t.Context(), &lib.ClusterSet{}, nil); err == nil {
		t.Error("another kind was printed")
	}
}

// A cluster that does not match has no rank, rather than rank 0.
func TestRankOfAClusterThatDoesNotMatch(t *testing.T) {
	r := clusterSets(newIndexed())
	table, err := r.ConvertToTable(t.Context(), get(t, r, "", &lib.SelectionOptions{Reason: "NotMatching"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table.Rows {
		if row.Cells[3] != "" {
			t.Errorf("row %v has a rank", row.Cells)
		}
	}
}

// The installer would serve each of these under /selection too.
func TestSelectionIsForReadingOnly(t *testing.T) {
	var r any = clusterSets(newIndexed())
	for name, is := range map[string]bool{
		"watched": implements[rest.Watcher](r), "listed": implements[rest.Lister](r), "created": implements[rest.Creater](r),
		"updated": implements[rest.Updater](r), "deleted": implements[rest.GracefulDeleter](r),
	} {
		if is {
			t.Errorf("a selection can be %s", name)
		}
	}
}

func implements[T any](r any) bool {
	_, ok := r.(T)
	return ok
}

func TestSetTable(t *testing.T) {
	refs := func(names ...string) []corev1.ObjectReference {
		var out []corev1.ObjectReference
		for _, name := range names {
			out = append(out, corev1.ObjectReference{Namespace: "civo", Name: name})
		}
		return out
	}
	tests := map[string]struct {
		set  lib.ClusterSet
		want []any
	}{
		"new": {set: lib.ClusterSet{Spec: lib.ClusterSetSpec{MaxReplicas: 2}}, want: []any{"", int64(2), int64(0), int64(0), "", "<unknown>", ""}},
		"selecting": {
			set:  lib.ClusterSet{Status: lib.ClusterSetStatus{MatchingClusterCount: 7, SelectedClusterCount: 2, SelectedClusterRefs: refs("a", "b")}},
			want: []any{"", int64(0), int64(7), int64(2), "civo/a,civo/b", "<unknown>", ""},
		},
		"selecting many, halted": {
			set: lib.ClusterSet{Status: lib.ClusterSetStatus{
				SelectedClusterCount: 5, SelectedClusterRefs: refs("a", "b", "c", "d", "e"),
				Conditions: []metav1.Condition{{Type: v1beta1.ConditionFailoverHalted, Status: metav1.ConditionTrue}},
			}},
			want: []any{"", int64(0), int64(0), int64(5), "civo/a,civo/b,civo/c + 2 more", "<unknown>", "true"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := table.ConvertToTable(t.Context(), &test.set, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Rows[0].Cells); diff != "" {
				t.Errorf("cells (-want +got):\n%s", diff)
			}
		})
	}
}
