// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"container/heap"
	"context"
	"errors"
	"hash/fnv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

const (
	// triggerGap is the least time between the start of a probe and of the
	// next one that ProbeNow asks for.
	triggerGap = 200 * time.Millisecond
	// firstGap spaces the first probes of targets, each of which costs a TLS
	// handshake: ten thousand at once would time out for want of our own CPU.
	firstGap = 2 * time.Millisecond
)

// ProberOptions are the times of probing; zero values mean the defaults.
type ProberOptions struct {
	// Period is from one probe's start to the next one's; default 5 s.
	Period time.Duration
	// Timeout is how long a probe may take; default 2 s.
	Timeout time.Duration
	// Retry is from the end of a failed probe to the next one, until the
	// cluster is Down; default 1 s.
	Retry time.Duration
	// Recovery is how long a cluster that was Down has to answer before it is
	// Ready again; default 10 s.
	Recovery time.Duration
}

func (o ProberOptions) withDefaults() ProberOptions {
	for _, option := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Period, 5 * time.Second},
		{&o.Timeout, 2 * time.Second},
		{&o.Retry, time.Second},
		{&o.Recovery, 10 * time.Second},
	} {
		if *option.value <= 0 {
			*option.value = option.standard
		}
	}
	return o
}

// Target is a cluster to probe.
type Target struct {
	Ref
	// UID is the registration's: another one under the same Ref starts anew.
	UID types.UID
	// FailureThreshold is the number of consecutive failures that make the
	// cluster Down; DefaultFailureThreshold if zero or less.
	FailureThreshold int
	// Checks, if set, are run after every probe that finds the API server healthy. Set
	// replaces them.
	Checks Checks
	// Health is what was known of the cluster before this prober. It is read
	// when a target is new to the prober, which knows better afterwards.
	Health Health
}

// Prober watches the health of clusters. Each has its own schedule: a probe
// every Period, whose phase is its own, sooner while failures add up. With the
// defaults a dead process shows within 7 s and a black hole within 13 s; a
// connection that breaks, and a request elsewhere that fails, trigger a probe
// at once and make it less.
//
// Between probes a target costs no goroutine, and a probe that hangs delays no
// other.
type Prober struct {
	clusters *Clusters
	report   func(Ref, types.UID, Health)
	options  ProberOptions

	wake chan struct{} // capacity 1: the head of the schedule may have changed

	mu       sync.Mutex
	targets  map[Ref]*target
	schedule schedule
	first    time.Time // when the latest first probe is due
}

// target is a cluster's place in the schedule.
type target struct {
	Ref
	uid      types.UID
	vitals   vitals
	checks   Checks
	reported Health
	evidence evidence
	memory   probeMemory // the running probe's alone

	due     time.Time
	index   int // in the schedule; -1 while being probed
	started time.Time
	fresh   bool // not probed yet, and out of phase
	again   bool // asked for while being probed
	removed bool
}

// NewProber returns a prober without targets. report is called when a
// cluster's Health changes, and never twice at the same time for one cluster;
// it should only take note, since the cluster's next probe waits for it. A
// call that has begun may outlast Remove: the UID tells which target it is about.
func NewProber(clusters *Clusters, report func(Ref, types.UID, Health), options ProberOptions) *Prober {
	return &Prober{
		clusters: clusters,
		report:   report,
		options:  options.withDefaults(),
		wake:     make(chan struct{}, 1),
		targets:  map[Ref]*target{},
	}
}

// Set adds a cluster, or updates one. The first probe of a cluster that has
// never been ready comes at once, since its user is waiting; the others start
// anywhere in the first period, so that they spread.
func (p *Prober) Set(t Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	vitals := restore(t.Health, t.FailureThreshold, p.options.Recovery)
	if known := p.targets[t.Ref]; known != nil && known.uid == t.UID {
		known.vitals.threshold = vitals.threshold
		known.checks = t.Checks
		return
	}
	p.remove(t.Ref)
	now := time.Now()
	due := now
	if t.Health.EverReady {
		due = now.Add(p.phase(t.Ref))
	}
	if p.first = p.first.Add(firstGap); p.first.Before(now) {
		p.first = now
	}
	if due.Before(p.first) {
		due = p.first
	}
	added := &target{Ref: t.Ref, uid: t.UID, vitals: vitals, checks: t.Checks, reported: t.Health, due: due, fresh: !t.Health.EverReady}
	p.targets[t.Ref] = added
	heap.Push(&p.schedule, added)
	p.rouse()
}

// Remove ends the probing of a cluster.
func (p *Prober) Remove(ref Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(ref)
}

func (p *Prober) remove(ref Ref) {
	t := p.targets[ref]
	if t == nil {
		return
	}
	delete(p.targets, ref)
	t.removed = true
	if t.index >= 0 {
		heap.Remove(&p.schedule, t.index)
	}
}

// ProbeNow asks for a probe at once, or after the one that is under way. It
// does nothing for a cluster whose failures are being counted: those are to be
// Retry apart, and the next probe is that close already.
func (p *Prober) ProbeNow(ref Ref) { p.trigger(ref, triggerGap, false) }

