// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/fleet"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	// queueRetry is the pause before a summary asks again for a place in its
	// cluster's queue, in which a thousand others stand.
	queueRetry = 5 * time.Second
)

// outcome is how the last job of a summary ended.
type outcome struct {
	// uid is the summary's: one that was made again under the same name starts
	// anew.
	uid types.UID
	// fingerprint says what was deployed; see fingerprint.
	fingerprint string
	ended       time.Time
	// refresh is when a source has to be fetched again, zero if none has.
	refresh time.Time
	// failures counts the jobs in a row that failed.
	failures int
	// err is of no feature: the cluster cannot be reached, for example.
	err    error
	result deploy.Result
	// parts are what result is put together from.
	parts parts
	// changed says that something had changed before the job began.
	changed bool
	// inARow counts, for each list, the jobs in a row that failed because of it, and
	// final says that all that failed is not tried again before something changes.
	inARow map[deploy.Feature]int
	final  bool
	// withdrawn is true when nothing of the profile is left on the cluster.
	withdrawn bool
	// validated says that what the job left has passed the profile's validateHealths.
	validated bool
	// dryRun is what would have changed, nil unless the job only asked that.
	dryRun *deploy.Preview
}

func (o outcome) failed() bool {
	return o.err != nil || !o.result.OK()
}

// retryAt is when a failed job is due again: after one second at first, then
// after twice as long each time, up to a minute.
func (o outcome) retryAt() time.Time {
	wait := lastRetry
	if shift := o.failures - 1; shift < 6 {
		wait = min(firstRetry<<max(shift, 0), lastRetry)
	}
	return o.ended.Add(wait)
}

// sourceRef names a ConfigMap, a Secret or a source of Flux of the host.
type sourceRef struct {
	kind string
	types.NamespacedName
}

// memory is what is known of each summary beyond what is stored. All of it is
// found out again after a restart: one pass that has nothing to change.
type memory struct {
	mu        sync.Mutex
	summaries map[types.NamespacedName]*remembered
	// readers are the summaries whose last job read a source.
	readers map[sourceRef]map[types.NamespacedName]bool
	// searches are those for strays, by cluster.
	searches map[fleet.Ref]search
}

type remembered struct {
	outcome *outcome
	// dirty is set when a source changed, and cleared when a job begins to read.
	dirty bool
	// active is the fingerprint that a job was queued for, until it has ended:
	// a reconciliation in between would only queue the same again.
	active  string
	sources []sourceRef
	// leaving is when the summary's withdrawal was first due, zero before, and quiet when
	// it last was behind another one.
	leaving, quiet time.Time
}

func newMemory() *memory {
	return &memory{
		summaries: map[types.NamespacedName]*remembered{},
		readers:   map[sourceRef]map[types.NamespacedName]bool{},
		searches:  map[fleet.Ref]search{},
	}
}

func (m *memory) of(name types.NamespacedName) *remembered {
	if m.summaries[name] == nil {
		m.summaries[name] = &remembered{}
	}
	return m.summaries[name]
}

// last returns how the last job of the summary with this UID ended, or nil, and
// whether a source has changed since it began. What was withdrawn for one of the
// same name would otherwise pass for what was deployed for its successor.
func (m *memory) last(name types.NamespacedName, uid types.UID) (*outcome, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.summaries[name]
	switch {
	case known == nil:
		return nil, false
	case known.outcome != nil && known.outcome.uid != uid:
		return nil, known.dirty
	}
	return known.outcome, known.dirty
}

// begin notes that a job is about to read its sources: what changes from here on
// makes another job necessary. It reports whether something had changed before.
func (m *memory) begin(name types.NamespacedName) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(name)
	changed, known.dirty = known.dirty, false
	m.drop(name, known)
	return changed
}

// activate notes that a job is about to be queued, and reports false if the same
// is queued or running already and nothing has changed since it began.
func (m *memory) activate(name types.NamespacedName, fingerprint string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(name)
	if known.active == fingerprint && !known.dirty {
		return false
	}
	known.active = fingerprint
	return true
}

// deactivate notes that a job has ended, or could not be queued.
func (m *memory) deactivate(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).active = ""
}

// reads notes that the running job reads a source. It is called before the read,
// so that no change can fall between the two.
func (m *memory) reads(name types.NamespacedName, s sourceRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readers[s][name] {
		return
	}
	known := m.of(name)
	known.sources = append(known.sources, s)
	if m.readers[s] == nil {
		m.readers[s] = map[types.NamespacedName]bool{}
	}
	m.readers[s][name] = true
}

// readsKind reports whether the last job of any summary has read a source of a kind.
func (m *memory) readsKind(kind string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.readers {
		if s.kind == kind {
			return true
		}
	}
	return false
}

// end keeps the outcome of a job.
func (m *memory) end(name types.NamespacedName, o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(name)
	if o.failed() {
		o.failures = 1
		if known.outcome != nil && known.outcome.uid == o.uid && known.outcome.fingerprint == o.fingerprint {
			o.failures += known.outcome.failures
		}
	}
	known.outcome = &o
}

// changed marks all summaries that have read a source, and returns them.
func (m *memory) changed(s sourceRef) []types.NamespacedName {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []types.NamespacedName
	for name := range m.readers[s] {
		m.of(name).dirty = true
		names = append(names, name)
	}
	return names
}

// due marks one summary, whatever its sources.
func (m *memory) due(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).dirty = true
}

// forget drops a summary that is gone.
func (m *memory) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.summaries[name]; known != nil {
		m.drop(name, known)
		delete(m.summaries, name)
	}
}

func (m *memory) drop(name types.NamespacedName, known *remembered) {
	for _, s := range known.sources {
		delete(m.readers[s], name)
		if len(m.readers[s]) == 0 {
			delete(m.readers, s)
		}
	}
	known.sources = nil
}
