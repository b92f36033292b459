// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/follow"
)

// revisions is a CurrentRevision whose answers the test gives.
type revisions struct {
	asked  chan struct{}
	answer chan int64
	calls  atomic.Int64
}

func newRevisions() *revisions {
	return &revisions{asked: make(chan struct{}, 1000), answer: make(chan int64)}
}

func (r *revisions) current(ctx context.Context) (int64, error) {
	r.calls.Add(1)
	r.asked <- struct{}{}
	select {
	case revision := <-r.answer:
		return revision, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// waiting is a WaitCurrent in a goroutine.
type waiting struct {
	done     chan struct{}
	revision int64
	err      error
}

func waitCurrent(t *testing.T, f *follow.Follower) *waiting {
	w := &waiting{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.revision, w.err = f.WaitCurrent(t.Context())
	}()
	return w
}

// TestWaiterDoesNotJoinARoundThatHasBegun is the reason for rounds: the answer of one that has begun
// may be older than the waiter's own write.
func TestWaiterDoesNotJoinARoundThatHasBegun(t *testing.T) {
	_, client := etcdtest.Start(t)
	at := put(t, client, keyIn(followed[0], 1), "x")
	r := newRevisions()
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{CurrentRevision: r.current})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}

	early := waitCurrent(t, f)
	<-r.asked // early's round has begun
	late := waitCurrent(t, f)
	r.answer <- at
	<-early.done
	if early.err != nil || early.revision < at {
		t.Errorf("early waiter: %d, %v", early.revision, early.err)
	}
	<-r.asked // late's round
	select {
	case <-late.done:
		t.Fatal("the late waiter was content with an answer from before it came")
	default:
	}
	r.answer <- at
	<-late.done
	if late.err != nil {
		t.Errorf("late waiter: %v", late.err)
	}
}

func TestConcurrentReadersShareRounds(t *testing.T) {
	server, client := etcdtest.Start(t)
	var calls atomic.Int64
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{CurrentRevision: func(ctx context.Context) (int64, error) {
		calls.Add(1)
		runtime.Gosched()
		return server.Revision(ctx)
	}})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	const readers = 1000
	var reading sync.WaitGroup
	start := make(chan struct{})
	for range readers {
		reading.Go(func() {
			<-start
			if _, err := f.WaitCurrent(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	reading.Wait()
	if got := calls.Load(); got > readers/2 {
		t.Errorf("%d readings of the revision for %d concurrent readers", got, readers)
	}
}

func TestWaitCurrentPassesOnThatTheStoreDoesNotAnswer(t *testing.T) {
	_, client := etcdtest.Start(t)
	broken := errors.New("no quorum")
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{CurrentRevision: func(context.Context) (int64, error) { return 0, broken }})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WaitCurrent(t.Context()); !errors.Is(err, broken) {
		t.Errorf("error %v, want the store's", err)
	}
}

func TestARevisionThatGoesBackIsAnotherStore(t *testing.T) {
	_, client := etcdtest.Start(t)
	at := put(t, client, keyIn(followed[0], 1), "x")
	m := newMirror()
	f, stop := m.start(t, client, follow.Options{CurrentRevision: func(context.Context) (int64, error) { return at - 1, nil }})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WaitCurrent(t.Context()); !errors.Is(err, follow.ErrStoreReplaced) {
		t.Errorf("error %v, want ErrStoreReplaced", err)
	}
	if err := stop(); !errors.Is(err, follow.ErrStoreReplaced) {
		t.Errorf("Run's error is %v, want ErrStoreReplaced", err)
	}
}

func TestWaitCurrentEndsWithItsContextOrTheFollower(t *testing.T) {
	_, client := etcdtest.Start(t)
	m := newMirror()
	r := newRevisions()
	f, stop := m.start(t, client, follow.Options{CurrentRevision: r.current})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.WaitCurrent(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	w := waitCurrent(t, f)
	<-r.asked
	if err := stop(); err != nil {
		t.Errorf("Run's error is %v at the end of its context", err)
	}
	<-w.done
	if w.err == nil {
		t.Error("a waiter got an answer from a follower that has ended")
	}
	if _, err := f.WaitCurrent(t.Context()); !errors.Is(err, follow.ErrStopped) {
		t.Errorf("error %v, want ErrStopped", err)
	}
}

// TestEventsDoNotWaitForReaders: what one range has is held back until the others are known to be as
// far, and nobody has to ask for that.
func TestEventsDoNotWaitForReaders(t *testing.T) {
	_, client := etcdtest.Start(t)
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{ProgressPeriod: time.Hour})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := put(t, client, keyIn(followed[1], 1), "x")
	for f.Revision() < at {
		runtime.Gosched()
	}
	if _, got := m.snapshot(); len(got) != 1 {
		t.Errorf("the index holds %v, want the one object", got)
	}
}

func TestAnIdleFollowerStaysCurrent(t *testing.T) {
	_, client := etcdtest.Start(t)
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{ProgressPeriod: 10 * time.Millisecond})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := put(t, client, elsewhere+"x", "not followed")
	for f.Revision() < at {
		runtime.Gosched()
	}
}

// TestRangesShareOneStream: a progress response covers the watches of one stream.
func TestRangesShareOneStream(t *testing.T) {
	server, _ := etcdtest.Start(t)
	var streams atomic.Int64
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{server.Endpoint()},
		DialOptions: []grpc.DialOption{grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc,
			conn *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if strings.HasSuffix(method, "/Watch") {
				streams.Add(1)
			}
			return streamer(ctx, desc, conn, method, opts...)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	// Somebody else's watch on the same client, with the same metadata.
	for range client.Watch(clientv3.WithRequireLeader(t.Context()), "/", clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
		break
	}
	others := streams.Load()

	m := newMirror()
	f, _ := m.start(t, client, follow.Options{})
	for range 20 {
		put(t, client, elsewhere+"x", "y")
		m.requireCurrent(t, f, client)
	}
	if got := streams.Load() - others; got != 1 {
		t.Errorf("%d watch streams for %d ranges, want 1", got, len(followed))
	}
}

func TestRunLeavesNoGoroutines(t *testing.T) {
	server := etcdtest.StartIn(t, t.TempDir())
	client, err := etcd.NewClient(t.Context(), etcd.ClientConfig{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	run := func() {
		m := newMirror()
		f, stop := m.start(t, client, follow.Options{})
		m.requireCurrent(t, f, client)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	run()
	before := goroutinesOf("pkg/storage/follow", "clientv3.(*watch")
	for range 20 {
		run()
	}
	// The client's own goroutines end shortly after its watches.
	for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		after := goroutinesOf("pkg/storage/follow", "clientv3.(*watch")
		if after <= before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines of the follower and its watches after 20 runs, %d before", after, before)
		}
	}
}

// goroutinesOf counts the goroutines whose stack mentions one of the names.
func goroutinesOf(names ...string) int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	count := 0
	for _, stack := range strings.Split(string(buf), "\n\n") {
		for _, name := range names {
			if strings.Contains(stack, name) {
				count++
				break
			}
		}
	}
	return count
}
