// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

// Watch has the trouble of all requests: what happens while there is some arrives when it is over.
func (l *link) Watch(ctx context.Context, _ metav1.ListOptions) (watch.Interface, error) {
	if l.unwatched {
		return nil, errors.New("forbidden")
	}
	if _, err := l.request(ctx, func() (*coordinationv1.Lease, error) { return nil, nil }); err != nil {
		return nil, err
	}
	versions := l.host.subscribe()
	events := make(chan watch.Event)
	watcher := watch.NewProxyWatcher(events)
	go func() {
		defer close(events)
		defer l.host.leave(versions)
		for {
			select {
			case lease, open := <-versions:
				if !open || !l.passes(ctx) {
					return
				}
				select {
				case events <- watch.Event{Type: watch.Modified, Object: lease.DeepCopy()}:
				case <-watcher.StopChan():
					return
				case <-ctx.Done():
					return
				}
			case <-watcher.StopChan():
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return watcher, nil
}

// leave ends a watch.
func (h *host) leave(versions chan *coordinationv1.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unsubscribe(versions)
}

// passes waits until something can arrive, and returns false if the connection is gone.
func (l *link) passes(ctx context.Context) bool {
	for {
		now, over := l.now()
		switch now {
		case none:
			time.Sleep(5 * time.Millisecond)
			return true
		case refused:
			return false
		}
		select {
		case <-over:
		case <-ctx.Done():
			return false
		}
	}
}

// TestEveryReleaseIsTakenAtOnce hands the lease on, at every moment between a follower's looks.
func TestEveryReleaseIsTakenAtOnce(t *testing.T) {
	for moment := time.Duration(0); moment < 1200*time.Millisecond; moment += 97 * time.Millisecond {
		elected(t, 3, func(t *testing.T, c *cluster, leader *replica) {
			time.Sleep(moment)
			for range 2 {
				if err := leader.stop(); err != nil {
					t.Error(err)
				}
				leader, _ = c.leader(atOnce)
				time.Sleep(moment)
			}
			synctest.Wait() // for the term to begin, once the gate is open
			if got := leader.epochsOf(); len(got) != 1 || got[0] != 3 {
				t.Errorf("the last one has led the terms %v, want the third alone", got)
			}
		})
	}
}

// TestALeaseThatIsNotWatched is taken at the next look: the right to watch it is missing.
func TestALeaseThatIsNotWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.stopAll()
		unwatched := func(r *replica) { r.link.unwatched = true }
		c.start(unwatched)
		leader, _ := c.leader(10 * time.Second)
		c.start(unwatched)
		time.Sleep(5*time.Second + 321*time.Millisecond)
		if err := leader.stop(); err != nil {
			t.Error(err)
		}
		if next, took := c.leader(nextLook); next == leader {
			t.Errorf("%s leads after its end, %s later", next.name, took)
		}
	})
}

// TestWhatEndsARound: a release that this round has not read, and each but once.
func TestWhatEndsARound(t *testing.T) {
	version := func(resourceVersion, holder string) *coordinationv1.Lease {
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{UID: types.UID("uid"), ResourceVersion: resourceVersion},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To(holder)},
		}
	}
	for name, tc := range map[string]struct {
		read    *coordinationv1.Lease
		held    bool
		noticed []*coordinationv1.Lease
		want    int
	}{
		"a renewal":                        {version("1", "a"), false, []*coordinationv1.Lease{version("2", "a")}, 0},
		"a release":                        {version("1", "a"), false, []*coordinationv1.Lease{version("2", "")}, 1},
		"a release before the first look":  {nil, false, []*coordinationv1.Lease{version("2", "")}, 1},
		"a release that was read":          {version("2", ""), false, []*coordinationv1.Lease{version("2", "")}, 0},
		"a release that another watch saw": {version("1", "a"), false, []*coordinationv1.Lease{version("2", ""), version("2", "")}, 1},
		"two releases":                     {version("1", "a"), false, []*coordinationv1.Lease{version("2", ""), version("3", "b"), version("4", "")}, 2},
		"a release while it is held":       {version("3", "me"), true, []*coordinationv1.Lease{version("2", "")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ended := 0
			l := &lock{lease: tc.read, isHeld: tc.held, lost: func(err error) {
				if ended++; !errors.Is(err, errReleased) {
					t.Errorf("ended with %v", err)
				}
			}}
			for _, lease := range tc.noticed {
				l.noticed(lease)
			}
			if ended != tc.want {
				t.Errorf("ended %d times, want %d", ended, tc.want)
			}
		})
	}
}
