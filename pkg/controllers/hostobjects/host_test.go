// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostobjects

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

var (
	widgetKind = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}
	widgets    = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	wallKind   = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Wall"}
	walls      = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "walls"}
)

// host is a host cluster with Widgets, in namespaces, and Walls. It runs in a bubble of
// testing/synctest.
type host struct {
	*testing.T
	objects  *dynamicfake.FakeDynamicClient
	metadata *metadatafake.FakeMetadataClient
	store    *Store
	version  int

	mu   sync.Mutex
	told []string
}

// inHost runs a test with a store that reads from a host.
func inHost(t *testing.T, namespaces []string, test func(*host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		scheme := metadatafake.NewTestScheme()
		if err := metav1.AddMetaToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		mapper := meta.NewDefaultRESTMapper(nil)
		mapper.Add(widgetKind, meta.RESTScopeNamespace)
		mapper.Add(wallKind, meta.RESTScopeRoot)
		h := &host{
			T:        t,
			objects:  dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{widgets: "WidgetList", walls: "WallList"}),
			metadata: metadatafake.NewSimpleMetadataClient(scheme),
		}
		h.store = NewStore(Options{
			Host: API{Dynamic: h.objects, Metadata: h.metadata, Mapper: mapper}, Namespaces: namespaces,
			Changed: func(reader types.NamespacedName) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.told = append(h.told, reader.Name)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.store.Run(ctx) }()
		test(h)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

// put makes a Widget what it says, with a resourceVersion of its own.
func (h *host) put(name string, fields map[string]any) {
	h.Helper()
	h.version++
	metadata := map[string]any{"namespace": "civo", "name": name, "resourceVersion": strconv.Itoa(h.version)}
	content := map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata}
	for key, value := range fields {
		into := content
		if key != "spec" && key != "status" {
			into = metadata
		}
		into[key] = value
	}
	object := &unstructured.Unstructured{Object: content}
	partial := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Widget"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: name, ResourceVersion: object.GetResourceVersion()},
	}
	_, err := h.objects.Tracker().Get(widgets, "civo", name)
	if missing := apierrors.IsNotFound(err); missing {
		err = errors.Join(h.objects.Tracker().Create(widgets, object, "civo"), h.metadata.Tracker().Create(widgets, partial, "civo"))
	} else {
		err = errors.Join(h.objects.Tracker().Update(widgets, object, "civo"), h.metadata.Tracker().Update(widgets, partial, "civo"))
	}
	if err != nil {
		h.Fatal(err)
	}
}

// remove deletes a Widget.
func (h *host) remove(name string) {
	h.Helper()
	if err := errors.Join(h.objects.Tracker().Delete(widgets, "civo", name), h.metadata.Tracker().Delete(widgets, "civo", name)); err != nil {
		h.Fatal(err)
	}
}

// read has a reader read one Widget.
func (h *host) read(reader, name string, filter Filter) Answer {
	h.Helper()
	return h.readAll(reader, Want{Kind: widgetKind, Namespace: "civo", Name: name, Filter: filter})[0]
}

func (h *host) readAll(reader string, wants ...Want) []Answer {
	h.Helper()
	answers := h.store.Read(h.Context(), types.NamespacedName{Name: reader}, wants)
	synctest.Wait()
	return answers
}

// tells checks who has been told since it was asked last.
func (h *host) tells(what string, want ...string) {
	h.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(h.told)
	if got := slices.Compact(h.told); !slices.Equal(got, want) {
		h.Errorf("%s: %q were told, want %q", what, got, want)
	}
	h.told = nil
}

// watched are the kinds that are watched, with the namespace.
func (h *host) watched() []string {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	var out []string
	for c, w := range h.store.watches {
		if w.refused.IsZero() {
			out = append(out, c.resource.Resource+" "+c.namespace)
		}
	}
	slices.Sort(out)
	return out
}

// forbid has the host refuse a verb on the metadata of Widgets, in all namespaces at once
// or in each.
func (h *host) forbid(verb string, everywhere bool) {
	refuse := func(action clienttesting.Action) error {
		if action.GetNamespace() != "" && !everywhere {
			return nil
		}
		return apierrors.NewForbidden(widgets.GroupResource(), "", nil)
	}
	h.metadata.PrependReactor(verb, "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		err := refuse(action)
		return err != nil, nil, err
	})
}