// suspect is ProbeNow for signs of trouble, which say nothing new of a cluster
// that is Down and which our own probes cause, too.
func (p *Prober) suspect(ref Ref) { p.trigger(ref, p.options.Retry, true) }

func (p *Prober) trigger(ref Ref, gap time.Duration, onlyUp bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[ref]
	if t == nil || t.vitals.urgent() || onlyUp && t.vitals.health.Down {
		return
	}
	if t.index < 0 {
		t.again = true
		return
	}
	now := time.Now()
	due := t.started.Add(gap)
	if due.Before(now) {
		due = now
	}
	if due.Before(t.due) {
		t.due = due
		heap.Fix(&p.schedule, t.index)
		p.rouse()
	}
}

// Health returns what is known of a cluster now; false if it is not a target.
func (p *Prober) Health(ref Ref) (Health, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[ref]
	if t == nil {
		return Health{}, false
	}
	return t.reported, true
}

// phase is a cluster's share of the period, the same on every start.
func (p *Prober) phase(ref Ref) time.Duration {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(ref.String()))
	return time.Duration(hash.Sum64() % uint64(p.options.Period))
}

// rouse makes Run look at the schedule again.
func (p *Prober) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

var errProberRuns = errors.New("a prober of these clusters is running already")

// Run probes until ctx ends, and returns when the last probe has.
func (p *Prober) Run(ctx context.Context) error {
	suspect := p.suspect
	if !p.clusters.suspect.CompareAndSwap(nil, &suspect) {
		return errProberRuns
	}
	defer p.clusters.suspect.Store(nil)
	var probes sync.WaitGroup
	defer probes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-timer.C:
		}
		for t := p.next(); t != nil; t = p.next() {
			probes.Go(func() { p.probe(ctx, t) })
		}
		timer.Reset(p.untilNext())
	}
}

// next takes a target that is due off the schedule, nil if there is none.
func (p *Prober) next() *target {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.schedule) == 0 || time.Until(p.schedule[0].due) > 0 {
		return nil
	}
	t := heap.Pop(&p.schedule).(*target)
	t.started, t.again = time.Now(), false
	return t
}

func (p *Prober) untilNext() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.schedule) == 0 {
		return time.Hour
	}
	return time.Until(p.schedule[0].due)
}

// probe looks at a target, reports what changed, and schedules the next look.
func (p *Prober) probe(ctx context.Context, t *target) {
	o := p.look(ctx, t.Ref, &t.memory)
	if checks, ready := p.checksOf(t); checks != nil && o.outcome == healthy {
		p.runChecks(ctx, t.Ref, checks, ready, &o)
	}
	o.at = t.due
	before, after, current := p.take(t, o)
	if !current {
		// The registration went during the probe, which may have brought
		// back what was forgotten with it.
		p.clusters.Forget(t.Ref)
		return
	}
	if before != after {
		logChange(ctx, t.Ref, before, after)
		p.report(t.Ref, t.uid, after)
	}
	p.reschedule(t, o)
}

// checksOf returns a target's checks, and whether it is ready.
func (p *Prober) checksOf(t *target) (checks Checks, ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return t.checks, t.vitals.health.Ready
}

// take lets the state machine observe.
func (p *Prober) take(t *target, o observation) (before, after Health, current bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.removed {
		return Health{}, Health{}, false
	}
	before = t.reported
	t.vitals.observe(o)
	t.evidence.observe(o.outcome, t.started)
	t.reported = t.vitals.health
	return before, t.reported, true
}

// reschedule puts a target back after its probe.
func (p *Prober) reschedule(t *target, o observation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.removed {
		return
	}
	now := time.Now()
	switch {
	case t.vitals.urgent() && o.outcome != refused:
		t.due = now.Add(p.options.Retry)
	case t.again:
		t.due = t.started.Add(p.options.Retry)
	case o.unasked:
		// Each look is a request to the host, and many clusters may be without
		// credentials at once.
		t.due = t.due.Add(recheckEvery + p.phase(t.Ref))
	case t.fresh:
		// Jitter shifts the phase by a period that is shorter, never longer.
		t.due = t.due.Add(max(p.phase(t.Ref), p.options.Retry))
	default:
		t.due = t.due.Add(p.options.Period)
	}
	if t.due.Before(now) {
		t.due = now
	}
	t.fresh = false
	heap.Push(&p.schedule, t)
	p.rouse()
}

func logChange(ctx context.Context, ref Ref, before, after Health) {
	logger := klog.FromContext(ctx).WithValues("cluster", ref.String())
	switch {
	case after.Down && !before.Down:
		logger.Info("Cluster is down", "reason", after.Message)
	case after.Ready && !before.Ready:
		logger.Info("Cluster is ready", "version", after.Version)
	case after.CredentialsInvalid && !before.CredentialsInvalid:
		logger.Info("Cluster does not accept the credentials", "reason", after.Message)
	}
}

// schedule is a heap of targets, the one that is due first on top.
type schedule []*target

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push is heap.Interface's.
func (s *schedule) Push(x any) {
	t := x.(*target)
	t.index = len(*s)
	*s = append(*s, t)
}

// Pop is heap.Interface's.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	t := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	t.index = -1
	return t
}
