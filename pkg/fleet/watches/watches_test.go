// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package watches

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/fleet"
)

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

// server answers lists and watches of ConfigMaps as an API server does.
type server struct {
	mu       sync.Mutex
	objects  []metav1.PartialObjectMetadata
	refuse   bool
	lists    int
	open     int
	queries  []string
	watchers map[chan string]bool
}

func object(name string, version int) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, ResourceVersion: fmt.Sprint(version)},
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	s.mu.Lock()
	s.queries = append(s.queries, r.URL.Path+"?labelSelector="+r.URL.Query().Get("labelSelector"))
	if s.refuse {
		s.mu.Unlock()
		refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden)
		return
	}
	if r.URL.Query().Get("watch") == "" {
		s.lists++
		list := metav1.PartialObjectMetadataList{
			TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
			ListMeta: metav1.ListMeta{ResourceVersion: "10"}, Items: s.objects,
		}
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	if r.URL.Query().Get("sendInitialEvents") != "" {
		s.mu.Unlock()
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid) // an older server
		return
	}
	events := make(chan string, 10)
	s.watchers[events] = true
	s.open++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		delete(s.watchers, events)
	}()
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case event, more := <-events:
			if !more {
				return
			}
			_, _ = fmt.Fprintln(w, event)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func refuse(w http.ResponseWriter, code int32, reason metav1.StatusReason) {
	w.WriteHeader(int(code))
	_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: reason, Code: code})
}

// send tells all watches, end ends them.
func (s *server) send(kind string, o metav1.PartialObjectMetadata) {
	encoded, _ := json.Marshal(map[string]any{"type": kind, "object": o})
	s.mu.Lock()
	defer s.mu.Unlock()
	for events := range s.watchers {
		events <- string(encoded)
	}
}

func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for events := range s.watchers {
		close(events)
		delete(s.watchers, events)
	}
}

func (s *server) now(read func() int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return read()
}

// clients reach one server, whatever the cluster.
type clients struct{ url string }

func (c clients) Client(_ context.Context, ref fleet.Ref, _ fleet.Identity) (*fleet.Client, error) {
	return &fleet.Client{Ref: ref, Config: &rest.Config{Host: c.url}, HTTP: http.DefaultClient}, nil
}

// record is a handler that keeps what it is told.
type record chan string

func (r record) Listed(objects []*metav1.PartialObjectMetadata, resourceVersion string) {
	names := []string{"listed at " + resourceVersion}
	for _, o := range objects {
		names = append(names, o.Name)
	}
	r <- strings.Join(names, " ")
}
func (r record) Changed(o *metav1.PartialObjectMetadata) {
	r <- "changed " + o.Name + " " + o.ResourceVersion
}
func (r record) Gone(o *metav1.PartialObjectMetadata) { r <- "gone " + o.Name }
func (r record) Failed(error)                         { r <- "failed" }

func (r record) want(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-r:
		if got != want {
			t.Fatalf("told %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("not told %q", want)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// bench is a server, and watches of it that run.
func bench(t *testing.T) (*server, *Watches) {
	s := &server{watchers: map[chan string]bool{}, objects: []metav1.PartialObjectMetadata{object("a", 3)}}
	api := httptest.NewServer(s)
	w := New(clients{api.URL})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		eventually(t, "all watches have ended", func() bool { return s.now(func() int { return s.open }) == 0 })
		api.Close()
	})
	return s, w
}

func configMaps() Key {
	return Key{
		Cluster:  fleet.Ref{Namespace: "civo", Name: "one"},
		Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Namespace: "apps", Selector: "by=muster",
	}
}

func TestAHandlerIsToldEverything(t *testing.T) {
	s, w := bench(t)
	told := make(record, 20)
	defer w.Subscribe(configMaps(), told)()
	told.want(t, "listed at 10 a")
	eventually(t, "it is watched", func() bool { return s.now(func() int { return s.open }) == 1 })
	s.send("ADDED", object("b", 11))
	told.want(t, "changed b 11")
	s.send("MODIFIED", object("a", 12))
	told.want(t, "changed a 12")
	s.send("DELETED", object("b", 13))
	told.want(t, "gone b")
	for _, query := range s.queries {
		if query != "/api/v1/namespaces/apps/configmaps?labelSelector=by=muster" {
			t.Errorf("it asks for %s", query)
		}
	}
}

func TestOneWatchServesAll(t *testing.T) {
	s, w := bench(t)
	first, second := make(record, 20), make(record, 20)
	stopFirst := w.Subscribe(configMaps(), first)
	first.want(t, "listed at 10 a")
	stopSecond := w.Subscribe(configMaps(), second)
	second.want(t, "listed at 10 a")
	eventually(t, "one watch is left", func() bool { return s.now(func() int { return s.open }) == 1 })
	s.send("MODIFIED", object("a", 11))
	second.want(t, "changed a 11")
	stopSecond()
	stopSecond() // twice does no harm
	s.send("MODIFIED", object("a", 12))
	eventually(t, "the first one is still told", func() bool {
		select {
		case got := <-first:
			return got == "changed a 12"
		default:
			return false
		}
	})
	stopFirst()
	eventually(t, "nobody watches any more", func() bool { return s.now(func() int { return s.open }) == 0 })
	if len(w.shared) != 0 {
		t.Errorf("watches are kept that nobody wants: %v", w.shared)
	}
}

func TestAWatchThatFailsBeginsAgainWithAList(t *testing.T) {
	s, w := bench(t)
	s.refuse = true
	told := make(record, 100)
	defer w.Subscribe(configMaps(), told)()
	told.want(t, "failed")
	s.mu.Lock()
	s.refuse = false
	s.mu.Unlock()
	eventually(t, "it is listed after all", func() bool {
		select {
		case got := <-told:
			return got == "listed at 10 a"
		default:
			return false
		}
	})
	// One that ends goes on where it was, and nothing is lost meanwhile.
	eventually(t, "it is watched", func() bool { return s.now(func() int { return s.open }) == 1 })
	s.end()
	eventually(t, "it is watched again", func() bool { return s.now(func() int { return len(s.watchers) }) == 1 })
	s.send("MODIFIED", object("a", 14))
	eventually(t, "it tells of changes again", func() bool {
		select {
		case got := <-told:
			return got == "changed a 14"
		default:
			return false
		}
	})
}

func TestSubscriptionsBeforeRunWait(t *testing.T) {
	w := New(clients{"http://127.0.0.1:1"})
	stop := w.Subscribe(configMaps(), make(record, 1))
	stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(ctx); err == nil {
		t.Error("it ran twice")
	}
	w.Subscribe(configMaps(), make(record, 1)) // after the end it does nothing
}
