// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

// script answers requests with what it is given, in order.
type script struct {
	t     *testing.T
	steps []scriptStep
	at    int
}

type scriptStep struct {
	want   string // part of the request's URL, with "watch=true" or without
	code   int
	answer string
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.at >= len(s.steps) {
		s.t.Errorf("unexpected request %s", req.URL)
		return nil, errors.New("the script has ended")
	}
	step := s.steps[s.at]
	s.at++
	if !strings.Contains(req.URL.String(), step.want) || strings.Contains(step.want, "watch") != strings.Contains(req.URL.RawQuery, "watch") {
		s.t.Errorf("request %d is %s, want %s", s.at, req.URL, step.want)
	}
	return &http.Response{
		StatusCode: step.code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader([]byte(step.answer))),
	}, nil
}

func pod(resourceVersion, phase string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","resourceVersion":"` + resourceVersion + `"},"status":{"phase":"` + phase + `"}}`
}

func event(kind, object string) string { return `{"type":"` + kind + `","object":` + object + `}` }

func status(code int, reason string) string {
	data, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: metav1.StatusReason(reason), Message: "refused",
	})
	return string(data)
}

func TestAwait(t *testing.T) {
	running := func(obj *unstructured.Unstructured) (bool, error) {
		if obj == nil {
			return false, nil
		}
		switch phase, _, _ := unstructured.NestedString(obj.Object, "status", "phase"); phase {
		case "Running":
			return true, nil
		case "Failed":
			return false, errors.New("it failed")
		}
		return false, nil
	}
	const get, first = "/pods/p", "resourceVersion=1&watch=true"
	tests := map[string]struct {
		steps []scriptStep
		want  string // part of the error
	}{
		"there already": {[]scriptStep{{get, 200, pod("1", "Running")}}, ""},
		"an event": {[]scriptStep{
			{get, 200, pod("1", "Pending")}, {first, 200, event("MODIFIED", pod("2", "Pending")) + event("MODIFIED", pod("3", "Running"))},
		}, ""},
		"appears": {[]scriptStep{{get, 404, status(404, "NotFound")}, {"fieldSelector=metadata.name%3Dp&watch=true", 200, event("ADDED", pod("2", "Running"))}}, ""},
		"the watch ends early": {[]scriptStep{
			{get, 200, pod("1", "Pending")}, {first, 200, ""}, {get, 200, pod("5", "Running")},
		}, ""},
		"the watch is too old": {[]scriptStep{
			{get, 200, pod("1", "Pending")}, {first, 410, status(410, "Expired")}, {get, 200, pod("5", "Running")},
		}, ""},
		"the watch becomes too old": {[]scriptStep{
			{get, 200, pod("1", "Pending")}, {first, 200, event("ERROR", status(410, "Expired"))}, {get, 200, pod("5", "Running")},
		}, ""},
		"a bookmark":     {[]scriptStep{{get, 200, pod("1", "Pending")}, {first, 200, event("BOOKMARK", pod("9", "")) + event("MODIFIED", pod("10", "Running"))}}, ""},
		"fails":          {[]scriptStep{{get, 200, pod("1", "Pending")}, {first, 200, event("MODIFIED", pod("2", "Failed"))}}, "it failed"},
		"may not look":   {[]scriptStep{{get, 403, status(403, "Forbidden")}}, "refused"},
		"may not watch":  {[]scriptStep{{get, 200, pod("1", "Pending")}, {first, 403, status(403, "Forbidden")}}, "refused"},
		"a broken watch": {[]scriptStep{{get, 200, pod("1", "Pending")}, {first, 200, event("ERROR", status(500, "InternalError"))}}, "refused"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, steps: tc.steps}
				client := dynamic.NewForConfigOrDie(&rest.Config{Host: "http://x", Transport: s, QPS: -1}).
					Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
				err := Await(t.Context(), client, "p", running)
				if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v", err)
				}
				if s.at != len(tc.steps) {
					t.Errorf("%d of %d requests were made", s.at, len(tc.steps))
				}
			})
		})
	}
}

// endless is a server whose watches never say anything.
type endless struct{}

