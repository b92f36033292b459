// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostobjects reads objects of any kind of the host cluster for those who name
// them, and tells when one of them changes in what its reader looks at.
//
// A watch for each kind that somebody reads, of metadata alone, says that an object
// changed. Then it is read again, and compared with what its readers were given: that
// only its resourceVersion, or its managedFields, differ is no change. The watch ends when
// nobody reads an object of the kind any more.
package hostobjects

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/workqueue"
)

// API is a way to objects.
type API struct {
	Dynamic  dynamic.Interface
	Metadata metadata.Interface
	Mapper   meta.RESTMapper
}

// Options are what a Store works with.
type Options struct {
	// Host reaches the host cluster.
	Host API
	// Own reaches the kinds of OwnGroups, which the host proxies to this server.
	Own       API
	OwnGroups []string
	// Namespaces are those of the host that may be read; none means all.
	Namespaces []string
	// Watched are resources of the host whose changes somebody else tells by Touch.
	Watched []schema.GroupVersionResource
	// Changed is told of each reader one of whose objects has changed. It must not
	// block.
	Changed func(types.NamespacedName)
}

// Want is an object, and what of it the reader looks at.
type Want struct {
	Kind schema.GroupVersionKind
	// Namespace is ignored for a kind that has none.
	Namespace, Name string
	// Tenant is the only namespace that the reader may read from, empty for one that
	// may read from all, and objects without a namespace.
	Tenant string
	Filter Filter
}

// String names the object.
func (w Want) String() string {
	if w.Namespace == "" {
		return w.Kind.Kind + " " + w.Name
	}
	return w.Kind.Kind + " " + w.Namespace + "/" + w.Name
}

// Answer is what was read of a Want: either of both.
type Answer struct {
	// Object is without its managedFields. It is the reader's own.
	Object *unstructured.Unstructured
	// Err is an *Error, or ctx's.
	Err error
}

// target is an object that somebody reads.
type target struct {
	resource        schema.GroupVersionResource
	namespace, name string
	own             bool
}

// reading is what a reader was given of a target.
type reading struct {
	reader types.NamespacedName
	filter Filter
	digest string
	// under is set while the object is being read, and missed if the object has
	// changed since that began.
	under, missed bool
}

// Store reads and watches. It is safe for concurrent use.
type Store struct {
	options Options
	// queue is made by Run, before which nobody is reading: it starts goroutines.
	queue workqueue.TypedRateLimitingInterface[target]

	mu sync.Mutex
	// ctx is of Run, nil before it; closed says that no watch begins any more.
	ctx     context.Context
	closed  bool
	started chan struct{}
	wg      sync.WaitGroup
	watches map[scope]*watch
	// readings are those of each target, in whichever order.
	readings map[target][]*reading
	// targets are what each reader reads.
	targets map[types.NamespacedName][]target
	// held are the watches that a target keeps.
	held map[target]*watch
	// told is when readers of a target were last told of a change.
	told map[target]time.Time
}

// NewStore returns a Store that reads nothing until Run.
func NewStore(options Options) *Store {
	return &Store{
		options:  options,
		started:  make(chan struct{}),
		watches:  map[scope]*watch{},
		readings: map[target][]*reading{},
		targets:  map[types.NamespacedName][]target{},
		held:     map[target]*watch{},
		told:     map[target]time.Time{},
	}
}

// Run watches and compares until ctx ends, and returns when nothing of it is under way any
// more. It can be called once.
func (s *Store) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.ctx = ctx
	s.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[target]())
	s.mu.Unlock()
	close(s.started)
	context.AfterFunc(ctx, s.queue.ShutDown)
	for s.checkNext(ctx) {
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// Read reads what a reader wants, in the order given, and from then on tells of changes of
// that and of nothing that the reader wanted before. Calls for one reader must not
// overlap.
func (s *Store) Read(ctx context.Context, reader types.NamespacedName, wants []Want) []Answer {
	answers := make([]Answer, len(wants))
	var targets []target
	for i, want := range wants {
		t, note, err := s.begin(ctx, reader, want)
		if err != nil {
			answers[i].Err = err
			continue
		}
		targets = append(targets, t)
		answers[i] = s.read(ctx, want, t, note)
	}
	s.settle(reader, targets)
	return answers
}

// Once reads for somebody who is told of no changes. It needs no Run.
type Once struct{ *Store }

// Read reads what is wanted, in the order given.
func (o Once) Read(ctx context.Context, _ types.NamespacedName, wants []Want) []Answer {
	answers := make([]Answer, len(wants))
	for i, want := range wants {
		t, err := o.locate(want)
		if err != nil {
			answers[i].Err = err
			continue
		}
		object, err := o.get(ctx, t)
		if err != nil {
			answers[i].Err = o.explain(ctx, want, t, err)
			continue
		}
		object.SetManagedFields(nil)
		answers[i].Object = object
	}
	return answers
}

// Forget drops a reader.
func (s *Store) Forget(reader types.NamespacedName) { s.settle(reader, nil) }

// begin finds out what a want means, and notes that it is about to be read.
func (s *Store) begin(ctx context.Context, reader types.NamespacedName, want Want) (target, *reading, error) {
	select {
	case <-s.started:
	case <-ctx.Done():
		return target{}, nil, context.Cause(ctx)
	}
	t, err := s.locate(want)
	if err != nil {
		return target{}, nil, err
	}
	note := &reading{reader: reader, filter: want.Filter, under: true}
	s.mu.Lock()
	s.readings[t] = append(s.readings[t], note)
	s.mu.Unlock()
	return t, note, nil
}

// locate finds out what a want means. The error is an *Error.
func (s *Store) locate(want Want) (target, error) {
	api, isOwn := s.api(want.Kind.Group)
	mapping, err := api.Mapper.RESTMapping(want.Kind.GroupKind(), want.Kind.Version)
	if err != nil {
		return target{}, &Error{Want: want, Err: err}
	}
	t := target{resource: mapping.Resource, name: want.Name, own: isOwn}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		t.namespace = want.Namespace
	} else {
		want.Namespace = ""
	}
	if err := s.allowed(want, t); err != nil {
		return target{}, &Error{Want: want, Err: err}
	}
	return t, nil
}

