// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet/fence"
)

const (
	policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
	bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
	things   = "/api/v1/namespaces/default/things"
)

// fenced is an API server's answers to what a fence asks of it, in memory.
type fenced struct {
	mu       sync.Mutex
	objects  map[string]*unstructured.Unstructured // by path
	version  int
	requests []*http.Request // to none of the paths above

	refuse func(*http.Request) *metav1.Status // may be nil
	before func(*http.Request)                // called unlocked
	deaf   bool                               // obeys no policy
	proofs int
}

func (f *fenced) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if f.before != nil {
		f.before(req)
	}
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Type", "application/json")
	code, body := f.answer(req)
	recorder.WriteHeader(code)
	_ = json.NewEncoder(recorder).Encode(body)
	return recorder.Result(), nil
}

func status(err *apierrors.StatusError) (int, any) {
	err.ErrStatus.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return int(err.ErrStatus.Code), err.ErrStatus
}

func (f *fenced) answer(req *http.Request) (int, any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		if refused := f.refuse(req); refused != nil {
			return int(refused.Code), refused
		}
	}
	path := req.URL.Path
	switch {
	case strings.HasSuffix(path, "/selfsubjectreviews"):
		return http.StatusCreated, authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{
			UserInfo: authenticationv1.UserInfo{Username: "muster", Groups: []string{"deployers", "system:authenticated"}},
		}}
	case strings.HasPrefix(path, policies), strings.HasPrefix(path, bindings):
		return f.store(req)
	case strings.HasSuffix(path, "/configmaps"):
		f.proofs++
	default:
		f.requests = append(f.requests, req)
	}
	epoch, err := strconv.Atoi(req.Header.Get("Impersonate-Extra-Muster.projectsveltos.io%2fepoch"))
	if err == nil && !f.deaf && epoch < f.epoch() {
		return status(apierrors.NewInvalid(schema.GroupKind{}, "ValidatingAdmissionPolicy 'muster-fence' denied it", nil))
	}
	return http.StatusOK, map[string]any{}
}

// epoch is the one that the policy lets through.
func (f *fenced) epoch() int {
	policy := f.objects[policies+"/"+fence.Name]
	if policy == nil || f.objects[bindings+"/"+fence.Name] == nil {
		return 0
	}
	epoch, _ := strconv.Atoi(policy.GetAnnotations()[fence.ExtraKey])
	return epoch
}

func (f *fenced) store(req *http.Request) (int, any) {
	resource := schema.GroupResource{Resource: "policies"}
	have := f.objects[req.URL.Path]
	object := &unstructured.Unstructured{}
	if req.Body != nil && req.Method != http.MethodGet {
		_ = json.NewDecoder(req.Body).Decode(&object.Object)
	}
	switch {
	case req.Method == http.MethodPost && f.objects[req.URL.Path+"/"+object.GetName()] != nil:
		return status(apierrors.NewAlreadyExists(resource, object.GetName()))
	case req.Method == http.MethodPost:
		return http.StatusCreated, f.put(req.URL.Path+"/"+object.GetName(), object)
	case have == nil:
		return status(apierrors.NewNotFound(resource, fence.Name))
	case req.Method == http.MethodPut && object.GetResourceVersion() != have.GetResourceVersion():
		return status(apierrors.NewConflict(resource, fence.Name, errors.New("it has changed")))
	case req.Method == http.MethodPut:
		return http.StatusOK, f.put(req.URL.Path, object)
	case req.Method == http.MethodDelete:
		wanted, _, _ := unstructured.NestedString(object.Object, "preconditions", "resourceVersion")
		uid, _, _ := unstructured.NestedString(object.Object, "preconditions", "uid")
		if wanted != have.GetResourceVersion() || uid != string(have.GetUID()) {
			return status(apierrors.NewConflict(resource, fence.Name, errors.New("it has changed")))
		}
		delete(f.objects, req.URL.Path)
	}
	return http.StatusOK, have
}

func (f *fenced) put(path string, object *unstructured.Unstructured) any {
	f.version++
	object.SetResourceVersion(strconv.Itoa(f.version))
	object.SetUID(types.UID("uid of " + path))
	f.objects[path] = object
	return object.Object
}

// from empties what was noted, and returns it.
func (f *fenced) from() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.requests
	f.requests = nil
	return seen
}

func impersonation(header http.Header) map[string][]string {
	found := map[string][]string{}
	for name, values := range header {
		if strings.HasPrefix(name, "Impersonate-") {
			found[name] = values
		}
	}
	return found
}

// leader is one leader's way to a fenced cluster.
type leader struct {
	*Clusters
	wanted  bool
	reports []string
}

func (f *fenced) leader(t *testing.T, installation string, epoch int64) *leader {
	t.Helper()
	if f.objects == nil {
		f.objects = map[string]*unstructured.Unstructured{}
	}
	l := &leader{wanted: true}
	l.Clusters, _ = newClients(t, nil, Options{
		newTransport: func(*connection) http.RoundTripper { return f },
		Fencing: &Fencing{
			Wanted: func(context.Context, Ref) (bool, error) { return l.wanted, nil },
			Mark:   fence.Mark{Installation: installation, Epoch: epoch},
			Report: func(_ Ref, err error) { l.reports = append(l.reports, fmt.Sprint(err)) },
		},
	})
	return l
}

func (l *leader) send(t *testing.T, as Identity, method string) (int, error) {
	t.Helper()
	return send(t.Context(), clientOf(t, l.Clusters, as), method, things, nil)
}
