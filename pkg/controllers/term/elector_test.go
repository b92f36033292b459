// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	// nextLook is the longest time between two looks of a follower at the Lease: a retry period and
	// its jitter, and the requests' latency.
	nextLook = 1150 * time.Millisecond
	// atOnce is how long the taking of a lease that was given back takes: the news of it, a read and a
	// write.
	atOnce = 50 * time.Millisecond
	// takeover is the longest time from the last sign of a leader to the next one's term.
	takeover = 5*time.Second + 2*nextLook
)

// elected runs a test of so many replicas, once the first of them leads.
func elected(t *testing.T, replicas int, test func(t *testing.T, c *cluster, leader *replica)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.stopAll()
		for range replicas {
			c.start()
		}
		leader, _ := c.leader(10 * time.Second)
		// All followers have seen it, at a moment that is no renewal's.
		time.Sleep(3*time.Second + 123*time.Millisecond)
		test(t, c, leader)
	})
}

func TestOneOfThreeLeads(t *testing.T) {
	elected(t, 3, func(t *testing.T, c *cluster, leader *replica) {
		time.Sleep(10 * time.Minute)
		if open := c.open(nil); !slices.Equal(open, []string{leader.name}) {
			t.Errorf("open are the gates of %v, want that of %s", open, leader.name)
		}
		if c.host.holder() != leader.name {
			t.Errorf("the Lease names %s, want %s", c.host.holder(), leader.name)
		}
		if got := leader.epochsOf(); !slices.Equal(got, []int64{1}) {
			t.Errorf("it led the terms %v, want the first alone", got)
		}
	})
}

func TestTheLeaseSaysWhatClientGoSays(t *testing.T) {
	elected(t, 2, func(t *testing.T, c *cluster, leader *replica) {
		spec := c.host.spec()
		if d, n := ptr.Deref(spec.LeaseDurationSeconds, 0), ptr.Deref(spec.LeaseTransitions, -1); d != 5 || n != 0 {
			t.Errorf("leaseDurationSeconds %d, leaseTransitions %d, want 5 and 0", d, n)
		}
		if age := time.Since(spec.RenewTime.Time); age < 0 || age > time.Second {
			t.Errorf("renewed %s ago", age)
		}
		if err := leader.stop(); err != nil {
			t.Error(err)
		}
		next, _ := c.leader(takeover)
		if next == leader || ptr.Deref(c.host.spec().LeaseTransitions, 0) != 1 {
			t.Errorf("then %s led, with leaseTransitions %d, want the other one with 1", next.name, ptr.Deref(c.host.spec().LeaseTransitions, 0))
		}
	})
}

// TestAReleasedLeaseIsTakenAtOnce: and it is released when the last write has ended, not before, and
// renewed until then.
func TestAReleasedLeaseIsTakenAtOnce(t *testing.T) {
	elected(t, 3, func(t *testing.T, c *cluster, leader *replica) {
		released := false
		c.host.watch(func(lease *coordinationv1.Lease) {
			if ptr.Deref(lease.Spec.HolderIdentity, "") != "" {
				return
			}
			released = true
			if _, writes := leader.gate.idleChannel(); writes > 0 || !closed(leader.gate.Expired()) {
				t.Errorf("released with %d writes in flight, the gate closed: %v", writes, closed(leader.gate.Expired()))
			}
			leader.gate.mu.Lock()
			defer leader.gate.mu.Unlock()
			if !leader.gate.lapsed() {
				t.Error("released while the gate could be opened again")
			}
		})
		const slow = 12 * time.Second // more than the lease lasts
		write := make(chan error, 1)
		go func() { write <- hangingWrite(t, leader, slow) }()
		synctest.Wait()
		began := time.Now()
		if err := leader.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < slow || took > slow+100*time.Millisecond {
			t.Errorf("ended after %s, with a write in flight for %s", took, slow)
		}
		if err := <-write; err != nil {
			t.Errorf("the write: %v, want that it was left alone", err)
		}
		if !released {
			t.Error("not released")
		}
		if next, took := c.leader(atOnce); next == leader {
			t.Errorf("%s leads after its end, %s later", next.name, took)
		}
	})
}

// TestALeaseThatIsNotSafeYetIsNotHandedOn: its holder had not waited until the former one's gate was
// closed.
func TestALeaseThatIsNotSafeYetIsNotHandedOn(t *testing.T) {
	elected(t, 3, func(t *testing.T, c *cluster, leader *replica) {
		leader.link.set(unanswered)
		c.host.edit(func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} })
		time.Sleep(nextLook)
		second := c.replicaNamed(c.host.holder())
		if second == nil || second == leader {
			t.Fatalf("the Lease names %q, want a follower", c.host.holder())
		}
		if err := second.stop(); err != nil { // the third one's gate must not open at once
			t.Error(err)
		}
		if holder := c.host.holder(); holder != "" {
			t.Errorf("not released: the Lease names %q", holder)
		}
		time.Sleep(2 * takeover)
		c.leader(takeover)
	})
}

