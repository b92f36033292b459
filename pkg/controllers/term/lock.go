// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
)

const (
	// releasedAnnotation is set, to the Lease's UID, by a holder that gave it back when nobody's gate
	// could be open, neither its own nor a former holder's. That the Lease has no holder does not say so, for a person may have taken the
	// name out; nor does a copy from a backup, which has another UID.
	releasedAnnotation = "muster.projectsveltos.io/released"

	// MaxLeaseDuration is the longest lease that can be configured, and so the longest that anybody
	// waits for one to run out, whatever its leaseDurationSeconds says.
	MaxLeaseDuration = 60 * time.Second
)

// errLeaseLost ends a term whose lease may be somebody else's.
var errLeaseLost = errors.New("the lease was lost")

// lock is the Lease as one replica knows it, for client-go's elector.
//
// It does not trust what the Lease says, because people edit and delete Leases. It trusts what the
// API server promises: that an update which names the version that it is based on succeeds only on
// that very version. So as long as each version is the one that this replica wrote last (ours),
// nobody else can have held the lease in between, and the gate may be extended. And when a version
// of somebody else's was first seen (seen), its writer's gate had been extended for the last time,
// so that it is closed when a lease's duration has passed since then by our monotonic clock. That is
// the earliest at which a term may begin (safe), however the Lease came to us.
//
// client-go's own comparison of records is not enough, not least because theirs have times of whole
// seconds only: of two renewals within one it misses the second.
type lock struct {
	leases         coordinationclient.LeaseInterface
	name, identity string
	gate           *Gate
	duration       time.Duration // of the lease, when we hold it
	margin         time.Duration // that our gate closes before the lease runs out
	timeout        time.Duration // of each request

	mu    sync.Mutex
	lease *coordinationv1.Lease // as last read or written; nil if there was none
	seen  Instant               // when that was first seen
	ours  bool                  // its version is our last write's
	// attempts were sent to replace this version, and we do not know whether one did.
	attempts []coordinationv1.LeaseSpec

	safe   Instant                 // no rival's gate is open from then on, if the lease is ours
	isHeld bool                    // since it was acquired, until contend
	lost   context.CancelCauseFunc // ends the round: it is held and not ours, or not held and given back
	// free is the version without a holder for which a round was ended last.
	free *coordinationv1.Lease
}

// contend begins a round, in which the lease can be acquired once.
func (l *lock) contend(lost context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isHeld, l.lost = false, lost
}

// held says whether the lease was acquired in this round.
func (l *lock) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isHeld
}

// safeFrom is when a term on the lease that is held may begin.
func (l *lock) safeFrom() Instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.safe
}

// Get reads the Lease. The bytes tell its versions apart. For a held lease that is not ours any
// more it fails, also if there is none, so that it is not acquired anew within its term.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	lease, err := l.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	record.LeaseDurationSeconds = int(l.runsFor(lease) / time.Second)
	return record, []byte(string(lease.UID) + "/" + lease.ResourceVersion), nil
}

func (l *lock) read(ctx context.Context) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	lease, err := l.leases.Get(ctx, l.name, metav1.GetOptions{})
	now := l.gate.Now() // after the answer: whoever wrote this version did so before
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read the lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		lease = nil
	}
	l.observe(lease, now)
	if l.isHeld && !l.ours {
		cause := fmt.Errorf("%w: it was changed by somebody else", errLeaseLost)
		l.lost(cause)
		return nil, cause
	}
	return lease, err // unwrapped, because client-go asks whether it is NotFound
}

// observe takes note of the Lease as it is.
func (l *lock) observe(lease *coordinationv1.Lease, now Instant) {
	if sameVersion(l.lease, lease) {
		return
	}
	l.ours = lease != nil && slices.ContainsFunc(l.attempts, func(sent coordinationv1.LeaseSpec) bool {
		return apiequality.Semantic.DeepEqual(sent, lease.Spec)
	})
	l.lease, l.seen, l.attempts = lease, now, nil
}

func sameVersion(a, b *coordinationv1.Lease) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.ResourceVersion == b.ResourceVersion
}

// Create acquires the lease where there is none. Who has held one before is unknown.
func (l *lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	sent := l.gate.Now()
	// If it is created and we do not hear of it, it counts as somebody else's.
	lease, err := l.leases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: l.name},
		Spec:       spec(record),
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.safe = l.gate.Now().Add(l.duration)
	l.accept(lease, sent)
	return nil
}

