// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// ErrNotDrained says that a term did not end in time: something of it may still write. The only
// safe thing left is to end the process.
var ErrNotDrained = errors.New("the term did not drain")

// Term is what the parts of a term know of it.
type Term struct {
	// Epoch is the term's number.
	Epoch int64
}

// Starter is a term's controllers. A controller-runtime manager is one, if it is made for one term:
//
//	LeaderElection: false                     // the term is the election
//	GracefulShutdownTimeout: ptr.To[time.Duration](-1) // Start returns when all has returned
//	Controller: {SkipNameValidation: true}    // names are unique in a process, and there was a term before
//	Metrics, HealthProbe: BindAddress "0"     // the API server serves these
type Starter interface {
	// Start runs until ctx ends, and returns when everything that it started has ended.
	Start(ctx context.Context) error
}

// NewTermFunc builds a term's controllers anew, for a manager cannot be started twice. ctx is the
// term's own: it ends when the controllers have to.
type NewTermFunc func(ctx context.Context, term Term) (Starter, error)

// RunnerOptions are a runner's parts and limits.
type RunnerOptions struct {
	// Gate is opened for each term. Required.
	Gate *Gate
	// RaiseEpoch returns a term's epoch, higher than any before. Required: records.RaiseEpoch.
	RaiseEpoch func(ctx context.Context) (int64, error)
	// NewTerm builds a term's controllers. Required.
	NewTerm NewTermFunc
	// Check returns an error, or does not return before its context ends, while something is out of
	// reach without which no term can work: etcd. A replica in this state must not keep others from
	// leading. Default: nothing is checked.
	Check func(ctx context.Context) error
	// CheckLimit is how long Check may fail, and how long RaiseEpoch may take, before the term fails.
	// Default: 10 s.
	CheckLimit time.Duration
	// DrainLimit is how long a term may take to end. Default: DefaultDrainLimit.
	DrainLimit time.Duration
	// MinBackoff and MaxBackoff limit the wait after a term that failed, which doubles each time.
	// A term that lasted longer than MaxBackoff starts over. Defaults: 1 s, 30 s.
	MinBackoff, MaxBackoff time.Duration
}

// checkPeriod is the time from one Check to the next.
const checkPeriod = 2 * time.Second

// DefaultDrainLimit is how long a term may take to end. Whoever runs the process has to give it that
// long, and the time for requests besides.
const DefaultDrainLimit = 30 * time.Second

// Runner runs terms, one after the other.
type Runner struct {
	opts RunnerOptions
}

// NewRunner returns a runner.
func NewRunner(opts RunnerOptions) *Runner {
	opts.CheckLimit = cmp.Or(opts.CheckLimit, 10*time.Second)
	opts.DrainLimit = cmp.Or(opts.DrainLimit, DefaultDrainLimit)
	opts.MinBackoff = cmp.Or(opts.MinBackoff, time.Second)
	opts.MaxBackoff = cmp.Or(opts.MaxBackoff, 30*time.Second)
	return &Runner{opts: opts}
}

// Run runs terms until ctx ends, and then returns nil: for a lone server, which leads as long as it
// lives. A term that fails is followed by another, with a new epoch, after a pause. The error is
// ErrNotDrained if a term did not end: the caller must end the process.
func (r *Runner) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	pauses := r.newBackoff()
	for ctx.Err() == nil {
		start := time.Now()
		err := r.RunTerm(ctx)
		if errors.Is(err, ErrNotDrained) {
			return err
		}
		if ctx.Err() != nil {
			break
		}
		pause := pauses.after(time.Since(start))
		logger.Error(err, "Term failed, another one follows", "pause", pause)
		sleep(ctx, pause)
	}
	return nil
}

// backoff is the wait after a term that failed.
type backoff struct{ next, least, most time.Duration }

func (r *Runner) newBackoff() *backoff {
	return &backoff{next: r.opts.MinBackoff, least: r.opts.MinBackoff, most: r.opts.MaxBackoff}
}

// after returns how long to wait after a term that lasted so long.
func (b *backoff) after(lasted time.Duration) time.Duration {
	if lasted > b.most {
		b.next = b.least
	}
	pause := b.next
	b.next = min(2*b.next, b.most)
	return pause
}

// RunTerm runs one term: it raises the epoch, opens the gate, builds and starts the controllers, and
// blocks until they have ended and no write is in flight. The term ends when ctx does, which is no
// error, when the gate closes, or when the controllers stop by themselves.
//
// The end of ctx does not cancel the controllers' context at once: the gate closes first.
func (r *Runner) RunTerm(ctx context.Context) error {
	err := r.runTerm(ctx)
	termsEnded.WithLabelValues(endReason(ctx, err)).Inc()
	return err
}

