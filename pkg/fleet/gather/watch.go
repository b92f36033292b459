// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/fleet"
)

const (
	// firstPause and lastPause are the shortest and the longest pause before a watch that
	// ended is begun again.
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
)

// Watch calls changed whenever something that the selectors look at may have changed,
// until ctx ends, and returns when no call is under way any more. Each watch calls it once
// when it has begun: a List that is made from then on misses nothing. Only the metadata
// of objects is watched. connect returns the cluster's client of the moment.
func (s *Selectors) Watch(ctx context.Context, connect func(context.Context) (*fleet.Client, error), changed func()) {
	var watches sync.WaitGroup
	for i := range s.selectors {
		watches.Go(func() { s.keepWatching(ctx, &s.selectors[i], connect, changed) })
	}
	watches.Wait()
}

// keepWatching follows what one selector looks at.
func (s *Selectors) keepWatching(ctx context.Context, one *selector, connect func(context.Context) (*fleet.Client, error), changed func()) {
	kind := schema.GroupVersionKind{Group: one.Group, Version: one.Version, Kind: one.Kind}
	Follow(ctx, func(ctx context.Context) (*fleet.Client, schema.GroupVersionResource, error) {
		client, err := connect(ctx)
		if err != nil {
			return nil, schema.GroupVersionResource{}, err
		}
		reader, err := newReader(client)
		if err != nil {
			return nil, schema.GroupVersionResource{}, err
		}
		resource, err := s.kinds.resolve(ctx, reader, kind)
		switch {
		case err != nil:
			return nil, schema.GroupVersionResource{}, err
		case resource == nil:
			return nil, schema.GroupVersionResource{}, fmt.Errorf("%s does not have %s", client.Ref, kind)
		}
		return client, resource.GroupVersionResource, nil
	}, one.Namespace, one.labels.String(), changed, func(*metav1.PartialObjectMetadata) { changed() })
}

// Follow watches the metadata of objects until ctx ends: begun is called each time that a
// watch has begun, and what is read after that is not older than what changed tells of.
// find returns the cluster's client of the moment, and what is watched. A watch that
// cannot be made is tried again; whoever reads finds out what is wrong.
func Follow(ctx context.Context, find func(context.Context) (*fleet.Client, schema.GroupVersionResource, error),
	namespace, labelSelector string, begun func(), changed func(*metav1.PartialObjectMetadata)) {
	pause := firstPause
	for {
		if follow(ctx, find, namespace, labelSelector, begun, changed) {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// follow is one watch, and returns whether it could be made.
func follow(ctx context.Context, find func(context.Context) (*fleet.Client, schema.GroupVersionResource, error),
	namespace, labelSelector string, begun func(), changed func(*metav1.PartialObjectMetadata)) bool {
	client, resource, err := find(ctx)
	if err != nil {
		return false
	}
	events, err := watchMetadata(ctx, client, resource, namespace, labelSelector)
	if err != nil {
		return false
	}
	defer events.Stop()
	begun()
	for event := range events.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified, watch.Deleted:
			if object, ok := event.Object.(*metav1.PartialObjectMetadata); ok {
				changed(object)
			}
		case watch.Error:
			return true
		}
	}
	return true
}

// watchMetadata watches the metadata of objects from now on.
func watchMetadata(ctx context.Context, client *fleet.Client, resource schema.GroupVersionResource, namespace, labelSelector string) (watch.Interface, error) {
	config := metadata.ConfigFor(rest.CopyConfig(client.Config))
	metadataClient, err := metadata.NewForConfigAndClient(config, client.HTTP)
	if err != nil {
		return nil, fmt.Errorf("make a metadata client for %s: %w", client.Ref, err)
	}
	objects := metadataClient.Resource(resource).Namespace(namespace)
	list, err := objects.List(ctx, metav1.ListOptions{LabelSelector: labelSelector, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
	}
	events, err := objects.Watch(ctx, metav1.ListOptions{LabelSelector: labelSelector, ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: true})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", resource.Resource, err)
	}
	return events, nil
}
