// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package guard watches over the storage of an installation while a server
// runs: it takes storage into use, keeps in the host's ConfigMap what the
// storage is known by, and has everything stop where it turns out to be another
// one than that. Package identity decides.
//
// A process uses one storage in its life. Once its storage was not the one that
// it has known, its watch caches may hold anything; when the storage can be
// trusted again, Run returns ErrReplaced and the process starts anew. Storage
// that was held from the start and is confirmed needs no such thing: nothing
// else was ever read.
package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/storage/identity"
	"github.com/muster-project/muster/pkg/storage/rounds"
)

// ErrReplaced says that storage can be trusted, but is not what this process
// has read before: the process has to end, and to be started again.
var ErrReplaced = errors.New("storage can be trusted again, but it was replaced while this process ran; it ends, to read everything anew when it is started again")

// errChecking is the state before the first verdict.
var errChecking = errors.New("the storage of Muster is being checked")

// Options are a guard's parts and limits.
type Options struct {
	// Client reaches the storage, Host the ConfigMap. Required.
	Client *clientv3.Client
	Host   kubernetes.Interface
	// Namespace of the host is where the installation lives, Prefix where its keys
	// are. Required.
	Namespace, Prefix string
	// Embedded says that etcd runs in this process: it cannot be replaced while
	// the process lives, and is not asked before each write.
	Embedded bool
	// CheckPeriod is how often storage is looked at. Default: 1 s.
	CheckPeriod time.Duration
	// RecordPeriod is how often the highest revision is recorded. Default: 30 s.
	RecordPeriod time.Duration
}

// Guard knows whether storage can be trusted. It is safe for concurrent use.
type Guard struct {
	opts   Options
	checks *rounds.Rounds[struct{}]

	mu sync.Mutex
	// err is nil where storage is trusted, *identity.Held where it is held, and
	// otherwise why that is not known yet.
	err error
	// expected is what storage is trusted as. Its revision is the highest seen.
	expected identity.Record
	// seen is the first storage that this process found, at the highest revision.
	seen identity.Found
	// tainted says that other storage was found since.
	tainted bool
	// recorded is when this server last made sure of the record.
	recorded time.Time
	// lastRenewed is when any server last recorded that it trusts its storage.
	lastRenewed time.Time

	trusted chan struct{} // closed when storage is trusted
	// lost ends when storage is not trusted any more.
	lost context.Context
	lose context.CancelCauseFunc
	// again makes the keeper look at once.
	again chan struct{}
}

// New returns a guard that trusts nothing yet. ctx limits its life; Run makes
// it look.
func New(ctx context.Context, opts Options) *Guard {
	opts.CheckPeriod = cmp.Or(opts.CheckPeriod, time.Second)
	opts.RecordPeriod = cmp.Or(opts.RecordPeriod, 30*time.Second)
	g := &Guard{
		opts: opts, checks: rounds.New[struct{}](), err: errChecking,
		trusted: make(chan struct{}), again: make(chan struct{}, 1),
	}
	g.lost, g.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	return g
}

// Err returns nil where storage is trusted, an error that is an *identity.Held
// where it is held, and another one before that is known.
func (g *Guard) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Await blocks until storage is trusted, and returns nil, or until ctx ends.
func (g *Guard) Await(ctx context.Context) error {
	select {
	case <-g.trusted:
		return g.Err()
	case <-ctx.Done():
		return fmt.Errorf("wait for storage that can be trusted: %w", context.Cause(ctx))
	}
}

// Lost is a context that ends when storage that was trusted is not any more. It
// never becomes so again in this process.
func (g *Guard) Lost() context.Context { return g.lost }

// While runs run as long as storage is trusted: it waits until it is, gives run
// a context that ends when that ends, and then waits for the end of ctx. So a
// server whose storage is held stays, without whatever run does. It returns
// run's error, and returns where run ends by itself.
func (g *Guard) While(ctx context.Context, run func(context.Context) error) error {
	if g.Await(ctx) != nil {
		<-ctx.Done() // it has, or storage was lost as soon as it was trusted
		return nil
	}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	stop := context.AfterFunc(g.lost, func() { end(context.Cause(g.lost)) })
	defer stop()
	err := run(running)
	if g.lost.Err() == nil || ctx.Err() != nil {
		g.recordSoon()
		return err
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// Verify makes sure that storage could be trusted at a moment after the call
// began. It costs a linearizable read, which callers share.
func (g *Guard) Verify(ctx context.Context) error {
	if err := g.Err(); err != nil || g.opts.Embedded {
		return err
	}
	joined := g.checks.Join()
	select {
	case <-joined.Done():
		_, err := joined.Result()
		return err
	case <-ctx.Done():
		return fmt.Errorf("check the storage: %w", context.Cause(ctx))
	case <-g.lost.Done():
		return g.Err()
	}
}

// Suspect tells that a follower of the store, which had reached revision, has
// found it replaced. Storage is not trusted any more.
func (g *Guard) Suspect(ctx context.Context, revision int64) {
	g.mu.Lock()
	g.expected.Revision = max(g.expected.Revision, revision)
	found, trusted := g.seen, g.err == nil
	g.mu.Unlock()
	if !trusted {
		return
	}
	g.hold(ctx, identity.Restored, found)
}

// Ready returns why traffic should go elsewhere. A server whose storage is held
// is ready, or nobody would be told why the API does not answer, unless other
// servers trust theirs: then it is this one that is wrong, and a rollout must
// not go on with it.
func (g *Guard) Ready() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var held *identity.Held
	if g.err == nil || errors.As(g.err, &held) && (g.opts.Embedded || g.tainted || time.Since(g.lastRenewed) > g.staleAfter()) {
		return nil
	}
	return g.err
}

// staleAfter is how long a record speaks for the servers that renew it.
func (g *Guard) staleAfter() time.Duration { return 5 * g.opts.RecordPeriod / 2 }

// hold stops everything that needs storage.
func (g *Guard) hold(ctx context.Context, reason identity.Reason, found identity.Found) {
	g.mu.Lock()
	wasTrusted := g.err == nil
	expected := g.expected
	held := &identity.Held{Reason: reason, Found: found}
	if expected.Installation != "" {
		held.Expected = &expected
	}
	changed := g.err == nil || g.err.Error() != held.Error()
	g.err = held
	if wasTrusted {
		g.tainted = true
	}
	g.mu.Unlock()
	recordHeld(reason)
	if wasTrusted {
		g.lose(held)
		g.look()
	}
	if changed {
		klog.FromContext(ctx).Error(held, "Storage is held")
	}
}

// trust lets everything begin.
func (g *Guard) trust(ctx context.Context, record identity.Record) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tainted {
		return ErrReplaced
	}
	if g.err == nil {
		return nil
	}
	g.err = nil
	g.expected = record
	g.expected.Revision = max(record.Revision, g.seen.Revision)
	recordHeld("")
	close(g.trusted)
	klog.FromContext(ctx).Info("Storage is trusted", "installation", record.Installation, "etcdCluster", record.ClusterID, "revision", g.expected.Revision)
	return nil
}

// recordSoon has the highest revision recorded without waiting for its time.
func (g *Guard) recordSoon() {
	g.mu.Lock()
	g.recorded = time.Time{}
	g.mu.Unlock()
	g.look()
}

// look makes the keeper look at once.
func (g *Guard) look() {
	select {
	case g.again <- struct{}{}:
	default:
	}
}
