// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package watches watches the metadata of objects in managed clusters: each kind in
// each cluster once, whoever needs it and however many do.
//
// Nothing of what is watched is kept here. A watch lasts while somebody wants it. One
// that ends, because of its cluster, of new credentials, or because somebody joins it,
// begins again with a list, so that whoever is told can always compare with everything
// there is.
package watches

import (
	"context"
	"errors"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/fleet"
)

// Key is what is watched, as narrowly as whoever needs it can say.
type Key struct {
	Cluster fleet.Ref
	// As is who watches. It is Muster where it may watch whatever anybody has there,
	// so that one watch serves all.
	As       fleet.Identity
	Resource schema.GroupVersionResource
	// Namespace is empty for all of them.
	Namespace string
	// Selector selects by labels, in the syntax of kubectl get --selector.
	Selector string
}

// Handler is told what a watch sees, by one goroutine at a time. It must neither block
// nor call Subscribe or what that returned, and must not write to objects.
type Handler interface {
	// Listed is told everything there is at a resourceVersion. What it does not
	// name does not exist.
	Listed(objects []*metav1.PartialObjectMetadata, resourceVersion string)
	// Changed is told of an object that was made or changed, Gone of one that is no
	// more, or is not selected any more, as it was then.
	Changed(object *metav1.PartialObjectMetadata)
	Gone(object *metav1.PartialObjectMetadata)
	// Failed is told why nothing can be seen at the moment. Listed ends that.
	Failed(err error)
}

// Clients gives out the clients of clusters; *fleet.Clusters does.
type Clients interface {
	Client(ctx context.Context, ref fleet.Ref, as fleet.Identity) (*fleet.Client, error)
}

// Watches are the watches of one term. They are safe for concurrent use.
type Watches struct {
	clients Clients

	mu      sync.Mutex
	ctx     context.Context // of all watches; nil until Run
	ended   bool
	shared  map[Key]*shared
	running sync.WaitGroup
}

// New returns watches that begin with Run.
func New(clients Clients) *Watches {
	return &Watches{clients: clients, shared: map[Key]*shared{}}
}

// shared is one watch and who wants it.
type shared struct {
	handlers map[*subscription]Handler
	stop     context.CancelFunc // of the present run; nil before Run

	// telling is held while handlers are told something: a run that was ended must
	// not tell of something older after the one that has replaced it.
	telling sync.Mutex
}

// subscription is known by its address; those of empty structs may be the same.
type subscription struct{ _ byte }

var errWatchesRan = errors.New("watches run once")

// Run lets watches run until ctx ends, and returns when the last one has ended.
func (w *Watches) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.ctx != nil {
		w.mu.Unlock()
		return errWatchesRan
	}
	w.ctx = ctx
	for key, s := range w.shared {
		w.restart(key, s)
	}
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.running.Wait()
	return nil
}

// Subscribe has a handler told, beginning with a list, until stop is called or Run
// ends. The handler may still be told something while stop is called.
func (w *Watches) Subscribe(key Key, handler Handler) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.shared[key]
	if s == nil {
		s = &shared{handlers: map[*subscription]Handler{}}
		w.shared[key] = s
	}
	mine := &subscription{}
	s.handlers[mine] = handler
	if w.ctx != nil && !w.ended {
		// Also where it runs already: whoever joins needs a list, and nobody minds one.
		w.restart(key, s)
	}
	return sync.OnceFunc(func() { w.unsubscribe(key, s, mine) })
}

func (w *Watches) unsubscribe(key Key, s *shared, mine *subscription) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(s.handlers, mine)
	if len(s.handlers) > 0 {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	if w.shared[key] == s {
		delete(w.shared, key)
	}
}

// restart begins a watch anew. The lock is held.
func (w *Watches) restart(key Key, s *shared) {
	if s.stop != nil {
		s.stop()
	}
	ctx, stop := context.WithCancel(w.ctx)
	s.stop = stop
	w.running.Go(func() { w.follow(ctx, key, s) })
}

// tell calls the handlers of a watch whose run has not ended.
func (w *Watches) tell(ctx context.Context, s *shared, what func(Handler)) {
	s.telling.Lock()
	defer s.telling.Unlock()
	w.mu.Lock()
	handlers := make([]Handler, 0, len(s.handlers))
	if ctx.Err() == nil {
		for _, handler := range s.handlers {
			handlers = append(handlers, handler)
		}
	}
	w.mu.Unlock()
	for _, handler := range handlers {
		what(handler)
	}
}
