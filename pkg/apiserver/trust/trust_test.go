// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/healthz"

	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/storage/identity"
)

const group = "lib.projectsveltos.io"

// storage is what a test says of it.
type storage struct {
	err, verified, ready error
	lost                 context.Context
	lose                 context.CancelCauseFunc
	verifications        int
}

func newStorage(t *testing.T) *storage {
	s := &storage{}
	s.lost, s.lose = context.WithCancelCause(t.Context())
	return s
}

func (s *storage) Err() error   { return s.err }
func (s *storage) Ready() error { return s.ready }
func (s *storage) Verify(context.Context) error {
	s.verifications++
	if s.err != nil {
		return s.err
	}
	return s.verified
}
func (s *storage) Lost() context.Context { return s.lost }

// serve has a handler that answers status and body asked through the filter.
func serve(t *testing.T, s *storage, method, path string, api http.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	newHandler(t, s, api).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w
}

// newHandler is api behind the filter, and behind what finds out what is asked.
func newHandler(t *testing.T, s *storage, api http.Handler) http.Handler {
	resolver := &request.RequestInfoFactory{
		APIPrefixes:          map[string]sets.Empty{"apis": {}, "api": {}},
		GrouplessAPIPrefixes: map[string]sets.Empty{"api": {}},
	}
	filter := Filter(api, s, scheme.Serializer(), group)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, err := resolver.NewRequestInfo(r)
		if err != nil {
			t.Error(err)
			return
		}
		filter.ServeHTTP(w, r.WithContext(request.WithRequestInfo(r.Context(), info)))
	})
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

const (
	one        = "/apis/lib.projectsveltos.io/v1beta1/clustersets/a"
	collection = "/apis/lib.projectsveltos.io/v1beta1/clustersets"
	namespaced = "/apis/lib.projectsveltos.io/v1alpha1/namespaces/n/sets"
)

func TestHeldStorageAnswersNothing(t *testing.T) {
	held := &identity.Held{Reason: identity.Wiped, Found: identity.Found{Prefix: "/p", ClusterID: "c", Empty: true}}
	tests := map[string]struct{ method, path string }{
		"get":               {http.MethodGet, one},
		"status":            {http.MethodGet, one + "/status"},
		"selection":         {http.MethodGet, one + "/selection"},
		"list":              {http.MethodGet, collection},
		"namespaced list":   {http.MethodGet, namespaced},
		"watch":             {http.MethodGet, collection + "?watch=true"},
		"create":            {http.MethodPost, collection},
		"update":            {http.MethodPut, one},
		"patch":             {http.MethodPatch, one},
		"delete":            {http.MethodDelete, one},
		"delete collection": {http.MethodDelete, namespaced},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t)
			s.err = held
			w := serve(t, s, test.method, test.path, func(http.ResponseWriter, *http.Request) { t.Error("the API was asked") })
			requireUnavailable(t, w)
			if w.Header().Get("Retry-After") != "" {
				t.Error("clients are told to wait rather than to say why")
			}
		})
	}
}

func requireUnavailable(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var status metav1.Status
	if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	if w.Code != http.StatusServiceUnavailable || status.Code != http.StatusServiceUnavailable || status.Reason != metav1.StatusReasonServiceUnavailable {
		t.Errorf("answered %d: %+v, want 503", w.Code, status)
	}
	if w.Header().Get("Content-Encoding") != "" {
		t.Error("our answer is called compressed")
	}
}

func TestWhatIsNotOfOurGroupsIsServedOn(t *testing.T) {
	for _, path := range []string{
		"/apis", "/apis/lib.projectsveltos.io", "/apis/lib.projectsveltos.io/v1beta1", "/openapi/v3", "/livez", "/metrics", "/version",
	} {
		s := newStorage(t)
		s.err = errors.New("held")
		if w := serve(t, s, http.MethodGet, path, answer(http.StatusOK, "x")); w.Code != http.StatusOK {
			t.Errorf("%s answers %d", path, w.Code)
		}
	}
}

