// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

var (
	healthUp      = Health{Ready: true, EverReady: true}
	healthFailing = Health{Ready: true, EverReady: true, Failures: 1}
	healthDown    = Health{EverReady: true, Down: true, Failures: 3}
	healthNever   = Health{Down: true, Failures: 3}
)

func TestBrake(t *testing.T) {
	// A step is what happens to a cluster after some seconds, and what the
	// brake then says.
	type step struct {
		after   int
		cluster int
		health  Health
		halted  bool
	}
	for name, test := range map[string]struct {
		up, down, never int // clusters at the start, numbered in this order
		engaged         bool
		steps           []step
		want            BrakeState
	}{
		"two of two are everyday life": {
			up:    2,
			steps: []step{{1, 0, healthDown, false}, {1, 1, healthDown, false}},
			want:  BrakeState{Fleet: 2, Down: 2},
		},
		"three of three are not": {
			up:    3,
			steps: []step{{1, 0, healthDown, false}, {1, 1, healthDown, false}, {1, 2, healthDown, true}},
			want:  BrakeState{Halted: true, Fleet: 3, Down: 3},
		},
		"three of six are half, not over half": {
			up:    6,
			steps: []step{{1, 0, healthDown, false}, {1, 1, healthDown, false}, {1, 2, healthDown, false}},
			want:  BrakeState{Fleet: 6, Down: 3},
		},
		"four of six are over half": {
			up:    6,
			steps: []step{{1, 0, healthDown, false}, {1, 1, healthDown, false}, {1, 2, healthDown, false}, {1, 3, healthDown, true}},
			want:  BrakeState{Halted: true, Fleet: 6, Down: 4},
		},
		"one after the other over minutes": {
			up:    4,
			steps: []step{{1, 0, healthDown, false}, {31, 1, healthDown, false}, {31, 2, healthDown, false}, {31, 3, healthDown, false}},
			want:  BrakeState{Fleet: 1, Down: 1},
		},
		"those long dead neither count nor raise the bar": {
			up: 4, down: 6,
			steps: []step{{1, 0, healthDown, false}, {1, 1, healthDown, false}, {1, 2, healthDown, true}},
			want:  BrakeState{Halted: true, Fleet: 4, Down: 3},
		},
		"registrations that never worked do not count": {
			up: 3, never: 6,
			steps: []step{{1, 3, healthNever, false}, {1, 4, healthNever, false}, {1, 5, healthNever, false}, {1, 6, healthNever, false}},
			want:  BrakeState{Fleet: 3},
		},
		"the first verdict holds the sets while the others are failing": {
			up:    5,
			steps: []step{{1, 0, healthFailing, false}, {0, 1, healthFailing, false}, {0, 2, healthFailing, false}, {2, 0, healthDown, true}},
			want:  BrakeState{Halted: true, Fleet: 5, Down: 1, Failing: 2},
		},
		"and lets go when they turn out to be well": {
			up: 5,
			steps: []step{{1, 0, healthFailing, false}, {0, 1, healthFailing, false}, {0, 2, healthFailing, false}, {2, 0, healthDown, true},
				{0, 2, healthUp, false}},
			want: BrakeState{Fleet: 5, Down: 1, Failing: 1},
		},
		"failing alone is no verdict": {
			up:    3,
			steps: []step{{1, 0, healthFailing, false}, {0, 1, healthFailing, false}, {0, 2, healthFailing, false}},
			want:  BrakeState{Fleet: 3, Failing: 3},
		},
		"it holds until fewer than half are down": {
			up: 4,
			steps: []step{{1, 0, healthDown, false}, {1, 1, healthDown, false}, {1, 2, healthDown, true}, {1, 3, healthDown, true},
				{600, 0, healthUp, true}, {1, 1, healthUp, true}, {1, 2, healthUp, false}},
			want: BrakeState{Fleet: 3}, // the fourth is long dead by then
		},
		"a restart in the middle of it keeps it": {
			up: 1, down: 3, engaged: true,
			steps: []step{{60, 1, healthUp, true}, {1, 2, healthUp, false}},
			want:  BrakeState{Fleet: 3},
		},
		"a restart with a fleet that is well ends it": {
			up: 3, down: 1, engaged: true,
			want: BrakeState{Fleet: 4, Down: 1},
		},
		"a restart beside a fleet long dead does not begin it": {
			down:  5,
			steps: []step{{1, 0, healthDown, false}, {1, 1, healthDown, false}},
			want:  BrakeState{},
		},
		"a cluster that comes back counts again": {
			up: 2, down: 1,
			steps: []step{{1, 2, healthUp, false}, {1, 0, healthDown, false}, {1, 1, healthDown, false}, {1, 2, healthDown, true}},
			want:  BrakeState{Halted: true, Fleet: 3, Down: 3},
		},
		"messages of one that is down change nothing": {
			up: 3,
			steps: []step{{1, 0, healthDown, false}, {40, 0, Health{EverReady: true, Down: true, Message: "other"}, false},
				{1, 1, healthDown, false}, {1, 2, healthDown, false}},
			want: BrakeState{Fleet: 2, Down: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
			known := map[Ref]Health{}
			for i := range test.up + test.down + test.never {
				health := healthUp
				if i >= test.up {
					health = healthDown
				}
				if i >= test.up+test.down {
					health = Health{}
				}
				known[numbered(i)] = health
			}
			b := NewBrake(now, test.engaged, known)
			for i, s := range test.steps {
				now.SetTime(now.Now().Add(time.Duration(s.after) * time.Second))
				if got := b.Observe(numbered(s.cluster), s.health); got != s.halted {
					t.Errorf("step %d: halted %v, %+v", i, got, b.State())
				}
			}
			if diff := cmp.Diff(test.want, b.State()); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

func numbered(i int) Ref { return ref(fmt.Sprintf("c%d", i)) }

func TestBrakeForgetsClusters(t *testing.T) {
	known := map[Ref]Health{}
	for i := range 4 {
		known[numbered(i)] = healthUp
	}
	b := NewBrake(clock.RealClock{}, false, known)
	for i := range 3 {
		b.Observe(numbered(i), healthDown)
	}
	if !b.State().Halted {
		t.Fatal("not halted")
	}
	b.Forget(numbered(0))
	b.Forget(numbered(7))
	if !b.State().Halted {
		t.Error("two of three are over half")
	}
	b.Forget(numbered(1))
	b.Forget(numbered(2))
	if diff := cmp.Diff(BrakeState{Fleet: 1}, b.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestAnEngagedBrakeForgetsWhoHasRecovered(t *testing.T) {
	known := map[Ref]Health{}
	for i := range 4 {
		known[numbered(i)] = healthUp
	}
	now := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
	b := NewBrake(now, false, known)
	for i := range 3 {
		b.Observe(numbered(i), healthDown)
	}
	for range 1000 {
		now.SetTime(now.Now().Add(time.Minute))
		b.Observe(numbered(3), healthDown)
		if !b.Observe(numbered(3), healthUp) {
			t.Fatal("the brake has let go")
		}
	}
	if len(b.fallen) > 2*len(known) {
		t.Errorf("%d falls of %d clusters are remembered", len(b.fallen), len(known))
	}
}

// model is the brake by its definition, without any bookkeeping.
type model struct {
	engaged bool
	members map[int]*modelMember
}

type modelMember struct {
	health Health
	fell   time.Time // zero: nobody saw it fall
	dead   bool      // down for longer than the window, while not engaged
}

func (m *model) settle(now time.Time) (BrakeState, bool) {
	for pass := 0; ; pass++ {
		state := BrakeState{}
		for _, member := range m.members {
			if !m.engaged && member.health.Down && now.Sub(member.fell) > BrakeWindow {
				member.dead = true
			}
			if !member.health.EverReady || member.dead {
				continue
			}
			state.Fleet++
			switch {
			case member.health.Down:
				state.Down++
			case member.health.Failures > 0:
				state.Failing++
			}
		}
		over := state.Down >= 3 && 2*state.Down > state.Fleet
		if m.engaged && pass == 0 && (state.Fleet == 0 || 2*state.Down < state.Fleet) {
			m.engaged = false
			continue // without it, the dead are left out
		}
		m.engaged = m.engaged || over
		suspected := state.Down >= 1 && state.Down+state.Failing >= 3 && 2*(state.Down+state.Failing) > state.Fleet
		state.Halted = m.engaged || suspected
		return state, over
	}
}

func TestBrakeFollowsItsDefinition(t *testing.T) {
	var engagements int
	rapid.Check(t, func(t *rapid.T) {
		clusters := rapid.IntRange(1, 9).Draw(t, "clusters")
		now := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
		b := NewBrake(now, false, nil)
		m := &model{members: map[int]*modelMember{}}
		for i := range rapid.IntRange(1, 80).Draw(t, "length") {
			now.SetTime(now.Now().Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "seconds")) * time.Second))
			cluster := rapid.IntRange(0, clusters-1).Draw(t, "cluster")
			if rapid.IntRange(0, 30).Draw(t, "forget") == 0 {
				b.Forget(numbered(cluster))
				delete(m.members, cluster)
			} else {
				health := rapid.SampledFrom([]Health{healthUp, healthFailing, healthDown, healthDown, {}, healthNever}).Draw(t, "health")
				member := m.members[cluster]
				if member != nil && member.health.EverReady {
					health.EverReady = true // which is never cleared
				}
				b.Observe(numbered(cluster), health)
				switch {
				case member == nil:
					m.members[cluster] = &modelMember{health: health, dead: health.Down}
				case !health.Down:
					*member = modelMember{health: health}
				case !member.health.Down && member.health.EverReady:
					*member = modelMember{health: health, fell: now.Now()}
				default:
					// A registration that never worked does not fall.
					dead := member.dead || !member.health.EverReady
					*member = modelMember{health: health, fell: member.fell, dead: dead}
				}
			}
			want, over := m.settle(now.Now())
			if over {
				engagements++
			}
			if got := b.State(); got != want {
				t.Fatalf("step %d: got %+v, want %+v", i, got, want)
			}
		}
	})
	if engagements == 0 {
		t.Error("no case engaged the brake")
	}
}

// The law itself: whenever three or more and over half of the clusters that
// were up went Down within the window, and are still, sets are held.
func TestBrakeHoldsWheneverTheLawSaysSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fleet := rapid.IntRange(3, 40).Draw(t, "fleet")
		falling := rapid.IntRange(max(3, fleet/2+1), fleet).Draw(t, "falling")
		now := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
		known := map[Ref]Health{}
		for i := range fleet {
			known[numbered(i)] = healthUp
		}
		b := NewBrake(now, false, known)
		within := BrakeWindow
		var halted bool
		for i := range falling {
			pause := time.Duration(rapid.Int64Range(0, int64(within)).Draw(t, "pause"))
			within -= pause
			now.SetTime(now.Now().Add(pause))
			halted = b.Observe(numbered(i), healthDown)
		}
		if !halted {
			t.Fatalf("%d of %d fell and nothing is held: %+v", falling, fleet, b.State())
		}
		// It ends when, and only when, fewer than half are down.
		for i := range falling {
			now.SetTime(now.Now().Add(time.Minute))
			halted = b.Observe(numbered(i), healthUp)
			if down := falling - i - 1; halted != (2*down >= fleet) {
				t.Fatalf("with %d of %d down: halted %v", down, fleet, halted)
			}
		}
	})
}

func BenchmarkBrakeWholeFleetFalls(b *testing.B) {
	const fleet = 10_000
	known := map[Ref]Health{}
	for i := range fleet {
		known[numbered(i)] = healthUp
	}
	for b.Loop() {
		brake := NewBrake(clock.RealClock{}, false, known)
		for ref := range known {
			brake.Observe(ref, healthDown)
		}
	}
}