func (s *Store) api(group string) (api API, own bool) {
	if slices.Contains(s.options.OwnGroups, group) {
		return s.options.Own, true
	}
	return s.options.Host, false
}

// allowed refuses what is not the reader's, and what the server was not told to read.
func (s *Store) allowed(want Want, t target) error {
	switch {
	case want.Tenant != "" && t.namespace == "":
		return fmt.Errorf("%w: the kind has no namespace, and a Profile reads from its own namespace %q only", ErrNotAllowed, want.Tenant)
	case want.Tenant != "" && t.namespace != want.Tenant:
		return fmt.Errorf("%w: a Profile reads from its own namespace %q only", ErrNotAllowed, want.Tenant)
	case t.own || t.namespace == "" || len(s.options.Namespaces) == 0 || slices.Contains(s.options.Namespaces, t.namespace):
		return nil
	}
	return fmt.Errorf("%w: Muster reads the namespaces of the server's flag --source-namespaces alone", ErrNotAllowed)
}

// read reads a target once a watch tells of its changes, so that none falls in between.
func (s *Store) read(ctx context.Context, want Want, t target, note *reading) Answer {
	if err := s.follow(ctx, t); err != nil {
		return Answer{Err: s.explain(ctx, want, t, err)}
	}
	object, err := s.get(ctx, t)
	if err != nil && !apierrors.IsNotFound(err) {
		return Answer{Err: s.explain(ctx, want, t, err)}
	}
	digest, failed := note.filter.digest(object)
	if failed != nil {
		return Answer{Err: &Error{Want: want, Err: failed}}
	}
	s.given(t, note, digest)
	if err != nil {
		return Answer{Err: s.explain(ctx, want, t, err)}
	}
	object.SetManagedFields(nil)
	return Answer{Object: object}
}

// get reads a target from the host; nil and an error that says so if it does not exist.
func (s *Store) get(ctx context.Context, t target) (*unstructured.Unstructured, error) {
	api := s.options.Host
	if t.own {
		api = s.options.Own
	}
	object, err := api.Dynamic.Resource(t.resource).Namespace(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return object, nil
}

// given notes what a reader was given, and has a change that came meanwhile looked at.
func (s *Store) given(t target, note *reading, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note.digest, note.under = digest, false
	if note.missed {
		note.missed = false
		s.queue.Add(t)
	}
}

// settle keeps, of what a reader reads, the last readings that were made of targets, and
// ends the watches that nobody needs any more.
func (s *Store) settle(reader types.NamespacedName, targets []target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	former := s.targets[reader]
	if len(targets) > 0 {
		s.targets[reader] = targets
	} else {
		delete(s.targets, reader)
	}
	wanted := map[target]int{}
	for _, t := range targets {
		wanted[t]++
	}
	for _, t := range append(slices.Clone(former), targets...) {
		s.keepLast(t, reader, wanted[t])
	}
}

// keepLast drops the readings of a target by a reader but the last ones. The lock is held.
func (s *Store) keepLast(t target, reader types.NamespacedName, last int) {
	surplus := -last
	for _, r := range s.readings[t] {
		if r.reader == reader {
			surplus++
		}
	}
	kept := slices.DeleteFunc(s.readings[t], func(r *reading) bool {
		if r.reader != reader || surplus <= 0 {
			return false
		}
		surplus--
		return true
	})
	if len(kept) > 0 {
		s.readings[t] = kept
		return
	}
	delete(s.readings, t)
	delete(s.told, t)
	if w := s.held[t]; w != nil {
		delete(s.held, t)
		s.release(w)
	}
}