func (endless) RoundTrip(req *http.Request) (*http.Response, error) {
	header := http.Header{"Content-Type": {"application/json"}}
	if !strings.Contains(req.URL.RawQuery, "watch") {
		return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(strings.NewReader(pod("1", "Pending")))}, nil
	}
	reader, writer := io.Pipe()
	context.AfterFunc(req.Context(), func() { _ = writer.CloseWithError(req.Context().Err()) })
	return &http.Response{StatusCode: 200, Header: header, Body: reader}, nil
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		client := dynamic.NewForConfigOrDie(&rest.Config{Host: "http://x", Transport: endless{}, QPS: -1}).
			Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
		err := Await(ctx, client, "p", func(*unstructured.Unstructured) (bool, error) { return false, nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestEstablished(t *testing.T) {
	crd := func(conditions ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": conditions}}}
	}
	condition := func(kind, status string) map[string]any {
		return map[string]any{"type": kind, "status": status, "message": "taken by another"}
	}
	tests := map[string]struct {
		crd  *unstructured.Unstructured
		want bool
		err  bool
	}{
		"none":            {nil, false, false},
		"new":             {crd(), false, false},
		"not yet":         {crd(condition("NamesAccepted", "True"), condition("Established", "False")), false, false},
		"served":          {crd(condition("NamesAccepted", "True"), condition("Established", "True")), true, false},
		"names are taken": {crd(condition("NamesAccepted", "False")), false, true},
		"nonsense":        {crd("x"), false, false},
	}
	for name, tc := range tests {
		got, err := Established(tc.crd)
		if got != tc.want || (err != nil) != tc.err {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestHeldBy(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	if got := HeldBy(obj); got != "" {
		t.Errorf("without finalizers: %q", got)
	}
	obj.SetFinalizers([]string{"a", "b"})
	if got := HeldBy(obj); got != " (finalizers a, b)" {
		t.Errorf("with finalizers: %q", got)
	}
}

// learningMapper knows a kind from its first reset on.
type learningMapper struct {
	*meta.DefaultRESTMapper
	resets int
}

func (m *learningMapper) Reset() {
	m.resets++
	m.Add(schema.GroupVersionKind{Group: "example.io", Version: "v1", Kind: "Widget"}, meta.RESTScopeNamespace)
}

func TestMappingLooksAgain(t *testing.T) {
	m := &learningMapper{DefaultRESTMapper: meta.NewDefaultRESTMapper(nil)}
	for range 2 {
		if _, err := Mapping(m, schema.GroupKind{Group: "example.io", Kind: "Widget"}, "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if m.resets != 1 {
		t.Errorf("%d resets for a kind that was new once", m.resets)
	}
	if _, err := Mapping(m, schema.GroupKind{Group: "example.io", Kind: "Gadget"}); !meta.IsNoMatchError(err) {
		t.Errorf("error %v", err)
	}
}

func TestGone(t *testing.T) {
	widget := schema.GroupKind{Group: "example.io", Kind: "Widget"}
	list := func(groupVersion string, kinds ...string) *metav1.APIResourceList {
		l := &metav1.APIResourceList{GroupVersion: groupVersion}
		for _, k := range kinds {
			l.APIResources = append(l.APIResources, metav1.APIResource{Kind: k})
		}
		return l
	}
	down := func(clienttesting.Action) error {
		return errors.New("the server is currently unable to handle the request")
	}
	tests := map[string]struct {
		served []*metav1.APIResourceList
		fail   func(clienttesting.Action) error
		gone   bool
	}{
		"the group is gone":          {[]*metav1.APIResourceList{list("v1", "Pod")}, nil, true},
		"the kind is gone":           {[]*metav1.APIResourceList{list("v1"), list("example.io/v1", "Gadget"), list("example.io/v2")}, nil, true},
		"another version has it":     {[]*metav1.APIResourceList{list("v1"), list("example.io/v1"), list("example.io/v2", "Widget")}, nil, false},
		"its server does not answer": {[]*metav1.APIResourceList{list("v1"), list("example.io/v1")}, down, false},
		"no groups at all":           {nil, nil, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := &fake.FakeDiscovery{Fake: &clienttesting.Fake{Resources: tc.served}}
			if tc.fail != nil {
				client.PrependReactor("get", "resource", func(a clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tc.fail(a) })
			}
			if err := Gone(t.Context(), client, widget); (err == nil) != tc.gone {
				t.Errorf("error %v", err)
			}
		})
	}
}
