// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package live looks at what a cluster serves and holds in this moment: it
// waits for objects by watch, and tells a kind that is gone from one whose
// server does not answer.
package live

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// watchPause is the pause before a watch that ended early is begun again.
const watchPause = 100 * time.Millisecond

// Await watches one object until reached returns true or an error, or ctx
// ends. reached is called with nil when there is no object.
func Await(ctx context.Context, client dynamic.ResourceInterface, name string, reached func(*unstructured.Unstructured) (bool, error)) error {
	for {
		live, err := client.Get(ctx, name, metav1.GetOptions{})
		resourceVersion := ""
		switch {
		case apierrors.IsNotFound(err):
			live = nil
		case err != nil:
			return err
		default:
			resourceVersion = live.GetResourceVersion()
		}
		if done, err := reached(live); done || err != nil {
			return err
		}
		done, err := follow(ctx, client, name, resourceVersion, reached)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchPause):
		}
	}
}

// follow is one watch of Await; it returns false when the watch has ended
// early. Without a resourceVersion it begins with what there is.
func follow(ctx context.Context, client dynamic.ResourceInterface, name, resourceVersion string, reached func(*unstructured.Unstructured) (bool, error)) (bool, error) {
	watcher, err := client.Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", name).String(),
		ResourceVersion: resourceVersion,
	})
	if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return false, ctx.Err()
			}
			if done, again, err := handle(event, reached); done || again || err != nil {
				return done, err
			}
		}
	}
}

// handle looks at one event. again says that the watch must be begun anew.
func handle(event watch.Event, reached func(*unstructured.Unstructured) (bool, error)) (done, again bool, err error) {
	switch event.Type {
	case watch.Added, watch.Modified:
		live, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			return false, false, fmt.Errorf("watching: unexpected %T", event.Object)
		}
		done, err = reached(live)
		return done, false, err
	case watch.Deleted:
		done, err = reached(nil)
		return done, false, err
	case watch.Error:
		err := apierrors.FromObject(event.Object)
		if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
			return false, true, nil
		}
		return false, false, err
	}
	return false, false, nil
}

// Established reports whether a CRD, nil if there is none, is served. Names that another CRD has will
// not become free by waiting.
func Established(crd *unstructured.Unstructured) (bool, error) {
	if crd == nil {
		return false, nil
	}
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if !ok {
			continue
		}
		switch {
		case condition["type"] == "Established" && condition["status"] == "True":
			return true, nil
		case condition["type"] == "NamesAccepted" && condition["status"] == "False":
			return false, fmt.Errorf("its names are not accepted: %v", condition["message"])
		}
	}
	return false, nil
}

// HeldBy says which finalizers hold an object that is being deleted: " (finalizers
// a, b)", or nothing if there are none.
func HeldBy(live *unstructured.Unstructured) string {
	if finalizers := live.GetFinalizers(); len(finalizers) > 0 {
		return " (finalizers " + strings.Join(finalizers, ", ") + ")"
	}
	return ""
}