// Update acquires or renews the lease, on the version that was read or written last.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	lease, err := l.prepare(spec(record))
	if err != nil {
		return err
	}
	delete(lease.Annotations, releasedAnnotation)
	return l.update(ctx, lease, true)
}

// prepare returns what to send, to replace the current version.
func (l *lock) prepare(spec coordinationv1.LeaseSpec) (*coordinationv1.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.lease == nil:
		return nil, errors.New("update the lease: there is none")
	case l.isHeld && !l.ours:
		return nil, errLeaseLost
	}
	if !l.ours {
		l.safe = l.othersEnd()
	}
	lease := l.lease.DeepCopy()
	lease.Spec = spec
	l.attempts = append(l.attempts, spec)
	return lease, nil
}

// othersEnd is when nobody's gate can be open any more that was extended up to the current version.
func (l *lock) othersEnd() Instant {
	if ptr.Deref(l.lease.Spec.HolderIdentity, "") == "" && l.lease.UID != "" &&
		l.lease.Annotations[releasedAnnotation] == string(l.lease.UID) {
		return Instant{}
	}
	return l.seen.Add(l.runsFor(l.lease))
}

// runsFor is how long a lease runs, within what can be configured. One that is shorter than ours
// was edited.
func (l *lock) runsFor(lease *coordinationv1.Lease) time.Duration {
	says := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	return max(l.duration, min(says, MaxLeaseDuration))
}

// update sends lease. The gate is extended from the moment before: that may be earlier than when the
// API server stored it, from which rivals count, but never later.
func (l *lock) update(ctx context.Context, lease *coordinationv1.Lease, hold bool) error {
	sent := l.gate.Now()
	updated, err := l.leases.Update(ctx, lease, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("update the lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if hold {
		l.accept(updated, sent)
		return nil
	}
	l.lease, l.ours, l.attempts = updated, true, nil
	return nil
}

// accept takes note of a write that succeeded and that makes or keeps us the holder.
func (l *lock) accept(lease *coordinationv1.Lease, sent Instant) {
	l.lease, l.ours, l.attempts = lease, true, nil
	l.isHeld = true
	l.gate.Extend(sent.Add(l.duration - l.margin))
}

// release gives the lease back so that another replica need not wait for it to run out. Nothing may
// be in flight any more, and the elector must have stopped. A lease that is not ours is left alone.
func (l *lock) release(ctx context.Context) error {
	l.gate.forfeit()
	err := l.tryRelease(ctx)
	if apierrors.IsConflict(err) {
		// A renewal that was cut off had been stored after all.
		l.contend(nil)
		if _, err := l.read(ctx); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		err = l.tryRelease(ctx)
	}
	return err
}

func (l *lock) tryRelease(ctx context.Context) error {
	l.mu.Lock()
	ours, transitions := l.ours, 0
	if ours {
		transitions = int(ptr.Deref(l.lease.Spec.LeaseTransitions, 0))
	}
	l.mu.Unlock()
	if !ours {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	now := metav1.Now()
	lease, err := l.prepare(spec(resourcelock.LeaderElectionRecord{
		LeaderTransitions: transitions, LeaseDurationSeconds: 1, AcquireTime: now, RenewTime: now,
	}))
	if err != nil {
		return err
	}
	// Without the annotation the next holder waits, as this one has not done to the end.
	if l.safeFrom().Monotonic <= l.gate.Now().Monotonic {
		if lease.Annotations == nil {
			lease.Annotations = map[string]string{}
		}
		lease.Annotations[releasedAnnotation] = string(lease.UID)
	}
	return l.update(ctx, lease, false)
}

// spec is a record as an API server stores it: with times of whole microseconds.
func spec(record resourcelock.LeaderElectionRecord) coordinationv1.LeaseSpec {
	record.AcquireTime.Time = record.AcquireTime.Truncate(time.Microsecond)
	record.RenewTime.Time = record.RenewTime.Truncate(time.Microsecond)
	return resourcelock.LeaderElectionRecordToLeaseSpec(&record)
}

// Identity is the replica's name.
func (l *lock) Identity() string { return l.identity }

// Describe names the Lease in log lines.
func (l *lock) Describe() string { return "lease " + l.name }

// RecordEvent does nothing: the Lease itself and the metrics say who leads.
func (l *lock) RecordEvent(string) {}
