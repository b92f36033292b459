// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
)

const (
	// watchLimit is how long one watch of the Lease lasts. It bounds for how long a connection that
	// died silently can go unnoticed.
	watchLimit = 5 * time.Minute
	// watchPause is the time from the end of a watch to the next one.
	watchPause = time.Second
)

// errReleased ends a round of contending, so that the next one begins at once.
var errReleased = errors.New("the lease was given back")

// following is a watch of the Lease in a goroutine.
type following struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func startFollowing(ctx context.Context, l *lock) *following {
	ctx, cancel := context.WithCancel(ctx)
	f := &following{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		l.follow(ctx)
	}()
	return f
}

// wait ends it.
func (f *following) wait() {
	f.cancel()
	<-f.done
}

// follow watches the Lease until ctx ends, and has the lease contended for as soon as somebody gives it
// back: client-go's elector would look again a retry period later. It decides nothing. Whether
// the lease may be taken, the next round reads for itself, and what a watch misses a round's own tries
// find.
func (l *lock) follow(ctx context.Context) {
	for ; ctx.Err() == nil; sleep(ctx, watchPause) {
		if err := l.watch(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("The lease is not watched, so that its release is noticed later", "reason", err)
		}
	}
}

// watch begins with the Lease as it is, so that nothing is missed between two watches.
func (l *lock) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchLimit+l.timeout)
	defer cancel()
	events, err := l.leases.Watch(ctx, metav1.ListOptions{
		FieldSelector:  fields.OneTermEqualSelector(metav1.ObjectNameField, l.name).String(),
		TimeoutSeconds: ptr.To(int64(watchLimit / time.Second)),
	})
	if err != nil {
		return fmt.Errorf("watch the lease: %w", err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		lease, ok := event.Object.(*coordinationv1.Lease)
		if ok && event.Type != watch.Deleted {
			l.noticed(lease)
		}
	}
	return nil
}

// noticed ends the round if a version of the Lease says that nobody holds it, once for each version. A
// round that has read that very version is about to take it, and must not be disturbed: none of its
// writes is cut off here, because one that is based on an earlier version fails by itself.
func (l *lock) noticed(lease *coordinationv1.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isHeld || ptr.Deref(lease.Spec.HolderIdentity, "") != "" ||
		sameVersion(l.lease, lease) || sameVersion(l.free, lease) {
		return
	}
	l.free = lease
	l.lost(errReleased)
}
