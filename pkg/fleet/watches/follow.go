// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package watches

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// backOff is between two tries to watch what cannot be watched. A cluster that is
// known to be down costs nothing: its breaker answers.
func backOff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 10 * time.Second}
}

// follow is one run of a watch.
func (w *Watches) follow(ctx context.Context, key Key, s *shared) {
	run := &run{watches: w, ctx: ctx, key: key, shared: s}
	lister := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			objects, err := run.client(ctx)
			if err != nil {
				return nil, run.failed(err)
			}
			options.LabelSelector = key.Selector
			list, err := objects.List(ctx, options)
			if err != nil {
				return nil, run.failed(err)
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			objects, err := run.client(ctx)
			if err != nil {
				return nil, run.failed(err)
			}
			options.LabelSelector = key.Selector
			changes, err := objects.Watch(ctx, options)
			if err != nil && options.SendInitialEvents != nil {
				return nil, err // a list follows, as older servers need it
			}
			if err != nil {
				return nil, run.failed(err)
			}
			return changes, nil
		},
	}
	reflector := cache.NewReflectorWithOptions(lister, &metav1.PartialObjectMetadata{}, run, cache.ReflectorOptions{
		Name: key.Cluster.String() + " " + key.Resource.String(), TypeDescription: key.Resource.String(), Backoff: backOff(),
	})
	// It would log each try; failed tells those who wait.
	reflector.RunWithContext(klog.NewContext(ctx, logr.Discard()))
}

// run is where a reflector stores what it sees.
type run struct {
	watches *Watches
	ctx     context.Context
	key     Key
	shared  *shared
}

var _ cache.ReflectorStore = &run{}

// client is asked for each request: credentials change.
func (r *run) client(ctx context.Context) (metadata.ResourceInterface, error) {
	client, err := r.watches.clients.Client(ctx, r.key.Cluster, r.key.As)
	if err != nil {
		return nil, err
	}
	objects, err := metadata.NewForConfigAndClient(metadata.ConfigFor(client.Config), client.HTTP)
	if err != nil {
		return nil, fmt.Errorf("make a client for the metadata of %s: %w", r.key.Cluster, err)
	}
	if r.key.Namespace == "" {
		return objects.Resource(r.key.Resource), nil
	}
	return objects.Resource(r.key.Resource).Namespace(r.key.Namespace), nil
}

func (r *run) failed(err error) error {
	if r.ctx.Err() == nil {
		r.watches.tell(r.ctx, r.shared, func(h Handler) { h.Failed(err) })
	}
	return err
}

// Add implements cache.ReflectorStore.
func (r *run) Add(object any) error { return r.Update(object) }

// Update implements cache.ReflectorStore.
func (r *run) Update(object any) error {
	found, err := metadataOf(object)
	if err != nil {
		return err
	}
	r.watches.tell(r.ctx, r.shared, func(h Handler) { h.Changed(found) })
	return nil
}

// Delete implements cache.ReflectorStore.
func (r *run) Delete(object any) error {
	found, err := metadataOf(object)
	if err != nil {
		return err
	}
	r.watches.tell(r.ctx, r.shared, func(h Handler) { h.Gone(found) })
	return nil
}

// Replace implements cache.ReflectorStore.
func (r *run) Replace(objects []any, resourceVersion string) error {
	all := make([]*metav1.PartialObjectMetadata, 0, len(objects))
	for _, object := range objects {
		found, err := metadataOf(object)
		if err != nil {
			return err
		}
		all = append(all, found)
	}
	r.watches.tell(r.ctx, r.shared, func(h Handler) { h.Listed(all, resourceVersion) })
	return nil
}

// Resync implements cache.ReflectorStore. There is nothing to repeat.
func (r *run) Resync() error { return nil }

func metadataOf(object any) (*metav1.PartialObjectMetadata, error) {
	found, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("a watch of metadata has seen a %T", object)
	}
	return found, nil
}