func (r *Runner) runTerm(ctx context.Context) error {
	epoch, err := r.raiseEpoch(ctx)
	if err != nil {
		return fmt.Errorf("raise the epoch: %w", err)
	}
	if err := r.opts.Gate.Open(epoch); err != nil {
		return err
	}
	logger := klog.FromContext(ctx).WithValues("epoch", epoch)
	logger.Info("Term begins")
	currentEpoch.Set(float64(epoch))
	leading.Set(1)
	// The values of ctx, but not its end.
	lasting := klog.NewContext(context.WithoutCancel(ctx), logger)
	controllers := startControllers(lasting, r.opts.NewTerm, Term{Epoch: epoch})
	unfit := r.startChecks(lasting)
	err = controllers.wait(ctx, r.opts.Gate.Expired(), unfit)

	r.opts.Gate.Close()
	leading.Set(0)
	controllers.cancel()
	unfit.cancel()
	drainErr := r.drain(lasting, controllers)
	r.opts.Gate.end()
	<-unfit.done
	if drainErr != nil {
		return fmt.Errorf("epoch %d: %w", epoch, errors.Join(drainErr, err))
	}
	logger.Info("Term has ended", "reason", endReason(ctx, err))
	if err != nil {
		return fmt.Errorf("epoch %d: %w", epoch, err)
	}
	return nil
}

func (r *Runner) raiseEpoch(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.CheckLimit)
	defer cancel()
	return r.opts.RaiseEpoch(ctx)
}

// drain waits until the controllers have returned and their last write has ended.
func (r *Runner) drain(ctx context.Context, c *controllers) error {
	limited, cancel := context.WithTimeout(ctx, r.opts.DrainLimit)
	defer cancel()
	select {
	case <-c.done:
	case <-limited.Done():
		return fmt.Errorf("%w: its controllers still run after %s", ErrNotDrained, r.opts.DrainLimit)
	}
	// Calls return when their context is cancelled; what they have sent may still be under way.
	if err := r.opts.Gate.Idle(limited); err != nil {
		return fmt.Errorf("%w: after %s %w", ErrNotDrained, r.opts.DrainLimit, err)
	}
	return nil
}

// controllers are a term's controllers at work.
type controllers struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set when done is closed
}

// startControllers builds and starts a term's controllers in a goroutine, because building them
// may block too: it asks API servers what they serve.
func startControllers(ctx context.Context, newTerm NewTermFunc, term Term) *controllers {
	ctx, cancel := context.WithCancel(ctx)
	c := &controllers{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		starter, err := newTerm(ctx, term)
		if err != nil {
			c.err = fmt.Errorf("build the controllers: %w", err)
			return
		}
		c.err = starter.Start(ctx)
	}()
	return c
}

// wait waits for whatever ends the term first, and returns why, or nil if it is the end of ctx.
func (c *controllers) wait(ctx context.Context, gate <-chan struct{}, unfit *checks) error {
	select {
	case <-ctx.Done():
		return nil
	case <-gate:
		return fmt.Errorf("the lease was lost: %w", ErrClosed)
	case <-unfit.done:
		return unfit.err
	case <-c.done:
	}
	if c.err != nil {
		return fmt.Errorf("controllers: %w", c.err)
	}
	return errors.New("controllers stopped by themselves")
}

// checks ask again and again whether a term can work.
type checks struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // why it cannot; set when done is closed
}

func (r *Runner) startChecks(ctx context.Context) *checks {
	ctx, cancel := context.WithCancel(ctx)
	c := &checks{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		if r.opts.Check == nil {
			<-ctx.Done()
			return
		}
		c.err = r.check(ctx)
	}()
	return c
}

// check returns when ctx ends, or what Check fails with when it has failed for longer than allowed.
func (r *Runner) check(ctx context.Context) error {
	for good := time.Now(); ctx.Err() == nil; sleep(ctx, checkPeriod) {
		limited, cancel := context.WithDeadline(ctx, good.Add(r.opts.CheckLimit))
		began := time.Now()
		err := r.opts.Check(limited)
		cancel()
		if err == nil {
			good = began
		} else if time.Since(good) >= r.opts.CheckLimit-checkPeriod {
			return fmt.Errorf("what a term needs has been out of reach for %s: %w", time.Since(good).Round(time.Second), err)
		}
	}
	return nil
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
