// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostobjects

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// watchLimit is how long a reader waits for the first list of a kind.
	watchLimit = 10 * time.Second
	// refusedLimit is how long it is believed that a kind may not be watched, without
	// asking again: each cluster of a profile would ask.
	refusedLimit = 5 * time.Second
)

// scope is what one watch covers: a kind, in one namespace or, if that is empty, in all.
type scope struct {
	resource  schema.GroupVersionResource
	namespace string
	own       bool
}

func (c scope) covers(t target) bool {
	return c.resource == t.resource && c.own == t.own && (c.namespace == "" || c.namespace == t.namespace)
}

// watch tells which objects of a scope have changed.
type watch struct {
	scope  scope
	cancel context.CancelFunc
	// held counts the targets and the waiting readers that keep it. The store's lock
	// guards it, and refused.
	held    int
	refused time.Time
	// ready is closed when the first list has been seen, or when err is set, which says
	// that there will be none.
	ready chan struct{}
	err   error
}

// follow has a target watched, and returns when the watch has begun.
func (s *Store) follow(ctx context.Context, t target) error {
	if s.isWatched(t) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	var refusal error
	for _, c := range s.scopes(t) {
		w := s.acquire(c)
		if w == nil {
			return errStopped
		}
		err := w.wait(ctx)
		s.hold(t, w, err == nil)
		if err == nil || !apierrors.IsForbidden(err) {
			return err
		}
		refusal = err
	}
	return refusal
}

var errStopped = errors.New("the host is not watched any more")

// isWatched reports whether changes of a target are told already: by a watch, or by
// somebody else.
func (s *Store) isWatched(t target) bool {
	if !t.own && slices.Contains(s.options.Watched, t.resource) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[t] != nil
}

// scopes are those in which a target can be watched, the widest first: one watch for all
// namespaces costs less than many. Rights for one namespace are enough for the second.
func (s *Store) scopes(t target) []scope {
	one := scope{resource: t.resource, namespace: t.namespace, own: t.own}
	if t.namespace == "" || (len(s.options.Namespaces) > 0 && !t.own) {
		return []scope{one}
	}
	return []scope{{resource: t.resource, own: t.own}, one}
}

// acquire returns the watch of a scope, which is kept until hold; nil when Run has ended.
func (s *Store) acquire(c scope) *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[c]
	if w != nil && !w.refused.IsZero() && time.Since(w.refused) > refusedLimit {
		w = nil
	}
	if w == nil {
		if s.closed || s.ctx.Err() != nil {
			return nil
		}
		var ctx context.Context
		w = &watch{scope: c, ready: make(chan struct{})}
		ctx, w.cancel = context.WithCancel(s.ctx)
		s.watches[c] = w
		s.wg.Go(func() { s.run(ctx, w) })
	}
	w.held++
	return w
}

func (w *watch) wait(ctx context.Context) error {
	select {
	case <-w.ready:
		return w.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hold has a target keep the watch that it has acquired, or gives it back.
func (s *Store) hold(t target, w *watch, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A target that nobody reads any more, or that another reader had watched first.
	if keep && len(s.readings[t]) > 0 && s.held[t] == nil {
		s.held[t] = w
		return
	}
	s.release(w)
}

// release ends a watch that nobody keeps. One that was refused is remembered for a while.
// The lock is held.
func (s *Store) release(w *watch) {
	if w.held--; w.held > 0 {
		return
	}
	w.cancel()
	if s.watches[w.scope] == w && w.refused.IsZero() {
		delete(s.watches, w.scope)
	}
}

// run watches until ctx ends or the host refuses it.
func (s *Store) run(ctx context.Context, w *watch) {
	logger := klog.FromContext(ctx).WithValues("resource", w.scope.resource, "namespace", w.scope.namespace)
	logger.V(2).Info("Watching a kind of the host that profiles read")
	delay := retryDelay()
	reflector := cache.NewReflectorWithOptions(s.source(w.scope), &metav1.PartialObjectMetadata{}, &sink{store: s, watch: w},
		cache.ReflectorOptions{Logger: &logger, TypeDescription: w.scope.resource.String()})
	for ctx.Err() == nil {
		err := reflector.ListAndWatchWithContext(ctx)
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			s.refuse(w, err)
			return
		}
		if err == nil {
			delay = retryDelay()
		} else if ctx.Err() == nil {
			logger.V(2).Info("Watching the host was interrupted", "reason", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay()):
		}
	}
}

// retryDelay are the pauses before an interrupted watch begins again.
func retryDelay() wait.DelayFunc {
	return wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 7, Cap: 10 * time.Second}.DelayFunc()
}

// refuse tells those who wait for a watch, and those who relied on it, that there is none:
// they ask for it again, and are told.
func (s *Store) refuse(w *watch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.refused = time.Now()
	select {
	case <-w.ready: // it was good once
	default:
		w.err = err
		close(w.ready)
	}
	for t, holder := range s.held {
		if holder != w {
			continue
		}
		delete(s.held, t)
		s.release(w)
		for _, r := range s.readings[t] {
			s.options.Changed(r.reader)
		}
	}
	if s.watches[w.scope] == w && w.err == nil {
		delete(s.watches, w.scope) // to be told why, whoever comes next asks
	}
}

// source lists and watches the metadata of a scope.
func (s *Store) source(c scope) cache.ListerWatcher {
	api := s.options.Host
	if c.own {
		api = s.options.Own
	}
	var objects metadata.ResourceInterface = api.Metadata.Resource(c.resource)
	if c.namespace != "" {
		objects = api.Metadata.Resource(c.resource).Namespace(c.namespace)
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return objects.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			return objects.Watch(ctx, options)
		},
	}, api.Metadata)
}

// sink is where a reflector puts what it sees. It keeps nothing: what changed is read
// again.
type sink struct {
	store *Store
	watch *watch
}

func (k *sink) Add(obj any) error    { return k.touch(obj) }
func (k *sink) Update(obj any) error { return k.touch(obj) }
func (k *sink) Delete(obj any) error { return k.touch(obj) }
func (k *sink) Resync() error        { return nil }

// Replace is told of a list: anything may have changed before it.
func (k *sink) Replace([]any, string) error {
	k.store.touchAll(k.watch)
	return nil
}

func (k *sink) touch(obj any) error {
	object, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	k.store.touch(target{resource: k.watch.scope.resource, namespace: object.GetNamespace(), name: object.GetName(), own: k.watch.scope.own})
	return nil
}
