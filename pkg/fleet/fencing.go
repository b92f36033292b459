// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/fleet/fence"
)

// ErrNotFenced says that a write was not sent, because the cluster is to be
// fenced against former leaders, and could not be. Nothing is changed in it
// until it can, or until nobody asks for a fence any more.
var ErrNotFenced = errors.New("nothing is written to the cluster while its fence against former leaders cannot be raised")

// fenceRetry is how long a fence that could not be raised, for a reason that
// a person has to mend, is not tried again by a write.
const fenceRetry = 15 * time.Second

// Fencing says which clusters are fenced, and by whom.
type Fencing struct {
	// Wanted says whether a cluster is to be fenced. It is asked for every write,
	// and so must not wait; a connection that could not ask believes its last
	// answer.
	Wanted func(ctx context.Context, ref Ref) (bool, error)
	// Mark is the leader's.
	Mark fence.Mark
	// Report, if set, is told whether a fence that is wanted stands, and why not.
	// It must not block.
	Report func(ref Ref, err error)
}

// Fence raises the fence of a cluster where one is wanted, or looks whether it
// still stands. What is read of a cluster afterwards no former leader changes.
func (c *Clusters) Fence(ctx context.Context, ref Ref) error {
	connection, err := c.connection(ctx, ref)
	if err != nil {
		return err
	}
	return connection.barrier.ensure(ctx)
}

// Unfence removes the fence of a cluster where none is wanted.
func (c *Clusters) Unfence(ctx context.Context, ref Ref) error {
	connection, err := c.connection(ctx, ref)
	if err != nil {
		return err
	}
	return connection.barrier.remove(ctx)
}

// Fence is Clusters.Fence.
func (c *Client) Fence(ctx context.Context) error { return c.connection.barrier.ensure(ctx) }

// stamp is what a fenced write says of its sender.
type stamp struct {
	user  fence.User
	epoch int64
}

// barrier lets writes through a fence: the first one raises it. A nil barrier is
// of a fleet that knows no fences.
type barrier struct {
	fencing *Fencing
	ref     Ref
	fence   fence.Fence
	wanted  atomic.Bool
	// raising is held, by a value in it, while the fence is raised or removed.
	raising chan struct{}

	mu    sync.Mutex
	stamp *stamp // nil unless the fence stands
	err   error  // why it does not, believed until retry
	retry time.Time
}

// newBarrier returns the barrier of a connection, which is asked through it.
func newBarrier(ctx context.Context, c *connection, fencing *Fencing) (*barrier, error) {
	if fencing == nil {
		return nil, nil
	}
	wanted, err := fencing.Wanted(ctx, c.ref)
	if err != nil {
		return nil, fmt.Errorf("ask whether %s is to be fenced: %w", c.ref, err)
	}
	b := &barrier{fencing: fencing, ref: c.ref, raising: make(chan struct{}, 1)}
	b.wanted.Store(wanted)
	b.fence = fence.Fence{
		Host:  c.host,
		Plain: &identityTransport{connection: c},
		Stamped: func(user fence.User, epoch int64) http.RoundTripper {
			fixed := &stamp{user, epoch}
			return &identityTransport{connection: c, stamp: func(context.Context) (*stamp, error) { return fixed, nil }}
		},
		Mark: fencing.Mark,
	}
	return b, nil
}

func (b *barrier) isWanted(ctx context.Context) bool {
	if wanted, err := b.fencing.Wanted(ctx, b.ref); err == nil {
		b.wanted.Store(wanted)
	}
	return b.wanted.Load()
}

// pass returns what a write has to say of its sender, nil where there is no
// fence.
func (b *barrier) pass(ctx context.Context) (*stamp, error) {
	if b == nil || !b.isWanted(ctx) {
		return nil, nil
	}
	if stamp, err := b.current(); stamp != nil || err != nil {
		return stamp, err
	}
	release, err := b.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if stamp, err := b.current(); stamp != nil || err != nil {
		return stamp, err
	}
	return b.raise(ctx)
}

func (b *barrier) ensure(ctx context.Context) error {
	if b == nil || !b.isWanted(ctx) {
		return nil
	}
	release, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	_, err = b.raise(ctx)
	return err
}

func (b *barrier) remove(ctx context.Context) error {
	if b == nil || b.isWanted(ctx) {
		return nil
	}
	release, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	b.set(nil, nil)
	return b.fence.Remove(ctx)
}

func (b *barrier) lock(ctx context.Context) (release func(), err error) {
	select {
	case b.raising <- struct{}{}:
		return func() { <-b.raising }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the fence of %s: %w", b.ref, context.Cause(ctx))
	}
}

// raise raises the fence; the barrier is locked.
func (b *barrier) raise(ctx context.Context) (*stamp, error) {
	user, err := b.fence.Raise(ctx)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotFenced, err)
		if b.isVerdict(err) {
			b.set(nil, err)
			b.report(err)
		} else {
			b.set(nil, nil)
		}
		return nil, err
	}
	raised := &stamp{user, b.fencing.Mark.Epoch}
	b.set(raised, nil)
	b.report(nil)
	return raised, nil
}

func (b *barrier) report(err error) {
	if b.fencing.Report != nil {
		b.fencing.Report(b.ref, err)
	}
}

// isVerdict tells what a cluster says of its fence from what keeps it from being
// asked.
func (b *barrier) isVerdict(err error) bool {
	for _, verdict := range []error{fence.ErrLater, fence.ErrForeign, fence.ErrNotServed, fence.ErrNotObeyed} {
		if errors.Is(err, verdict) {
			return true
		}
	}
	return apierrors.ReasonForError(err) != metav1.StatusReasonUnknown
}

func (b *barrier) current() (*stamp, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil && time.Now().Before(b.retry) {
		return nil, b.err
	}
	return b.stamp, nil
}

func (b *barrier) set(stamp *stamp, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stamp, b.err, b.retry = stamp, err, time.Now().Add(fenceRetry)
}
