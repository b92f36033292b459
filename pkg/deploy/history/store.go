// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/storage/records"
)

// Store writes the history. It is safe for concurrent use. It remembers what it has
// written, and so must be the only one that writes: a term has a store of its own.
type Store struct {
	*Reader
	limit int

	// sweeping is held for reading by who writes, so that no content is removed
	// between the moment that it is stored and that an entry refers to it.
	sweeping sync.RWMutex

	mu       sync.Mutex
	profiles map[revision.Owner]*profileState
	last     map[string]Deployment // by key
}

// profileState is what is remembered of a profile.
type profileState struct {
	mu     sync.Mutex
	stored *Profile
	// read is when the content that the latest entry has of a source was read. A job
	// that read it before is behind, and says nothing new.
	read map[Key]time.Time
	// inUse are the revisions that clusters still have, as Begin was told last.
	inUse map[string]bool
}

// NewStore returns a store that keeps its history in records, limit entries for each
// profile.
func NewStore(records Records, limit int) *Store {
	return &Store{
		Reader: NewReader(records), limit: cmp.Or(limit, DefaultLimit),
		profiles: map[revision.Owner]*profileState{}, last: map[string]Deployment{},
	}
}

// Begin notes that the profile is now as entry says, unless it was so already; the
// number, and the time if it is zero, are filled in. author is asked only for a new
// entry. inUse are revisions whose entries stay, however old.
func (s *Store) Begin(ctx context.Context, owner revision.Owner, entry Entry, author func(context.Context) string, inUse map[string]bool) (begun bool, err error) {
	s.sweeping.RLock()
	defer s.sweeping.RUnlock()
	state := s.state(owner)
	state.mu.Lock()
	defer state.mu.Unlock()
	state.inUse = inUse
	p, err := s.load(ctx, owner, state)
	if err != nil {
		return false, err
	}
	if n := len(p.Entries); n > 0 && p.Entries[n-1].Revision == entry.Revision {
		return false, nil
	}
	if author != nil {
		entry.Author = author(ctx)
	}
	return true, s.append(ctx, state, p, entry)
}

// append writes the profile's history with one entry more.
func (s *Store) append(ctx context.Context, state *profileState, p *Profile, entry Entry) error {
	next := *p
	next.Entries = slices.Clone(p.Entries)
	entry.Number = 1
	if n := len(next.Entries); n > 0 {
		entry.Number = next.Entries[n-1].Number + 1
	}
	next.Entries = trim(append(next.Entries, entry), s.limit, state.inUse)
	return s.write(ctx, state, &next)
}

// trim drops the oldest entries beyond limit, but not the newest, nor the newest of a
// revision that is in use, nor the one that the newest is a rollback to.
func trim(entries []Entry, limit int, inUse map[string]bool) []Entry {
	surplus := len(entries) - limit
	newest := entries[len(entries)-1]
	stays := map[int64]bool{newest.Number: true, newest.ContentsOf: true}
	for used := range inUse {
		if at := lastOf(entries, used); at >= 0 {
			stays[entries[at].Number] = true
		}
	}
	return slices.DeleteFunc(entries, func(e Entry) bool {
		if surplus <= 0 || stays[e.Number] {
			return false
		}
		surplus--
		return true
	})
}

// Observed is a source as a deployment has read it.
type Observed struct {
	Key
	Content Content
	// Read is when it was read, on the clock of the process.
	Read time.Time
}

// Report is how a deployment ended.
type Report struct {
	// Revision is what the summary asked for, and Spec as in Entry.
	Revision, Spec string
	Time           time.Time
	State          State
	Message        string
	Sources        []Observed
}

// Deployed notes how a deployment ended and what it was deployed from. Where nothing
// of it is new it writes nothing.
func (s *Store) Deployed(ctx context.Context, owner revision.Owner, cluster fleet.Ref, report Report) error {
	s.sweeping.RLock()
	defer s.sweeping.RUnlock()
	number, err := s.observe(ctx, owner, report)
	if err != nil {
		return fmt.Errorf("recording the history of %s %s: %w", owner.Kind, owner.Name, err)
	}
	if number == 0 {
		return nil
	}
	deployment := Deployment{Number: number, Time: report.Time.UTC(), State: report.State, Message: report.Message}
	key := clusterKey(owner, cluster)
	s.mu.Lock()
	before, known := s.last[key]
	s.mu.Unlock()
	if known && same(before, deployment) {
		return nil
	}
	record := Cluster{}
	if err := s.get(ctx, key, &record); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("recording the history of %s %s on %s: %w", owner.Kind, owner.Name, cluster, err)
	}
	record.Owner, record.Cluster = owner, cluster
	n := len(record.Deployments)
	if n == 0 || !same(record.Deployments[n-1], deployment) {
		record.Deployments = add(record.Deployments, deployment, s.limit)
		if err := s.put(ctx, key, record); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[key] = deployment
	return nil
}

// same says that a deployment is no news. When it ended again is none.
func same(a, b Deployment) bool {
	return a.Number == b.Number && a.State == b.State && a.Message == b.Message
}

// add puts a deployment at the end, in place of one of the same entry.
func add(deployments []Deployment, d Deployment, limit int) []Deployment {
	if n := len(deployments); n > 0 && deployments[n-1].Number == d.Number {
		deployments = deployments[:n-1]
	}
	deployments = append(deployments, d)
	return deployments[max(0, len(deployments)-limit):]
}