func TestAKilledLeaderIsReplaced(t *testing.T) {
	elected(t, 3, func(t *testing.T, c *cluster, leader *replica) {
		leader.link.set(refused) // so that nothing is released
		_ = leader.stop()
		next, took := c.leader(takeover)
		if next == leader || took < 3500*time.Millisecond {
			t.Errorf("%s leads %s after the leader's death", next.name, took)
		}
		if c.epochs.last != 2 {
			t.Errorf("its epoch is %d, want 2", c.epochs.last)
		}
	})
}

// TestALeaderThatIsCutOff loses the lease and goes on contending. Every moment between two renewals has
// its turn: a Lease's times are compared by the version, not by the second.
func TestALeaderThatIsCutOff(t *testing.T) {
	for _, cut := range []trouble{refused, swallowed, unanswered, late, stopped} {
		for moment := time.Duration(0); moment < time.Second; moment += 93 * time.Millisecond {
			elected(t, 3, func(t *testing.T, c *cluster, leader *replica) {
				time.Sleep(moment)
				leader.link.set(cut)
				time.Sleep(5 * time.Second)
				if _, err := leader.gate.Epoch(); !errors.Is(err, ErrClosed) {
					t.Errorf("5s later its gate is open (%v)", err)
				}
				next, _ := c.leader(2 * takeover)
				time.Sleep(5 * time.Second)
				leader.link.set(none)
				time.Sleep(time.Minute)
				if open := c.open(nil); next == leader || !slices.Equal(open, []string{next.name}) {
					t.Errorf("cut off %d, at last %v lead, want %s", cut, open, next.name)
				}
				_ = next.stop()
				if err := c.others(leader)[0].stop(); err != nil {
					t.Error(err)
				}
				for _, r := range c.others(leader) {
					_ = r.stop()
				}
				if again, _ := c.leader(takeover); again != leader {
					t.Errorf("%s leads, want the one that had lost the lease", again.name)
				}
			})
		}
	}
}

// TestShortTroubleEndsNoTerm: an answer that is lost does not make our own renewal a stranger's.
func TestShortTroubleEndsNoTerm(t *testing.T) {
	for _, cut := range []trouble{refused, swallowed, unanswered, late, stopped} {
		elected(t, 2, func(t *testing.T, c *cluster, leader *replica) {
			for range 20 {
				leader.link.set(cut)
				time.Sleep(600 * time.Millisecond)
				leader.link.set(none)
				time.Sleep(7 * time.Second)
			}
			if got := leader.epochsOf(); !slices.Equal(got, []int64{1}) {
				t.Errorf("trouble %d: it led the terms %v, want the first alone", cut, got)
			}
		})
	}
}

// TestEditedLeases: whatever a person does to the Lease, the former leader's gate is closed when the
// next one's opens, and somebody leads soon.
func TestEditedLeases(t *testing.T) {
	set := func(change func(*coordinationv1.LeaseSpec)) func(*cluster) {
		return func(c *cluster) { c.host.edit(func(l *coordinationv1.Lease) { change(&l.Spec) }) }
	}
	rename := func(to func(*cluster) string) func(*cluster) {
		return func(c *cluster) {
			name := to(c)
			set(func(s *coordinationv1.LeaseSpec) { s.HolderIdentity = &name })(c)
		}
	}
	at := func(d time.Duration) *metav1.MicroTime { return &metav1.MicroTime{Time: time.Now().Add(d)} }
	for name, edit := range map[string]func(*cluster){
		"another replica":  rename(func(c *cluster) string { return c.others(c.replicaNamed(c.host.holder()))[0].name }),
		"a stranger":       rename(func(*cluster) string { return "stranger" }),
		"nobody":           rename(func(*cluster) string { return "" }),
		"no holder":        set(func(s *coordinationv1.LeaseSpec) { s.HolderIdentity = nil }),
		"deleted":          func(c *cluster) { c.host.delete() },
		"an empty spec":    set(func(s *coordinationv1.LeaseSpec) { *s = coordinationv1.LeaseSpec{} }),
		"renewed tomorrow": set(func(s *coordinationv1.LeaseSpec) { s.RenewTime = at(24 * time.Hour) }),
		"renewed long ago": set(func(s *coordinationv1.LeaseSpec) { s.RenewTime = at(-24 * time.Hour) }),
		"never renewed":    set(func(s *coordinationv1.LeaseSpec) { s.RenewTime = nil }),
		"a short lease":    set(func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = ptr.To[int32](1) }),
		"no lease":         set(func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = ptr.To[int32](0) }),
		"a long lease":     set(func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = ptr.To[int32](1 << 30) }),
		"a label": func(c *cluster) {
			c.host.edit(func(l *coordinationv1.Lease) { l.Labels = map[string]string{"a": "b"} })
		},
		"a faked release": func(c *cluster) {
			c.host.edit(func(l *coordinationv1.Lease) {
				l.Spec.HolderIdentity = nil
				l.Annotations = map[string]string{releasedAnnotation: "another UID"}
			})
		},
	} {
		for trouble, what := range map[trouble]string{none: "", stopped: ", while the leader is stopped", refused: ", while the leader is cut off"} {
			t.Run(name+what, func(t *testing.T) {
				elected(t, 3, func(t *testing.T, c *cluster, leader *replica) {
					leader.link.set(trouble)
					edit(c)
					limit := 3 * takeover
					if name == "a long lease" {
						limit += MaxLeaseDuration
					}
					// The former leader's term may end by its deadline alone.
					time.Sleep(5 * time.Second)
					next, _ := c.leader(limit)
					if trouble != none && next == leader {
						t.Errorf("%s still leads", leader.name)
					}
					leader.link.set(none)
					time.Sleep(takeover)
					if open := c.open(nil); !slices.Equal(open, []string{next.name}) || c.host.holder() != next.name {
						t.Errorf("then %v lead, and the Lease names %s, want %s", open, c.host.holder(), next.name)
					}
				})
			})
		}
	}
}

