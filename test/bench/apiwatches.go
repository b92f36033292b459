// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/pkg/generated/informers/externalversions/lib/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// catchUp is how long watches may take to have what was written last.
const catchUp = 15 * time.Second

// loadedWatches are informers, as controllers have them, of one set each.
type loadedWatches struct {
	informers []cache.SharedIndexInformer
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// startWatches returns when every watch is open. A watch fails when its informer
// has to be told of an error: one that merely ends, as all do in time, is opened
// again where it was.
func startWatches(ctx context.Context, client versioned.Interface, fail func(time.Time, error)) (*loadedWatches, error) {
	watching, cancel := context.WithCancel(ctx)
	w := &loadedWatches{cancel: cancel}
	var synced []cache.InformerSynced
	for i := range loadWatches {
		informer := v1beta1.NewFilteredClusterSetInformer(client, 0, cache.Indexers{}, func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, setName(i%loadSets)).String()
		})
		err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil && !errors.Is(err, io.EOF) {
				fail(time.Now(), fmt.Errorf("watch: %w", err))
			}
		})
		if err != nil {
			cancel()
			return nil, fmt.Errorf("preparing a watch: %w", err)
		}
		w.informers, synced = append(w.informers, informer), append(synced, informer.HasSynced)
		w.running.Go(func() { informer.RunWithContext(watching) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		w.end()
		return nil, context.Cause(ctx)
	}
	return w, nil
}

func (w *loadedWatches) end() {
	w.cancel()
	w.running.Wait()
}

// stop ends the watches. It is an error if one of them misses what it should
// have by then.
func (w *loadedWatches) stop(ctx context.Context, client versioned.Interface) error {
	defer w.end()
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	return fleet.Await(ctx, func(ctx context.Context) error {
		list, err := client.LibV1beta1().ClusterSets().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		current := map[string]string{}
		for _, set := range list.Items {
			current[set.Name] = set.ResourceVersion
		}
		for i, informer := range w.informers {
			object, _, err := informer.GetStore().GetByKey(setName(i % loadSets))
			if err != nil {
				return err
			}
			set, ok := object.(*libv1beta1.ClusterSet)
			if !ok || set.ResourceVersion != current[set.Name] {
				return fmt.Errorf("watch %d, of %s, misses what was written last", i, setName(i%loadSets))
			}
		}
		return nil
	})
}