// observe compares what a deployment has read with the entry of its revision, and
// returns the number of the entry that it was a deployment of, 0 if there is none.
func (s *Store) observe(ctx context.Context, owner revision.Owner, report Report) (int64, error) {
	state := s.state(owner)
	state.mu.Lock()
	defer state.mu.Unlock()
	p, err := s.load(ctx, owner, state)
	if err != nil {
		return 0, err
	}
	at := lastOf(p.Entries, report.Revision)
	switch {
	case at < 0 && len(p.Entries) > 0:
		// Its entry has fallen out of the history, which does not go backwards.
		return 0, nil
	case at < 0:
		// A summary that was made before there was a history.
		entry := Entry{Revision: report.Revision, Spec: report.Spec, Time: report.Time.UTC(), Cause: CauseSpec}
		if err := s.append(ctx, state, p, entry); err != nil {
			return 0, err
		}
		p = state.stored
		at = lastOf(p.Entries, report.Revision)
	}
	seen := identify(p, report.Sources)
	change := compare(p.Entries[at], seen, state.read)
	latest := at == len(p.Entries)-1
	switch {
	case change.stale || len(change.changed) > 0 && (!latest || p.Entries[at].ContentsOf != 0):
		// Behind the others: it was a deployment of what was before.
		return matchingEntry(p.Entries[:at+1], report.Revision, seen), nil
	case len(change.news()) == 0:
		return p.Entries[at].Number, nil
	}
	if err := s.keep(ctx, change.news()); err != nil {
		return 0, err
	}
	return s.extend(ctx, state, p, at, change, report)
}

// extend writes what is new about the sources: into the entry what it did not have
// yet and the objects that templates see, and into a new one what it had otherwise.
func (s *Store) extend(ctx context.Context, state *profileState, p *Profile, at int, change change, report Report) (int64, error) {
	entry := p.Entries[at]
	entry.Sources = merge(entry.Sources, change)
	if len(change.changed) > 0 {
		entry.Time, entry.Cause, entry.Author = report.Time.UTC(), CauseContents, ""
		if err := s.append(ctx, state, p, entry); err != nil {
			return 0, err
		}
	} else {
		next := *p
		next.Entries = slices.Clone(p.Entries)
		next.Entries[at] = entry
		if err := s.write(ctx, state, &next); err != nil {
			return 0, err
		}
	}
	for _, o := range change.news() {
		state.read[o.Key()] = o.read
	}
	return state.stored.Entries[lastOf(state.stored.Entries, report.Revision)].Number, nil
}

// Forget drops the history of a profile that is gone. Contents go with the next
// sweep.
func (s *Store) Forget(ctx context.Context, owner revision.Owner) error {
	state := s.state(owner)
	state.mu.Lock()
	defer state.mu.Unlock()
	clusters, err := s.Clusters(ctx, owner)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		if err := s.records.Delete(ctx, clusterKey(owner, c.Cluster)); err != nil {
			return fmt.Errorf("deleting the history of %s %s: %w", owner.Kind, owner.Name, err)
		}
	}
	if err := s.records.Delete(ctx, profilesPrefix+ownerKey(owner)); err != nil {
		return fmt.Errorf("deleting the history of %s %s: %w", owner.Kind, owner.Name, err)
	}
	state.stored, state.read = nil, map[Key]time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range clusters {
		delete(s.last, clusterKey(owner, c.Cluster))
	}
	return nil
}

// Revisions are the names of the stored specs that the profile's entries refer to.
func (s *Store) Revisions(ctx context.Context, owner revision.Owner) (map[string]bool, error) {
	p, err := s.Profile(ctx, owner)
	if errors.Is(err, ErrNotFound) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, e := range p.Entries {
		out[e.Revision] = true
	}
	return out, nil
}

func (s *Store) state(owner revision.Owner) *profileState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.profiles[owner] == nil {
		s.profiles[owner] = &profileState{read: map[Key]time.Time{}}
	}
	return s.profiles[owner]
}

// load returns what is stored of a profile, which is not written to.
func (s *Store) load(ctx context.Context, owner revision.Owner, state *profileState) (*Profile, error) {
	if state.stored != nil {
		return state.stored, nil
	}
	p, err := s.Profile(ctx, owner)
	if errors.Is(err, ErrNotFound) {
		p = &Profile{Owner: owner, Salt: make([]byte, 16)}
		_, _ = rand.Read(p.Salt) // it never fails
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	state.stored = p
	return p, nil
}

func (s *Store) write(ctx context.Context, state *profileState, p *Profile) error {
	if err := s.put(ctx, profilesPrefix+ownerKey(p.Owner), p); err != nil {
		return err
	}
	state.stored = p
	return nil
}

func (s *Store) put(ctx context.Context, key string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	if err := s.records.Put(ctx, key, encoded); err != nil {
		return fmt.Errorf("storing the history: %w", err)
	}
	return nil
}

// keep stores contents that are not stored yet.
func (s *Store) keep(ctx context.Context, sources []identified) error {
	for _, source := range sources {
		if isSecret(source.Kind) || source.Unkept {
			continue
		}
		encoded, err := json.Marshal(source.content)
		if err != nil {
			return fmt.Errorf("encoding the content of %s: %w", source.Key(), err)
		}
		if _, err := s.records.Create(ctx, contentsPrefix+source.Digest, encoded); err != nil && !errors.Is(err, records.ErrExists) {
			return fmt.Errorf("keeping the content of %s: %w", source.Key(), err)
		}
	}
	return nil
}
