// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/registry"
)

// ErrNoHistory is wrapped by errors of Histories where the profile, or the revision
// that is asked for, is not in the history.
var ErrNoHistory = errors.New("not in the history")

// Histories read what profiles have been.
type Histories interface {
	// History returns the revisions of a profile, the latest first, or the one with
	// a number if that is not 0, with all that is known of it.
	History(ctx context.Context, owner revision.Owner, number int64) ([]config.ProfileRevision, error)
}

// HistoryREST serves the history subresource of a kind of profile. It stores nothing
// and cannot be watched: who wants to wait watches the profile.
type HistoryREST struct {
	kind       string
	resource   schema.GroupResource
	namespaced bool
	histories  Histories
}

var _ interface {
	rest.Storage
	rest.Scoper
	rest.GetterWithOptions
	rest.TableConvertor
} = &HistoryREST{}

// NewHistoryREST returns the history subresource of a kind of profile, which is
// served at resource.
func NewHistoryREST(kind string, resource schema.GroupResource, namespaced bool, histories Histories) *HistoryREST {
	return &HistoryREST{kind: kind, resource: resource, namespaced: namespaced, histories: histories}
}

// New returns an empty ProfileHistory.
func (r *HistoryREST) New() runtime.Object { return &config.ProfileHistory{} }

// Destroy has nothing to end.
func (r *HistoryREST) Destroy() {}

// NamespaceScoped says whether the profiles live in namespaces.
func (r *HistoryREST) NamespaceScoped() bool { return r.namespaced }

// NewGetOptions returns the parameters; there is no path below the subresource.
func (r *HistoryREST) NewGetOptions() (options runtime.Object, subpath bool, parameter string) {
	return &config.ProfileHistoryOptions{}, false, ""
}

// Get reads the history of a profile.
func (r *HistoryREST) Get(ctx context.Context, name string, options runtime.Object) (runtime.Object, error) {
	parameters, ok := options.(*config.ProfileHistoryOptions)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("options of a history are %T", options))
	}
	if parameters.Revision < 0 {
		return nil, apierrors.NewBadRequest("revision: must not be negative")
	}
	owner := revision.Owner{Kind: r.kind, Namespace: request.NamespaceValue(ctx), Name: name}
	revisions, err := r.histories.History(ctx, owner, parameters.Revision)
	if errors.Is(err, ErrNoHistory) {
		missing := name + "/history"
		if parameters.Revision > 0 {
			missing = fmt.Sprintf("%s/history?revision=%d", name, parameters.Revision)
		}
		return nil, apierrors.NewNotFound(r.resource, missing)
	}
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("history of %s: %w", name, err))
	}
	return &config.ProfileHistory{
		ObjectMeta: metav1.ObjectMeta{Namespace: owner.Namespace, Name: name}, Revisions: revisions,
	}, nil
}

// ConvertToTable makes one row for each revision.
func (r *HistoryREST) ConvertToTable(_ context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	history, ok := object.(*config.ProfileHistory)
	if !ok {
		return nil, fmt.Errorf("cannot print %T as a history", object)
	}
	out := &metav1.Table{}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		out.ColumnDefinitions = []metav1.TableColumnDefinition{
			{Name: "Revision", Type: registry.Integer, Description: "number of the revision"},
			{Name: "Age", Type: registry.String, Description: "how long ago the profile came to be so"},
			{Name: "Cause", Type: registry.String, Description: "what made the revision: a spec, contents of its sources, or a rollback"},
			{Name: "Author", Type: registry.String, Description: "who wrote the spec, as far as it is known"},
			{Name: "Clusters", Type: registry.Integer, Description: "how many clusters have it, or had it last"},
			{Name: "State", Type: registry.String, Description: "how its deployment goes or ended"},
			{Name: "Name", Type: registry.String, Description: "name of the stored spec", Priority: 1},
		}
	}
	out.Rows = make([]metav1.TableRow, 0, len(history.Revisions))
	for i := range history.Revisions {
		revision := &history.Revisions[i]
		cause := revision.Cause
		if revision.ContentsOf > 0 {
			cause = fmt.Sprintf("%s to %d", cause, revision.ContentsOf)
		}
		out.Rows = append(out.Rows, metav1.TableRow{
			Cells: []any{
				revision.Number, registry.Since(&revision.Time), cause, revision.Author,
				int64(len(revision.Clusters)), revision.State, revision.Name,
			},
			// A row needs an object with metadata; this one names the profile.
			Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
				TypeMeta:   metav1.TypeMeta{APIVersion: config.GroupName + "/v1beta1", Kind: r.kind},
				ObjectMeta: metav1.ObjectMeta{Namespace: history.Namespace, Name: history.Name},
			}},
		})
	}
	return out, nil
}
