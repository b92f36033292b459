// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/test/fleet"
)

// outage is how long what all replicas need is away.
const outage = 12 * time.Second

// nobody is who has the Lease after it was edited: no replica.
const nobody = "somebody"

// testQuorum kills two members of three for a while, so that nothing can be read
// or written, and then sees to it that nothing was lost and nobody was ended.
func (e *environment) testQuorum(t *testing.T) {
	before, pids := e.uids(t), e.pids()
	members := e.fleet.Muster.Members()
	kept := e.random.IntN(len(members))
	_, content := e.mustStrikeInChange(t, "quorum of etcd lost", "after the quorum was lost", func() {
		for i, member := range members {
			if i == kept {
				continue
			}
			if err := member.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	})
	e.expectKept(t, outage)
	var starting errgroup.Group
	for i, member := range members {
		if i != kept {
			starting.Go(func() error { return member.Start(t.Context()) })
		}
	}
	t.Logf("a change arrived %.2f s after the members were started again", e.awaitActiveHas(t, content).Seconds())
	if err := starting.Wait(); err != nil {
		t.Fatal(err)
	}
	e.awaitSettled(t, content)
	e.expectSame(t, before, pids)
}

// testHostRestart kills the host's API server and starts it again after a while.
func (e *environment) testHostRestart(t *testing.T) {
	before, pids, content := e.uids(t), e.pids(), e.fresh("before the host was away")
	// Whether the change got through is not known to whoever made it.
	_, err := e.strikeInChange(t, "host killed", content, func() {
		if err := e.fleet.Host.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("who made the change was told: %v", err)
	e.expectKept(t, e.moment(outage))
	started := time.Now()
	if err := e.fleet.Host.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	content = e.fresh("after the host was away")
	e.starts = append(e.starts, [2]time.Time{started, back})
	e.change(t, content)
	e.awaitActiveHas(t, content)
	t.Logf("a change arrived %.2f s after the host was back", time.Since(back).Seconds())
	e.awaitSettled(t, content)
	e.expectSame(t, before, pids)
}

// testLease deletes the Lease, and then writes somebody else's name into it.
// Replicas find a leader without help.
func (e *environment) testLease(t *testing.T) {
	e.leader(t)
	pids, leases := e.pids(), e.host.CoordinationV1().Leases(fleet.Namespace)
	struck, content := e.mustStrikeInChange(t, "lease deleted", "after the lease was deleted", func() {
		if err := leases.Delete(t.Context(), "muster", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("a change arrived after %.2f s", e.awaitActiveHas(t, content).Seconds())
	e.leader(t)
	t.Logf("somebody leads %.2f s after the lease was deleted", time.Since(struck).Seconds())
	edit := []byte(`{"spec":{"holderIdentity":"` + nobody + `"}}`)
	struck, content = e.mustStrikeInChange(t, "lease edited", "after the lease was edited", func() {
		if _, err := leases.Patch(t.Context(), "muster", types.MergePatchType, edit, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	eventually(t, "somebody leads after the lease was edited", takeoverLimit, func(ctx context.Context) error {
		leader, err := e.fleet.Muster.Leader(ctx)
		if err != nil {
			return err
		}
		return e.leads(ctx, leader, true)
	})
	t.Logf("somebody leads %.2f s after the lease was edited", time.Since(struck).Seconds())
	e.awaitSettled(t, content)
	e.expectSame(t, "", pids)
}

// pids are those of the replicas.
func (e *environment) pids() map[string]int {
	pids := map[string]int{}
	for _, replica := range e.fleet.Muster.Replicas() {
		pids[replica.Name()] = replica.PID()
	}
	return pids
}

// expectSame sees to it that no object is another than before, and no process.
func (e *environment) expectSame(t *testing.T, before string, pids map[string]int) {
	t.Helper()
	if before != "" {
		if now := e.uids(t); now != before {
			t.Errorf("there is\n%s\nthere was\n%s", now, before)
		}
	}
	for name, pid := range e.pids() {
		if pids[name] != pid {
			t.Errorf("%s is process %d and was %d: the fault has ended it", name, pid, pids[name])
		}
	}
}

// expectKept sees to it that content stays where it is for all of that time.
func (e *environment) expectKept(t *testing.T, during time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	kept := errors.New("content is where it was")
	err := fleet.Await(ctx, func(ctx context.Context) error {
		if _, err := e.active(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("while nobody could know better: %v", err)
			return nil
		}
		return kept
	})
	if err == nil {
		t.FailNow()
	}
}
