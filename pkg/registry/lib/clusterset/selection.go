// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/validation"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/selection"
)

// ErrNotReady is wrapped by errors of Selections that go away by themselves:
// the fleet has not been read yet, or the store does not answer.
var ErrNotReady = errors.New("selections cannot be computed yet")

// Answer is the selection of a set.
type Answer struct {
	selection.View
	// Revision of the store that the view is at.
	Revision int64
	// Unready are the clusters of the view that are not ready, as they are
	// registered.
	Unready map[fleet.Ref]fleet.Member
}

// Selections computes what sets select.
type Selections interface {
	// Selection answers a query: newest with everything that was written before
	// the call, else with what is at hand. Its errors are a
	// *selection.QueryError, or wrap selection.ErrUnknownSet or ErrNotReady.
	Selection(ctx context.Context, set selection.SetKey, query selection.Query, newest bool) (Answer, error)
}

// SelectionREST serves the selection subresource of a kind of set. It computes
// and stores nothing, and cannot be watched: aggregators cut watches of
// subresources. Who wants to wait watches the set.
type SelectionREST struct {
	kind       string
	resource   schema.GroupResource
	namespaced bool
	selections Selections
}

var _ interface {
	rest.Storage
	rest.Scoper
	rest.GetterWithOptions
	rest.TableConvertor
} = &SelectionREST{}

// NewSelectionREST returns the selection subresource of a kind of set, which
// is served at resource.
func NewSelectionREST(kind string, resource schema.GroupResource, namespaced bool, selections Selections) *SelectionREST {
	return &SelectionREST{kind: kind, resource: resource, namespaced: namespaced, selections: selections}
}

// New returns an empty Selection.
func (r *SelectionREST) New() runtime.Object { return &lib.Selection{} }

// Destroy has nothing to end.
func (r *SelectionREST) Destroy() {}

// NamespaceScoped says whether the sets live in namespaces.
func (r *SelectionREST) NamespaceScoped() bool { return r.namespaced }

// NewGetOptions returns the parameters; there is no path below the subresource.
func (r *SelectionREST) NewGetOptions() (options runtime.Object, subpath bool, parameter string) {
	return &lib.SelectionOptions{}, false, ""
}

// Get computes the selection of a set.
func (r *SelectionREST) Get(ctx context.Context, name string, options runtime.Object) (runtime.Object, error) {
	parameters, ok := options.(*lib.SelectionOptions)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("options of a selection are %T", options))
	}
	if errs := validation.ValidateSelectionOptions(parameters); len(errs) > 0 {
		return nil, apierrors.NewBadRequest(errs.ToAggregate().Error())
	}
	namespace := request.NamespaceValue(ctx)
	answer, err := r.selections.Selection(ctx,
		selection.SetKey{Kind: r.kind, Namespace: namespace, Name: name},
		selection.Query{
			// A page has at most MaxLimit candidates, whatever was asked for.
			Limit:    int(min(parameters.Limit, selection.MaxLimit)),
			Continue: parameters.Continue,
			Reason:   selection.Reason(parameters.Reason),
		}, parameters.ResourceVersion != "0")
	if err != nil {
		return nil, r.statusError(err, name)
	}
	return newSelection(namespace, name, answer), nil
}

// statusError says it in HTTP.
func (r *SelectionREST) statusError(err error, name string) error {
	var query *selection.QueryError
	switch {
	case errors.As(err, &query):
		return apierrors.NewBadRequest(query.Error())
	case errors.Is(err, selection.ErrUnknownSet):
		return apierrors.NewNotFound(r.resource, name)
	case errors.Is(err, ErrNotReady):
		return apierrors.NewServiceUnavailable(err.Error())
	default:
		return apierrors.NewInternalError(fmt.Errorf("selection of %s: %w", name, err))
	}
}

func newSelection(namespace, name string, answer Answer) *lib.Selection {
	out := &lib.Selection{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       namespace,
			Name:            name,
			ResourceVersion: strconv.FormatInt(answer.Revision, 10),
		},
		Selected:   make([]lib.SelectedCluster, 0, len(answer.Selected)),
		Counts:     map[string]int32{},
		Candidates: make([]lib.SelectionCandidate, 0, len(answer.Candidates)),
		Continue:   answer.Continue,
		Persisted:  answer.Persisted,
	}
	for _, entry := range answer.Selected {
		ref := objectReference(entry.Ref)
		out.Selected = append(out.Selected, lib.SelectedCluster{
			APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name,
			State: answer.state(entry), Reason: lib.SelectionReason(entry.Reason),
		})
	}
	for _, reason := range selection.Reasons() {
		out.Counts[string(reason)] = int32(answer.Counts.Of(reason))
	}
	for _, entry := range answer.Candidates {
		out.Candidates = append(out.Candidates, lib.SelectionCandidate{
			Ref: objectReference(entry.Ref), State: answer.state(entry),
			Reason: lib.SelectionReason(entry.Reason), Rank: int32(entry.Rank),
		})
	}
	return out
}

// state is a cluster's own, whatever the set made of it.
func (a Answer) state(entry selection.Entry) lib.ClusterState {
	member, registered := a.Unready[entry.Ref]
	switch {
	case registered && member.Deleting:
		return lib.ClusterStateDeleting
	case entry.Ready:
		return lib.ClusterStateReady
	case !registered:
		return lib.ClusterStateMissing
	case !member.EverReady:
		return lib.ClusterStateNeverReady
	default:
		return lib.ClusterStateNotReady
	}
}

// objectReference names a cluster; conversion writes the version that the
// reader asked for.
func objectReference(ref fleet.Ref) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: ref.Group + "/" + lib.HubVersion, Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name,
	}
}

// ConvertToTable makes one row for each candidate.
func (r *SelectionREST) ConvertToTable(_ context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	selected, ok := object.(*lib.Selection)
	if !ok {
		return nil, fmt.Errorf("cannot print %T as a selection", object)
	}
	out := &metav1.Table{ListMeta: metav1.ListMeta{ResourceVersion: selected.ResourceVersion, Continue: selected.Continue}}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		out.ColumnDefinitions = []metav1.TableColumnDefinition{
			{Name: "Cluster", Type: registry.String, Format: "name", Description: "namespace and name of the cluster's registration"},
			{Name: "Reason", Type: registry.String, Description: "why the cluster is or is not selected"},
			{Name: "State", Type: registry.String, Description: "state of the cluster"},
			{Name: "Rank", Type: registry.String, Description: "position among all candidates; places are filled by rank"},
			{Name: "Kind", Type: registry.String, Description: "what the cluster is registered as", Priority: 1},
		}
	}
	out.Rows = make([]metav1.TableRow, 0, len(selected.Candidates))
	for _, candidate := range selected.Candidates {
		out.Rows = append(out.Rows, candidateRow(candidate))
	}
	return out, nil
}

func candidateRow(candidate lib.SelectionCandidate) metav1.TableRow {
	rank := ""
	if candidate.Rank > 0 {
		rank = strconv.Itoa(int(candidate.Rank))
	}
	return metav1.TableRow{
		Cells: []any{
			candidate.Ref.Namespace + "/" + candidate.Ref.Name,
			string(candidate.Reason), string(candidate.State), rank, candidate.Ref.Kind,
		},
		// A row needs an object with metadata; this one names the cluster.
		Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: candidate.Ref.APIVersion, Kind: candidate.Ref.Kind},
			ObjectMeta: metav1.ObjectMeta{Namespace: candidate.Ref.Namespace, Name: candidate.Ref.Name},
		}},
	}
}
