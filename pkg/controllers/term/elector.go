// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/klog/v2"
)

// Timing is how leases are held. All replicas should have the same.
type Timing struct {
	// LeaseDuration is how long others wait for a lease that is not renewed: whole seconds, at least
	// 2 s, at most MaxLeaseDuration.
	LeaseDuration time.Duration
	// RenewDeadline is how long a holder tries to renew before it gives the lease up.
	RenewDeadline time.Duration
	// RetryPeriod is the time between two tries to acquire or renew.
	RetryPeriod time.Duration
}

// DefaultTiming returns the timing for a host cluster that is near.
func DefaultTiming() Timing {
	return Timing{LeaseDuration: 5 * time.Second, RenewDeadline: 3500 * time.Millisecond, RetryPeriod: 500 * time.Millisecond}
}

// margin is the part of a lease's duration by which a gate closes before the lease runs out: for
// what the kernel has taken over and not sent yet, and for clocks that run at different speeds.
func (t Timing) margin() time.Duration { return t.LeaseDuration / 10 }

// Validate returns what is wrong with the timing.
func (t Timing) Validate() error {
	var errs []error
	switch {
	case t.LeaseDuration != t.LeaseDuration.Truncate(time.Second):
		errs = append(errs, fmt.Errorf("the lease duration %s is not a whole number of seconds, and a Lease can hold no other", t.LeaseDuration))
	case t.LeaseDuration < 2*time.Second || t.LeaseDuration > MaxLeaseDuration:
		errs = append(errs, fmt.Errorf("the lease duration %s is not between 2s and %s", t.LeaseDuration, MaxLeaseDuration))
	}
	if t.RenewDeadline >= t.LeaseDuration-t.margin() {
		errs = append(errs, fmt.Errorf("the renew deadline %s is not less than nine tenths of the lease duration %s", t.RenewDeadline, t.LeaseDuration))
	}
	if t.RetryPeriod <= 0 || float64(t.RenewDeadline) <= leaderelection.JitterFactor*float64(t.RetryPeriod) {
		errs = append(errs, fmt.Errorf("the retry period %s is not positive, or the renew deadline %s is not more than %.1f times as long",
			t.RetryPeriod, t.RenewDeadline, leaderelection.JitterFactor))
	}
	return errors.Join(errs...)
}

// ElectorOptions are an elector's parts. All are required.
type ElectorOptions struct {
	// Leases are the host cluster's. Their client should make a new connection for a request when
	// the one before was not answered, as HTTP/1.1 does.
	Leases coordinationclient.LeasesGetter
	// Namespace and Name are the Lease's.
	Namespace, Name string
	// Identity is this process's name, unlike any other's, also than that of its own predecessor.
	Identity string
	// Gate is a leased one, and Runner's.
	Gate   *Gate
	Runner *Runner
	Timing Timing
}

// Elector contends for a Lease and runs a term each time that it has it.
type Elector struct {
	opts ElectorOptions
	lock *lock
}

// NewElector returns an elector. The error is Timing.Validate's.
func NewElector(opts ElectorOptions) (*Elector, error) {
	if err := opts.Timing.Validate(); err != nil {
		return nil, err
	}
	return &Elector{opts: opts, lock: &lock{
		leases:   opts.Leases.Leases(opts.Namespace),
		name:     opts.Name,
		identity: opts.Identity,
		gate:     opts.Gate,
		duration: opts.Timing.LeaseDuration,
		margin:   opts.Timing.margin(),
		// Half, so that one request that is not answered does not lose the lease.
		timeout: opts.Timing.RenewDeadline / 2,
	}}, nil
}

// Run contends until ctx ends, and then returns nil, after the term has ended and the lease was
// released, in this order. Losing the lease does not end it, nor does a term that fails: the lease is
// released, for another replica may fare better, and contended for after a pause. The error is
// ErrNotDrained if a term did not end. Then the lease is not released, and the caller must end the
// process.
func (e *Elector) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithValues("lease", klog.KRef(e.opts.Namespace, e.opts.Name), "identity", e.opts.Identity)
	ctx = klog.NewContext(ctx, logger)
	pauses := e.opts.Runner.newBackoff()
	for ctx.Err() == nil {
		lasted, err := e.contend(ctx)
		switch {
		case errors.Is(err, ErrNotDrained):
			return err
		case ctx.Err() != nil, errors.Is(err, errReleased):
		case errors.Is(err, errLeaseLost), errors.Is(err, ErrClosed):
			logger.Info("Lost the lease, contending for it again", "reason", err)
		default:
			pause := pauses.after(lasted)
			logger.Error(err, "Term failed, another replica may lead", "pause", pause)
			sleep(ctx, pause)
		}
	}
	return nil
}

