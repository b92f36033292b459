// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/muster-project/muster/pkg/render/flux"
)

const (
	// fluxPoll is the time between two looks for a kind that profiles name and the host
	// does not know: Flux may be installed later.
	fluxPoll = 5 * time.Second
	// fluxIdle is how many such looks a kind stays watched that no profile names any
	// more: a job that begins names nothing for a moment.
	fluxIdle = 24
	// annotationPrefix is that of annotations with a meaning.
	annotationPrefix = "projectsveltos.io/"
)

// fluxWatch watches the kinds of Flux's that profiles name, and no others: on most hosts
// there are none.
type fluxWatch struct {
	// changed is told of each source that may have another artifact.
	changed func(kind string, name types.NamespacedName)
	// used reports whether a job has read a source of a kind.
	used func(kind string) bool
	// wake is told of a kind that is not watched yet.
	wake chan struct{}

	mu      sync.Mutex
	wanted  map[string]bool
	watched map[string]*watchedKind
}

// watchedKind is a watch.
type watchedKind struct {
	// object has the kind and the version.
	object *unstructured.Unstructured
	// idle is for how many looks nobody has named a source of it.
	idle int
}

func newFluxWatch(changed func(kind string, name types.NamespacedName), used func(kind string) bool) *fluxWatch {
	return &fluxWatch{changed: changed, used: used, wake: make(chan struct{}, 1), wanted: map[string]bool{}, watched: map[string]*watchedKind{}}
}

// want notes that a job has read a source of a kind. What is no kind of Flux's is watched
// already.
func (w *fluxWatch) want(kind string) {
	if !flux.IsKind(kind) {
		return
	}
	w.mu.Lock()
	w.wanted[kind] = true
	missing := w.watched[kind] == nil
	w.mu.Unlock()
	if missing {
		select {
		case w.wake <- struct{}{}:
		default: // it is awake, or about to be
		}
	}
}

// run begins and ends watches until the context ends, which ends the cache and its
// watches too.
func (w *fluxWatch) run(ctx context.Context, host cache.Cache) error {
	timer := time.NewTimer(fluxPoll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		case <-timer.C:
		}
		for _, kind := range w.missing() {
			err := w.begin(ctx, host, kind)
			if err != nil && ctx.Err() == nil && !meta.IsNoMatchError(err) {
				klog.FromContext(ctx).Error(err, "Watching a kind of Flux's", "kind", kind)
			}
		}
		w.endIdle(ctx, host)
		timer.Reset(fluxPoll)
	}
}

func (w *fluxWatch) missing() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []string
	for kind := range w.wanted {
		if w.watched[kind] == nil {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// begin watches a kind in the first version that the host serves. What is there already
// counts as changed: it may have come after it was looked for.
func (w *fluxWatch) begin(ctx context.Context, host cache.Cache, kind string) error {
	var err error
	for _, version := range flux.Versions(kind) {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(version)
		var informer cache.Informer
		informer, err = host.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("watching %s: %w", version, err)
		}
		if _, err := informer.AddEventHandler(w.handler(kind)); err != nil {
			return fmt.Errorf("following %s: %w", version, err)
		}
		w.mu.Lock()
		w.watched[kind] = &watchedKind{object: object}
		w.mu.Unlock()
		return nil
	}
	return err
}

// endIdle ends the watches of kinds that nobody names any more, and looks for none that
// is missing. Nothing is lost in between: a job notes what it reads before it wants the
// watch, and is looked for with the lock held that the want waits for.
func (w *fluxWatch) endIdle(ctx context.Context, host cache.Cache) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for kind := range w.wanted {
		known := w.watched[kind]
		switch {
		case known == nil:
			w.wanted[kind] = w.used(kind)
		case w.used(kind):
			known.idle = 0
		default:
			known.idle++
		}
		if known != nil && known.idle >= fluxIdle {
			if err := host.RemoveInformer(ctx, known.object); err != nil {
				klog.FromContext(ctx).Error(err, "Ending the watch of a kind of Flux's", "kind", kind)
				continue
			}
			delete(w.watched, kind)
			w.wanted[kind] = false
		}
		if !w.wanted[kind] {
			delete(w.wanted, kind)
		}
	}
}

func (w *fluxWatch) handler(kind string) toolscache.ResourceEventHandler {
	tell := func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if source, ok := object.(*unstructured.Unstructured); ok {
			w.changed(kind, types.NamespacedName{Namespace: source.GetNamespace(), Name: source.GetName()})
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    tell,
		DeleteFunc: tell,
		UpdateFunc: func(before, after any) {
			// A source is written whenever its controller has looked at it: what
			// is deployed depends on little of that.
			if old, ok := before.(*unstructured.Unstructured); !ok || !reflect.DeepEqual(stateOf(old), stateOf(after)) {
				tell(after)
			}
		},
	}
}

// fluxState is what a deployment depends on in a source.
type fluxState struct {
	uid         types.UID
	annotations map[string]bool // those with a meaning here, of which only presence counts
	artifact    flux.Artifact
	problem     string
}

func stateOf(object any) fluxState {
	source, ok := object.(*unstructured.Unstructured)
	if !ok {
		return fluxState{}
	}
	state := fluxState{uid: source.GetUID(), annotations: map[string]bool{}}
	for key := range source.GetAnnotations() {
		if strings.HasPrefix(key, annotationPrefix) {
			state.annotations[key] = true
		}
	}
	artifact, err := flux.ArtifactOf(source)
	state.artifact = artifact
	if err != nil {
		state.problem = err.Error()
	}
	return state
}
