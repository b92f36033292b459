// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// chaos does things to a cluster.
type chaos struct {
	*cluster
	rand *rand.Rand
	// saved is the Lease as it once was.
	saved *coordinationv1.Lease
	// alive are the replicas that were not killed or stopped.
	alive []*replica
	steps []string
}

func (c *chaos) any() *replica { return c.alive[c.rand.IntN(len(c.alive))] }

func (c *chaos) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rand.Int64N(int64(most-least)))
}

// start starts a replica whose controllers write all the time and may crash, and whose clocks are not
// quite right.
func (c *chaos) start() {
	r := c.cluster.start(
		atSpeed(0.99+0.02*c.rand.Float64()),
		working(func(ctx context.Context, r *replica) {
			for ctx.Err() == nil {
				_ = hangingWrite(c.t, r, 30*time.Millisecond)
				select {
				case <-r.crash:
					return
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		}),
	)
	r.clock.jump(c.between(-time.Hour, time.Hour))
	c.alive = append(c.alive, r)
}

// faults by name. What they begin ends by itself or at the next calm.
func (c *chaos) faults() map[string]func() {
	set := func(change func(*coordinationv1.LeaseSpec)) func() {
		return func() { c.host.edit(func(l *coordinationv1.Lease) { change(&l.Spec) }) }
	}
	faults := map[string]func(){
		"clock":   func() { c.any().clock.jump(c.between(-time.Minute, time.Minute)) },
		"kill":    func() { c.end(refused) },
		"sigterm": func() { c.end(none) },
		"crash": func() {
			select {
			case c.any().crash <- errors.New("crash"):
			default:
			}
		},
		"no etcd": func() { c.raiseFails(c.any(), errors.New("no etcd")) },
		"delete":  func() { c.host.delete() },
		"save":    func() { c.saved, _ = c.host.get() },
		"restore": func() {
			if c.saved != nil {
				_, _ = c.host.put(c.saved, true)
			}
		},
		"label":    func() { c.host.edit(func(l *coordinationv1.Lease) { l.Labels = map[string]string{"a": "b"} }) },
		"nobody":   set(func(s *coordinationv1.LeaseSpec) { s.HolderIdentity = ptr.To("") }),
		"stranger": set(func(s *coordinationv1.LeaseSpec) { s.HolderIdentity = ptr.To("stranger") }),
		"rename":   set(func(s *coordinationv1.LeaseSpec) { s.HolderIdentity = ptr.To(c.any().name) }),
		"a day on": set(func(s *coordinationv1.LeaseSpec) {
			s.RenewTime = &metav1.MicroTime{Time: time.Now().Add(24 * time.Hour)}
		}),
		"a day ago": set(func(s *coordinationv1.LeaseSpec) {
			s.RenewTime = &metav1.MicroTime{Time: time.Now().Add(-24 * time.Hour)}
		}),
		"short":        set(func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = ptr.To[int32](1) }),
		"long":         set(func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = ptr.To[int32](3600) }),
		"emptied spec": set(func(s *coordinationv1.LeaseSpec) { *s = coordinationv1.LeaseSpec{} }),
	}
	for _, trouble := range []trouble{refused, swallowed, unanswered, late, stopped} {
		faults[fmt.Sprintf("trouble %d", trouble)] = func() { c.any().link.set(trouble) }
		// Twice as often, because they do nothing where nobody leads.
		faults[fmt.Sprintf("leader's trouble %d", trouble)] = func() {
			for _, r := range c.alive {
				if slices.Contains(c.open(nil), r.name) {
					r.link.set(trouble)
				}
			}
		}
	}
	return faults
}

// end ends a replica, and starts another one.
func (c *chaos) end(t trouble) {
	i := c.rand.IntN(len(c.alive))
	r := c.alive[i]
	r.link.set(t)
	c.alive = slices.Delete(c.alive, i, i+1)
	r.cancel()
	c.start()
}

func (c *chaos) raiseFails(r *replica, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raise = err
}

// calm ends all faults.
func (c *chaos) calm() {
	for _, r := range c.alive {
		r.link.set(none)
		c.raiseFails(r, nil)
	}
}

// TestFaultsNeverLeadToTwoLeaders: while anything happens to replicas, their clocks and links, and the
// Lease, no two gates are open at once, and when it ends, one is, soon.
func TestFaultsNeverLeadToTwoLeaders(t *testing.T) {
	const rounds = 150
	seed := uint64(time.Now().UnixNano())
	struck := map[string]int{}
	for round := range uint64(rounds) {
		synctest.Test(t, func(t *testing.T) {
			c := &chaos{cluster: newCluster(t), rand: rand.New(rand.NewPCG(seed, round))}
			for range 3 {
				c.start()
			}
			faults := c.faults()
			names := slices.Sorted(func(yield func(string) bool) {
				for name := range faults {
					if !yield(name) {
						return
					}
				}
			})
			for range 4 {
				for range 1 + c.rand.IntN(6) {
					name := names[c.rand.IntN(len(names))]
					c.steps = append(c.steps, fmt.Sprintf("%s %s", time.Now().Format("04:05.000"), name))
					struck[name]++
					faults[name]()
					time.Sleep(c.between(time.Millisecond, 4*time.Second))
				}
				c.calm()
				c.settles()
			}
			c.stopAll()
			if t.Failed() {
				t.Logf("seed %d, round %d: %q", seed, round, c.steps)
			}
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("seed %d, struck %v", seed, struck)
}

// settles waits until one of the living leads and goes on leading.
func (c *chaos) settles() {
	// A term that failed pauses for up to 30 s, and a Lease that says so runs for a minute.
	const limit = MaxLeaseDuration + 30*time.Second + 2*takeover
	var leader []string
	since := time.Now()
	for end := since.Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if open := c.open(nil); len(open) != 1 || !slices.Equal(open, leader) {
			leader, since = open, time.Now()
		}
		if time.Since(since) > 15*time.Second {
			return
		}
	}
	c.t.Errorf("%s: nobody leads for 15s within %s; the last was %v", time.Now().Format("04:05.000"), limit, leader)
}
