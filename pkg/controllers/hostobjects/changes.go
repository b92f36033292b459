// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostobjects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/script/fieldpath"
)

const (
	// checkLimit bounds one look at an object that may have changed.
	checkLimit = 30 * time.Second
	// pause is the shortest time between two changes of one object that its readers are
	// told of: one that changes all the time shall not have them deploy all the time.
	pause = time.Second
)

// Filter says what of an object its reader looks at.
type Filter struct {
	// IgnoreStatus means that its status is no part of it.
	IgnoreStatus bool
	// Fields are all that counts, and that the object is there; none means all of it.
	Fields []fieldpath.Path
}

// digest is of what a reader looks at; empty if the object does not exist.
func (f Filter) digest(object *unstructured.Unstructured) (string, error) {
	if object == nil {
		return "", nil
	}
	content := maps.Clone(object.Object)
	if metadata, ok := content["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		delete(metadata, "managedFields")
		delete(metadata, "resourceVersion")
		if f.IgnoreStatus {
			// Of a kind whose status is no subresource, it counts that too.
			delete(metadata, "generation")
		}
		content["metadata"] = metadata
	}
	if f.IgnoreStatus {
		delete(content, "status")
	}
	var counts any = content
	if len(f.Fields) > 0 {
		values := make([]any, 0, 2*len(f.Fields))
		for _, path := range f.Fields {
			value, found := path.Get(content)
			values = append(values, value, found)
		}
		counts = values
	}
	encoded, err := json.Marshal(counts)
	if err != nil {
		return "", fmt.Errorf("encoding what counts of it: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:]), nil
}

// key tells filters apart.
func (f Filter) key() string { return fmt.Sprintf("%t %q", f.IgnoreStatus, f.Fields) }

// Touch says that an object of one of Options.Watched may have changed.
func (s *Store) Touch(resource schema.GroupVersionResource, name types.NamespacedName) {
	s.touch(target{resource: resource, namespace: name.Namespace, name: name.Name})
}

// touch has a target looked at, if somebody reads it.
func (s *Store) touch(t target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.readings[t]) > 0 {
		s.queue.Add(t)
	}
}

// touchAll has all targets of a watch looked at, and tells who waits for it that it has
// begun.
func (s *Store) touchAll(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.readings {
		if s.held[t] != nil && w.scope.covers(t) {
			s.queue.Add(t)
		}
	}
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
}

// checkNext looks at one target that may have changed. It returns false when there are no
// more to come.
func (s *Store) checkNext(ctx context.Context) bool {
	t, down := s.queue.Get()
	if down {
		return false
	}
	defer s.queue.Done(t)
	if wait := s.tooSoon(t); wait > 0 {
		s.queue.AddAfter(t, wait)
	} else if s.check(ctx, t) {
		s.queue.Forget(t)
	} else if ctx.Err() == nil {
		s.queue.AddRateLimited(t)
	}
	return true
}

// tooSoon is how long a target has to wait before its readers are told of it again.
func (s *Store) tooSoon(t target) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, found := s.told[t]
	if !found {
		return 0
	}
	return pause - time.Since(last)
}

// check compares a target with what its readers were given, and tells those for whom it
// has changed. It returns false if that could not be found out.
func (s *Store) check(ctx context.Context, t target) bool {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	object, err := s.get(ctx, t)
	switch {
	case err == nil, apierrors.IsNotFound(err):
	case apierrors.IsForbidden(err):
		s.tell(t, func(*reading) bool { return true }) // they are told why
		return true
	default:
		klog.FromContext(ctx).V(2).Info("Could not look at an object of the host that has changed", "resource", t.resource, "namespace", t.namespace, "name", t.name, "reason", err)
		return false
	}
	// One for each filter: a thousand clusters have the same.
	digests := map[string]string{}
	s.tell(t, func(r *reading) bool {
		key := r.filter.key()
		if _, known := digests[key]; !known {
			digest, err := r.filter.digest(object)
			if err != nil {
				return true
			}
			digests[key] = digest
		}
		return digests[key] != r.digest
	})
	return true
}

// tell tells the readers of a target for whom it has changed. One that is reading it just
// now is looked at when it has.
func (s *Store) tell(t target, changed func(*reading) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.readings[t] {
		if r.under {
			r.missed = true
		} else if changed(r) {
			s.told[t] = time.Now()
			s.options.Changed(r.reader)
		}
	}
}
