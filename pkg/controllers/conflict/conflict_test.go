// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package conflict

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestRetried(t *testing.T) {
	lost := apierrors.NewConflict(schema.GroupResource{Resource: "clustersets"}, "prod", errors.New("changed"))
	other := errors.New("no")
	for _, test := range []struct {
		name   string
		result reconcile.Result
		err    error
		want   reconcile.Result
		wantOK bool
	}{
		{"success is passed on", reconcile.Result{RequeueAfter: time.Hour}, nil, reconcile.Result{RequeueAfter: time.Hour}, true},
		{"another error is passed on", reconcile.Result{}, other, reconcile.Result{}, false},
		{"a lost write is tried again", reconcile.Result{}, fmt.Errorf("writing: %w", lost), reconcile.Result{RequeueAfter: retry}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner := reconcile.TypedFunc[string](func(context.Context, string) (reconcile.Result, error) { return test.result, test.err })
			got, err := Retried(inner).Reconcile(t.Context(), "x")
			if got != test.want || (err == nil) != test.wantOK {
				t.Errorf("Reconcile() = %v, %v; want %v, success %t", got, err, test.want, test.wantOK)
			}
		})
	}
}
