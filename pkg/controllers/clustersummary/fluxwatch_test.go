// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-project/muster/pkg/render/flux"
)

// fluxCache is a host's cache, which knows kinds in some versions.
type fluxCache struct {
	cache.Cache
	mu       sync.Mutex // guards known
	known    map[schema.GroupVersionKind]bool
	handlers chan toolscache.ResourceEventHandler
	asked    chan schema.GroupVersionKind
	removed  chan schema.GroupVersionKind
}

func (c *fluxCache) RemoveInformer(_ context.Context, object client.Object) error {
	c.removed <- object.GetObjectKind().GroupVersionKind()
	return nil
}

func (c *fluxCache) GetInformer(_ context.Context, object client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	kind := object.GetObjectKind().GroupVersionKind()
	c.asked <- kind
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known[kind] {
		return nil, &meta.NoKindMatchError{GroupKind: kind.GroupKind(), SearchedVersions: []string{kind.Version}}
	}
	return fluxInformer{handlers: c.handlers}, nil
}

type fluxInformer struct {
	cache.Informer
	handlers chan toolscache.ResourceEventHandler
}

func (i fluxInformer) AddEventHandler(handler toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.handlers <- handler
	return nil, nil
}

// Nothing is watched that no profile names, and a kind that the host does not know is
// looked for until it does.
func TestFluxKindsAreWatchedOnceNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &fluxCache{known: map[schema.GroupVersionKind]bool{}, handlers: make(chan toolscache.ResourceEventHandler, 10), asked: make(chan schema.GroupVersionKind, 1000), removed: make(chan schema.GroupVersionKind, 10)}
		used := atomic.Bool{}
		used.Store(true)
		w := newFluxWatch(func(string, types.NamespacedName) {}, func(string) bool { return used.Load() })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.run(ctx, host) }()
		pass := func() {
			time.Sleep(2 * fluxPoll) // of the test's own clock
			synctest.Wait()
		}
		w.want("ConfigMap")
		pass()
		if len(host.asked) != 0 {
			t.Errorf("the host was asked for %v", <-host.asked)
		}
		w.want(flux.GitRepository)
		synctest.Wait()
		if len(host.asked) != 2 || len(host.handlers) != 0 {
			t.Errorf("asked %d times, %d watches", len(host.asked), len(host.handlers))
		}
		pass()
		host.mu.Lock()
		host.known[flux.Versions(flux.GitRepository)[1]] = true // it is installed
		host.mu.Unlock()
		pass()
		if len(host.handlers) != 1 {
			t.Errorf("%d watches", len(host.handlers))
		}
		asked := len(host.asked)
		w.want(flux.GitRepository)
		pass()
		if len(host.asked) != asked {
			t.Error("what is watched is looked for again")
		}
		used.Store(false)
		time.Sleep(fluxPoll)
		used.Store(true) // it was a job that began
		time.Sleep(2 * fluxIdle * fluxPoll)
		if len(host.removed) != 0 {
			t.Error("a watch ended that somebody needs")
		}
		used.Store(false)
		time.Sleep(2 * fluxIdle * fluxPoll)
		if len(host.removed) != 1 {
			t.Errorf("%d watches ended", len(host.removed))
		}
		asked = len(host.asked)
		time.Sleep(2 * fluxIdle * fluxPoll)
		if len(host.asked) != asked {
			t.Error("what nobody names is looked for")
		}
		used.Store(true)
		w.want(flux.GitRepository)
		synctest.Wait()
		if len(host.handlers) != 2 {
			t.Errorf("%d watches", len(host.handlers))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestFluxChangesThatCount(t *testing.T) {
	var told []string
	w := newFluxWatch(func(kind string, name types.NamespacedName) { told = append(told, kind+" "+name.String()) }, nil)
	handler := w.handler(flux.Bucket)
	source := func(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
		object := fluxSourceOf("/a", []byte("a"), nil)
		object.SetNamespace("ns")
		object.SetName("b")
		if change != nil {
			change(object)
		}
		return object
	}
	for name, tt := range map[string]struct {
		act  func()
		want int
	}{
		"made":            {func() { handler.OnAdd(source(nil), true) }, 1},
		"another version": {func() { handler.OnUpdate(source(nil), fluxSourceNamed("/b")) }, 1},
		"looked at": {func() {
			handler.OnUpdate(source(nil), source(func(o *unstructured.Unstructured) {
				o.SetResourceVersion("2")
				o.SetAnnotations(map[string]string{"reconcile.fluxcd.io/requestedAt": "now"})
			}))
		}, 0},
		"a template now": {func() {
			handler.OnUpdate(source(nil), source(func(o *unstructured.Unstructured) {
				o.SetAnnotations(map[string]string{"projectsveltos.io/template": ""})
			}))
		}, 1},
		"no artifact any more": {func() {
			handler.OnUpdate(source(nil), source(func(o *unstructured.Unstructured) { delete(o.Object, "status") }))
		}, 1},
		"deleted":             {func() { handler.OnDelete(source(nil)) }, 1},
		"deleted some time":   {func() { handler.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: source(nil)}) }, 1},
		"deleted without sth": {func() { handler.OnDelete(toolscache.DeletedFinalStateUnknown{}) }, 0},
	} {
		told = nil
		tt.act()
		if len(told) != tt.want {
			t.Errorf("%s: told %v", name, told)
		}
		if tt.want > 0 {
			if diff := cmp.Diff("Bucket ns/b", told[0]); diff != "" {
				t.Error(name, diff)
			}
		}
	}
}

func fluxSourceNamed(path string) *unstructured.Unstructured {
	object := fluxSourceOf(path, []byte("b"), nil)
	object.SetNamespace("ns")
	object.SetName("b")
	return object
}
