// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/deploy/revision"
)

// known has the history of one Profile, apps/web.
type known struct{}

func (known) History(_ context.Context, owner revision.Owner, number int64) ([]config.ProfileRevision, error) {
	switch {
	case owner.Name == "broken":
		return nil, errors.New("etcd is away")
	case owner != (revision.Owner{Kind: "Profile", Namespace: "apps", Name: "web"}) || number > 2:
		return nil, fmt.Errorf("%w: %v", ErrNoHistory, owner)
	}
	return []config.ProfileRevision{
		{Number: 2, Name: "r2", Time: metav1.NewTime(time.Now()), Author: "alice", Cause: "Rollback", ContentsOf: 1, State: "Deployed", Clusters: make([]config.RevisionCluster, 3)},
		{Number: 1, Name: "r1", Time: metav1.NewTime(time.Now()), Cause: "Spec", State: "Superseded"},
	}, nil
}

func profileHistories() *HistoryREST {
	return NewHistoryREST("Profile", config.Resource("profiles"), true, known{})
}

func TestHistoryOfAProfile(t *testing.T) {
	r := profileHistories()
	object, err := r.Get(request.WithNamespace(t.Context(), "apps"), "web", &config.ProfileHistoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := object.(*config.ProfileHistory); got.Name != "web" || got.Namespace != "apps" || len(got.Revisions) != 2 {
		t.Errorf("the history is %+v", got)
	}
	table, err := r.ConvertToTable(t.Context(), object, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(table.ColumnDefinitions) != len(table.Rows[0].Cells) {
		t.Errorf("%d columns, %d cells", len(table.ColumnDefinitions), len(table.Rows[0].Cells))
	}
	if diff := cmp.Diff([]any{int64(2), "0s", "Rollback to 1", "alice", int64(3), "Deployed", "r2"}, table.Rows[0].Cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if table, err = r.ConvertToTable(t.Context(), object, &metav1.TableOptions{NoHeaders: true}); err != nil || len(table.ColumnDefinitions) != 0 {
		t.Errorf("headers are %v, %v", table.ColumnDefinitions, err)
	}
}

func TestHistoryThatIsNotThere(t *testing.T) {
	tests := map[string]struct {
		name    string
		options config.ProfileHistoryOptions
		is      func(error) bool
		says    string
	}{
		"no such profile":    {name: "none", is: apierrors.IsNotFound, says: "none/history"},
		"no such revision":   {name: "web", options: config.ProfileHistoryOptions{Revision: 3}, is: apierrors.IsNotFound, says: "revision=3"},
		"no revision at all": {name: "web", options: config.ProfileHistoryOptions{Revision: -1}, is: apierrors.IsBadRequest, says: "negative"},
		"it cannot be read":  {name: "broken", is: apierrors.IsInternalError, says: "etcd is away"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := profileHistories().Get(request.WithNamespace(t.Context(), "apps"), test.name, &test.options)
			if !test.is(err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want %q", err, test.says)
			}
		})
	}
}
