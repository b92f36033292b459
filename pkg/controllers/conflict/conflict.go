// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package conflict makes lost optimistic writes a part of everyday life.
package conflict

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// retry is how long a cache takes to show what somebody else wrote, and more.
const retry = 50 * time.Millisecond

// Retried is a reconciler that is asked again, shortly after, when the object
// that it wanted to write had changed since it was read. That is no error: it
// says nothing to whoever reads the log, and an exponential back-off would hold
// up a fail-over.
func Retried[request comparable](inner reconcile.TypedReconciler[request]) reconcile.TypedReconciler[request] {
	return reconcile.TypedFunc[request](func(ctx context.Context, r request) (reconcile.Result, error) {
		result, err := inner.Reconcile(ctx, r)
		if err != nil && apierrors.IsConflict(err) {
			klog.FromContext(ctx).V(4).Info("The object has changed since it was read", "error", err)
			return reconcile.Result{RequeueAfter: retry}, nil
		}
		return result, err
	})
}
