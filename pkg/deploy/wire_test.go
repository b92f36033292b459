// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery/cached/memory"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/muster-project/muster/pkg/fleet"
)

// wire stands for a cluster's API server as far as requests and answers go: it
// keeps what was sent, and checks the preconditions that came with it. That
// the real one does the same is shown by the end-to-end tests.
type wire struct {
	mu       sync.Mutex
	objects  map[string]*unstructured.Unstructured // by path
	version  int
	requests []wireRequest
	// intercept may answer in the server's place.
	intercept func(req wireRequest) *apierrors.StatusError
}

// wireRequest is a request as the server saw it.
type wireRequest struct {
	Method, Path, Query string
	Body                map[string]any
}

func (r wireRequest) String() string { return r.Method + " " + r.Path }

func newWire() *wire { return &wire{objects: map[string]*unstructured.Unstructured{}} }

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(httpReq *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := httpReq.Context().Err(); err != nil {
		return nil, err
	}
	req := wireRequest{Method: httpReq.Method, Path: httpReq.URL.Path, Query: httpReq.URL.RawQuery}
	if httpReq.Body != nil {
		body, err := io.ReadAll(httpReq.Body)
		if err != nil {
			return nil, err
		}
		if len(body) > 0 {
			if err := json.Unmarshal(body, &req.Body); err != nil {
				return nil, err
			}
		}
	}
	w.requests = append(w.requests, req)
	if w.intercept != nil {
		if err := w.intercept(req); err != nil {
			return answer(int(err.ErrStatus.Code), err.ErrStatus)
		}
	}
	if strings.Contains(req.Query, "watch=true") {
		return answer(http.StatusOK, nil) // ends at once
	}
	return w.serve(req, httpReq.Header.Get("Content-Type"))
}

func (w *wire) serve(req wireRequest, contentType string) (*http.Response, error) {
	if resource, ok := strings.CutPrefix(req.Path, "/api/v1/"); ok && req.Method == http.MethodGet && strings.HasSuffix(resource, "s") && !strings.Contains(resource, "/") {
		return answer(http.StatusOK, w.list(resource))
	}
	found := w.objects[req.Path]
	name := req.Path[strings.LastIndex(req.Path, "/")+1:]
	resource := schema.GroupResource{Resource: "things"}
	if found == nil && (req.Method == http.MethodGet || req.Method == http.MethodDelete) {
		return refuse(apierrors.NewNotFound(resource, name))
	}
	if namespace := missingNamespace(w, req); namespace != "" {
		return refuse(apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, namespace))
	}
	switch req.Method {
	case http.MethodPost:
		created := &unstructured.Unstructured{Object: req.Body}
		if strings.Contains(req.Query, "dryRun=All") {
			return answer(http.StatusCreated, created.Object)
		}
		path := req.Path + "/" + created.GetName()
		if w.objects[path] != nil {
			return refuse(apierrors.NewAlreadyExists(resource, created.GetName()))
		}
		return answer(http.StatusCreated, w.store(path, created).Object)
	case http.MethodPatch:
		sent := &unstructured.Unstructured{Object: req.Body}
		if sent.GetUID() != "" && (found == nil || found.GetUID() != sent.GetUID()) {
			return refuse(apierrors.NewConflict(resource, name, fmt.Errorf("uid mismatch")))
		}
		if strings.Contains(req.Query, "dryRun=All") {
			return answer(http.StatusOK, sent.Object)
		}
		if contentType == string(types.MergePatchType) {
			return answer(http.StatusOK, w.store(req.Path, merged(found, sent)).Object)
		}
		if found != nil {
			sent.SetUID(found.GetUID())
			sent.SetDeletionTimestamp(found.GetDeletionTimestamp())
			sent.SetFinalizers(found.GetFinalizers())
		}
		return answer(http.StatusOK, w.store(req.Path, sent).Object)
	case http.MethodDelete:
		uid, _, _ := unstructured.NestedString(req.Body, "preconditions", "uid")
		resourceVersion, _, _ := unstructured.NestedString(req.Body, "preconditions", "resourceVersion")
		if uid != string(found.GetUID()) || resourceVersion != found.GetResourceVersion() {
			return refuse(apierrors.NewConflict(resource, name, fmt.Errorf("precondition failed")))
		}
		if len(found.GetFinalizers()) > 0 {
			now := metav1.Now()
			found.SetDeletionTimestamp(&now)
			return answer(http.StatusOK, w.store(req.Path, found).Object)
		}
		delete(w.objects, req.Path)
		return answer(http.StatusOK, metav1.Status{Status: metav1.StatusSuccess})
	}
	return answer(http.StatusOK, found.Object)
}