// An answer that means "there is nothing" waits until storage is known to be the
// right one; no other read does.
func TestAbsenceIsVerified(t *testing.T) {
	tests := map[string]struct {
		method, path string
		status       int
		verified     bool
	}{
		"get":                   {http.MethodGet, one, http.StatusOK, false},
		"selection":             {http.MethodGet, one + "/selection", http.StatusOK, false},
		"not found":             {http.MethodGet, one, http.StatusNotFound, true},
		"selection of nothing":  {http.MethodGet, one + "/selection", http.StatusNotFound, true},
		"forbidden":             {http.MethodGet, one, http.StatusForbidden, false},
		"list":                  {http.MethodGet, collection, http.StatusOK, true},
		"list that has expired": {http.MethodGet, collection, http.StatusGone, false},
		"watch":                 {http.MethodGet, collection + "?watch=true", http.StatusOK, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t)
			w := serve(t, s, test.method, test.path, answer(test.status, "body"))
			if w.Code != test.status || w.Body.String() != "body" {
				t.Errorf("answered %d %q, want %d", w.Code, w.Body, test.status)
			}
			if got := s.verifications > 0; got != test.verified {
				t.Errorf("verified: %v, want %v", got, test.verified)
			}
			if !test.verified {
				return
			}
			s = newStorage(t)
			s.verified = &identity.Held{Reason: identity.Wiped}
			requireUnavailable(t, serve(t, s, test.method, test.path, answer(test.status, "body")))
		})
	}
}

func TestWritesAskFirst(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		s := newStorage(t)
		s.verified = &identity.Held{Reason: identity.Foreign}
		path := one
		if method == http.MethodPost {
			path = collection
		}
		requireUnavailable(t, serve(t, s, method, path, func(http.ResponseWriter, *http.Request) { t.Errorf("%s was tried", method) }))
	}
}

func TestAHandlerWithoutAStatusIsVerifiedToo(t *testing.T) {
	s := newStorage(t)
	s.verified = errors.New("etcd is away")
	requireUnavailable(t, serve(t, s, http.MethodGet, collection, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"items":[]}`))
	}))
}

func TestAWatchThatEndsWhileStorageIsAskedIsTriedAgain(t *testing.T) {
	for ended, want := range map[bool]string{true: "1", false: ""} {
		s := newStorage(t)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		w := httptest.NewRecorder()
		newHandler(t, s, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s.verified = errors.New("check the storage: context canceled")
			if ended {
				end()
			}
			w.WriteHeader(http.StatusOK)
		})).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, collection+"?watch=true", nil))
		requireUnavailable(t, w)
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("the request has ended: %t; Retry-After is %q, want %q", ended, got, want)
		}
	}
}

func TestRequestsEndWithTheTrust(t *testing.T) {
	s := newStorage(t)
	lost := errors.New("lost")
	server := httptest.NewServer(newHandler(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Flusher); !ok {
			t.Error("a watch cannot be flushed")
		}
		s.lose(lost)
		<-r.Context().Done()
		if cause := context.Cause(r.Context()); !errors.Is(cause, lost) {
			t.Errorf("the request ends because of %v", cause)
		}
	})))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+collection+"?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadiness(t *testing.T) {
	unready := errors.New("being read")
	check := healthz.NamedCheck("index", func(*http.Request) error { return unready })
	s := newStorage(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
	if err := WhenTrusted(s, check).Check(r); !errors.Is(err, unready) {
		t.Errorf("trusted: %v", err)
	}
	s.err = &identity.Held{Reason: identity.Wiped}
	if err := WhenTrusted(s, check).Check(r); err != nil {
		t.Errorf("held: %v, and nobody is told why", err)
	}
	if err := ReadyCheck(s).Check(r); err != nil {
		t.Errorf("held: %v", err)
	}
	s.ready = s.err
	if err := ReadyCheck(s).Check(r); err == nil {
		t.Error("ready though others serve")
	}
}