// contend acquires the lease, runs one term, and releases the lease if it is still ours. It returns
// how long the term lasted, and why it ended; nil is the end of ctx. The error is errReleased if
// somebody else has given the lease back, and it is time to contend anew.
func (e *Elector) contend(ctx context.Context) (lasted time.Duration, err error) {
	// The elector outlives ctx: the lease is renewed while the term ends.
	electing, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	e.lock.contend(stop)
	type outcome struct {
		lasted time.Duration
		err    error
	}
	over := make(chan outcome, 1)
	// Leaders need not watch: they hear of every other's write with their next renewal.
	following := startFollowing(electing, e.lock)
	defer following.wait()
	elector, err := leaderelection.NewLeaderElector(e.config(ctx, func(leading context.Context) {
		following.cancel()
		start := time.Now()
		err := e.term(ctx, leading)
		over <- outcome{time.Since(start), err}
		stop(nil)
	}))
	if err != nil {
		return 0, fmt.Errorf("leader election: %w", err)
	}
	// If the lease is being acquired at this moment, a term begins with a context that has ended.
	defer context.AfterFunc(ctx, func() {
		if !e.lock.held() {
			stop(nil)
		}
	})()
	elector.Run(electing)
	following.wait()
	if !e.lock.held() {
		return 0, context.Cause(electing)
	}
	ended := <-over // Run does not wait for it
	if errors.Is(ended.err, ErrNotDrained) {
		return ended.lasted, ended.err
	}
	if err := e.lock.release(context.WithoutCancel(ctx)); err != nil {
		klog.FromContext(ctx).Info("The lease could not be released, others wait until it runs out", "reason", err)
	}
	return ended.lasted, ended.err
}

func (e *Elector) config(ctx context.Context, started func(context.Context)) leaderelection.LeaderElectionConfig {
	return leaderelection.LeaderElectionConfig{
		Lock:          e.lock,
		LeaseDuration: e.opts.Timing.LeaseDuration,
		RenewDeadline: e.opts.Timing.RenewDeadline,
		RetryPeriod:   e.opts.Timing.RetryPeriod,
		Name:          e.opts.Name,
		// client-go releases before the term has ended, and whoever holds the lease by then.
		ReleaseOnCancel: false,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: started,
			OnStoppedLeading: func() {},
			OnNewLeader: func(holder string) {
				if holder != "" {
					klog.FromContext(ctx).Info("Observed the leader", "holder", holder)
				}
			},
		},
	}
}

// term runs a term until it ends by itself, ctx ends or leading does: then the lease was lost.
func (e *Elector) term(ctx, leading context.Context) error {
	lasting, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	defer context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })()
	defer context.AfterFunc(leading, func() {
		cause := context.Cause(leading)
		if !errors.Is(cause, errLeaseLost) {
			cause = fmt.Errorf("%w: it could not be renewed in time", errLeaseLost)
		}
		end(cause)
	})()
	var err error
	if e.settle(lasting) {
		err = e.opts.Runner.RunTerm(lasting)
	}
	if cause := context.Cause(lasting); err == nil && errors.Is(cause, errLeaseLost) {
		return cause
	}
	return err
}

// settle waits until no rival's gate can be open, and returns false if ctx ends first.
func (e *Elector) settle(ctx context.Context) bool {
	safe := e.lock.safeFrom()
	// The wall clock can be set, and must not shorten the wait.
	wait := func() time.Duration { return safe.Monotonic - e.opts.Gate.Now().Monotonic }
	if first := wait(); first > 0 {
		klog.FromContext(ctx).Info("Has the lease, and did not see the former one run out: waiting until nobody else can write", "wait", first)
	}
	for left := wait(); left > 0 && ctx.Err() == nil; left = wait() {
		sleep(ctx, left)
	}
	return ctx.Err() == nil
}