// list answers with the metadata of all objects of a resource that have the label
// which tells what Muster applied.
func (w *wire) list(resource string) *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}}
	for _, path := range slices.Sorted(maps.Keys(w.objects)) {
		obj := w.objects[path]
		if _, labelled := obj.GetLabels()[ReasonLabel]; labelled && strings.Contains(path, "/"+resource+"/") {
			list.Items = append(list.Items, *meta.AsPartialObjectMetadata(obj))
		}
	}
	return list
}

// missingNamespace returns the namespace that a write would need.
func missingNamespace(w *wire, req wireRequest) string {
	parts := strings.Split(req.Path, "/")
	at := slices.Index(parts, "namespaces")
	if req.Method != http.MethodPatch || at < 0 || at+2 >= len(parts) || parts[at+1] == "default" {
		return ""
	}
	if w.objects["/api/v1/namespaces/"+parts[at+1]] != nil {
		return ""
	}
	return parts[at+1]
}

func merged(found, patch *unstructured.Unstructured) *unstructured.Unstructured {
	out := found.DeepCopy()
	annotations, labels := out.GetAnnotations(), out.GetLabels()
	for key := range nested(patch, "annotations") {
		delete(annotations, key)
	}
	for key := range nested(patch, "labels") {
		delete(labels, key)
	}
	out.SetAnnotations(annotations)
	out.SetLabels(labels)
	return out
}

func nested(obj *unstructured.Unstructured, field string) map[string]any {
	value, _, _ := unstructured.NestedMap(obj.Object, "metadata", field)
	return value
}

func (w *wire) store(path string, obj *unstructured.Unstructured) *unstructured.Unstructured {
	w.version++
	obj = obj.DeepCopy()
	if obj.GetUID() == "" {
		obj.SetUID(types.UID(fmt.Sprintf("uid-%d", w.version)))
	}
	obj.SetResourceVersion(fmt.Sprint(w.version))
	if obj.GetKind() == crdKind {
		_ = unstructured.SetNestedSlice(obj.Object, []any{map[string]any{"type": "Established", "status": "True"}}, "status", "conditions")
	}
	w.objects[path] = obj
	return obj
}

// put makes an object exist, as somebody else would.
func (w *wire) put(path string, obj *unstructured.Unstructured) *unstructured.Unstructured {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store(path, obj).DeepCopy()
}

func (w *wire) get(path string) *unstructured.Unstructured {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.objects[path]
}

func (w *wire) paths() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.objects))
}

// take returns the requests since the last call.
func (w *wire) take() []wireRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.requests
	w.requests = nil
	return taken
}

// writes returns the requests that are no reads, since the last call.
func (w *wire) writes() []string {
	var out []string
	for _, r := range w.take() {
		if r.Method != http.MethodGet {
			out = append(out, r.String())
		}
	}
	return out
}

func refuse(err *apierrors.StatusError) (*http.Response, error) {
	return answer(int(err.ErrStatus.Code), err.ErrStatus)
}

func answer(code int, body any) (*http.Response, error) {
	var data []byte
	if body != nil {
		if status, ok := body.(metav1.Status); ok {
			status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
			body = status
		}
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(data)),
	}, nil
}

// staticMapper is a mapper that knows a few kinds and counts how often it was
// reset.
type staticMapper struct {
	*meta.DefaultRESTMapper
	resets int
}

func (m *staticMapper) Reset() { m.resets++ }

func newMapper() *staticMapper {
	m := &staticMapper{DefaultRESTMapper: meta.NewDefaultRESTMapper(nil)}
	core := schema.GroupVersion{Version: "v1"}
	m.Add(core.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	m.Add(core.WithKind("Secret"), meta.RESTScopeNamespace)
	m.Add(core.WithKind("PersistentVolumeClaim"), meta.RESTScopeNamespace)
	m.Add(core.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(schema.GroupVersionKind{Group: crdGroup, Version: "v1", Kind: crdKind}, meta.RESTScopeRoot)
	return m
}

// newCluster returns a cluster whose API server is the wire.
func newCluster(t testing.TB, w *wire, resources ...*metav1.APIResourceList) Cluster {
	t.Helper()
	config := &rest.Config{Host: "https://cluster.invalid", Transport: w, QPS: -1}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	discovery := &fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{Resources: resources}}
	return Cluster{
		Ref: fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "civo", Name: "cluster1"},
		UID: "registration-1", ID: "cluster-1",
		Config: config, Dynamic: dynamicClient, Discovery: memory.NewMemCacheClient(discovery), Mapper: newMapper(),
	}
}