func (c *cluster) replicaNamed(name string) *replica {
	for _, r := range c.replicas {
		if r.name == name {
			return r
		}
	}
	return nil
}

func TestAnEditEndsTheTermAtOnce(t *testing.T) {
	elected(t, 1, func(t *testing.T, c *cluster, leader *replica) {
		c.host.edit(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("stranger") })
		time.Sleep(600 * time.Millisecond)
		if _, err := leader.gate.Epoch(); !errors.Is(err, ErrClosed) {
			t.Errorf("after the next renewal's failure the gate is open (%v)", err)
		}
		_, took := c.leader(takeover)
		if took < 4*time.Second {
			t.Errorf("it took the lease back %s later, before a stranger's could have run out", took)
		}
	})
}

func TestATermThatFailsGivesTheLeaseAway(t *testing.T) {
	t.Run("controllers", func(t *testing.T) {
		elected(t, 2, func(t *testing.T, c *cluster, leader *replica) {
			leader.crash <- errors.New("crash")
			synctest.Wait()
			if next, took := c.leader(nextLook); next == leader {
				t.Errorf("%s leads again, %s after it failed", next.name, took)
			}
		})
	})
	t.Run("epoch", func(t *testing.T) {
		for name, err := range map[string]error{"fails": errors.New("no etcd"), "hangs": context.DeadlineExceeded} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t)
					defer c.stopAll()
					unfit := c.start(failing(err))
					time.Sleep(time.Second) // it has the lease
					fit := c.start()
					if next, _ := c.leader(30 * time.Second); next != fit {
						t.Errorf("%s leads, want the one that can", next.name)
					}
					time.Sleep(time.Minute)
					if open := c.open(nil); !slices.Equal(open, []string{fit.name}) || len(unfit.epochsOf()) > 0 {
						t.Errorf("at last %v lead, want %s", open, fit.name)
					}
				})
			})
		}
	})
}

func TestAReplicaThatFailsAlonePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.stopAll()
		r := c.start(working(func(context.Context, *replica) {}))
		time.Sleep(5 * time.Minute)
		// 1+2+4+8+16 s, and then one every 30 s.
		if got := len(r.epochsOf()); got < 12 || got > 16 {
			t.Errorf("%d terms in 5 minutes that failed at once, want about 14", got)
		}
	})
}

// TestATermThatDoesNotDrainKeepsTheLease, until it runs out: what still writes may do so for as long.
func TestATermThatDoesNotDrainKeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		hang := make(chan struct{})
		r := c.start(working(func(context.Context, *replica) { <-hang }))
		c.leader(10 * time.Second)
		began := time.Now()
		if err := r.stop(); !errors.Is(err, ErrNotDrained) {
			t.Errorf("Run: %v, want ErrNotDrained", err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("it ended after %s", took)
		}
		if age := time.Since(c.host.spec().RenewTime.Time); c.host.holder() != r.name || age > time.Second {
			t.Errorf("the Lease names %q and was renewed %s ago, want %s, until a moment ago", c.host.holder(), age, r.name)
		}
		close(hang)
	})
}

func TestAJumpOfTheWallClockCostsATerm(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			elected(t, 2, func(t *testing.T, c *cluster, leader *replica) {
				leader.clock.jump(jump)
				_, err := leader.gate.Epoch()
				if open := jump < 0; open != (err == nil) {
					t.Errorf("after the jump the gate is open: %v", err == nil)
				}
				time.Sleep(2 * takeover)
				c.leader(takeover)
			})
		})
	}
}

func TestTimings(t *testing.T) {
	if err := DefaultTiming().Validate(); err != nil {
		t.Error(err)
	}
	s := time.Second
	for name, timing := range map[string]Timing{
		"a part of a second":      {4500 * time.Millisecond, 3 * s, s},
		"a lease that is short":   {s, s / 2, s / 10},
		"a lease that is long":    {61 * s, 3 * s, s},
		"a deadline that is late": {10 * s, 9 * s, s},
		"a retry that is late":    {5 * s, 3 * s, 3 * s},
		"no retry":                {5 * s, 3 * s, 0},
		"nothing":                 {},
	} {
		if _, err := NewElector(ElectorOptions{Timing: timing}); err == nil {
			t.Errorf("%s: %+v is valid", name, timing)
		}
	}
}
