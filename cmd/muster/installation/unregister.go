// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
)

const (
	goneCheck   = 200 * time.Millisecond
	goneTimeout = time.Minute
)

// Unregister deletes the APIServices of groups that lead to the Service
// namespace/name, and returns when the host has none of them left. Those that
// lead elsewhere are somebody else's and stay.
func Unregister(ctx context.Context, client aggregatorclient.Interface, groups []string, namespace, name string) error {
	var left []string
	err := wait.PollUntilContextTimeout(ctx, goneCheck, goneTimeout, true, func(ctx context.Context) (bool, error) {
		registrations, err := registered(ctx, client, groups, namespace, name)
		if err != nil {
			return false, err
		}
		left = left[:0]
		for i := range registrations {
			left = append(left, registrations[i].Name)
			if err := remove(ctx, client, &registrations[i]); err != nil {
				return false, err
			}
		}
		return len(left) == 0, nil
	})
	if err != nil && wait.Interrupted(err) && ctx.Err() == nil {
		return fmt.Errorf("the host still has the APIServices %s after %s: see their finalizers", strings.Join(left, ", "), goneTimeout)
	}
	return err
}

func registered(ctx context.Context, client aggregatorclient.Interface, groups []string, namespace, name string) ([]apiregistration.APIService, error) {
	list, err := client.ApiregistrationV1().APIServices().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the host's APIServices: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(a apiregistration.APIService) bool {
		s := a.Spec.Service
		return !slices.Contains(groups, a.Spec.Group) || s == nil || s.Namespace != namespace || s.Name != name
	}), nil
}

// remove deletes the APIService as it was read: one that somebody has made anew
// in between may lead elsewhere.
func remove(ctx context.Context, client aggregatorclient.Interface, registration *apiregistration.APIService) error {
	if registration.DeletionTimestamp != nil {
		return nil
	}
	err := client.ApiregistrationV1().APIServices().Delete(ctx, registration.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &registration.UID},
	})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil
	case err != nil:
		return fmt.Errorf("delete APIService %s: %w", registration.Name, err)
	}
	klog.FromContext(ctx).Info("Deleted an APIService", "apiService", klog.KObj(registration))
	return nil
}
