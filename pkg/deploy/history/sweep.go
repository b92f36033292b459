// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-project/muster/pkg/deploy/revision"
)

// SweepInterval is the pause between two sweeps.
const SweepInterval = time.Hour

// Owners returns the profiles that have a history.
func (s *Store) Owners(ctx context.Context) ([]revision.Owner, error) {
	var out []revision.Owner
	err := s.visit(ctx, func(p *Profile) { out = append(out, p.Owner) })
	return out, err
}

// Sweep removes what nothing refers to: contents that no entry has, and what is
// known of deployments of entries that are gone. It returns how many records it
// removed or shortened.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	contents, err := s.sweepContents(ctx)
	if err != nil {
		return contents, fmt.Errorf("sweeping the contents in the history: %w", err)
	}
	clusters, err := s.sweepClusters(ctx)
	if err != nil {
		return contents + clusters, fmt.Errorf("sweeping the deployments in the history: %w", err)
	}
	return contents + clusters, nil
}

// visit calls f for each profile. Its error may be that one of them cannot be read,
// when it is not known what is referred to, and nothing may be removed.
func (s *Store) visit(ctx context.Context, f func(*Profile)) error {
	for record, err := range s.records.List(ctx, profilesPrefix) {
		if err != nil {
			return err
		}
		p := &Profile{}
		if err := json.Unmarshal(record.Value, p); err != nil {
			return fmt.Errorf("decoding %s: %w", record.Key, err)
		}
		f(p)
	}
	return nil
}

func (s *Store) sweepContents(ctx context.Context) (int, error) {
	// All of them are looked through while others write; those that were stored
	// after it are none of ours.
	var keys []string
	for record, err := range s.records.List(ctx, contentsPrefix) {
		if err != nil {
			return 0, err
		}
		keys = append(keys, record.Key)
	}
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	referred := map[string]bool{}
	if err := s.visit(ctx, func(p *Profile) {
		for _, entry := range p.Entries {
			for _, source := range entry.Sources {
				referred[source.Digest] = true
			}
		}
	}); err != nil {
		return 0, err
	}
	swept := 0
	for _, key := range keys {
		if referred[strings.TrimPrefix(key, contentsPrefix)] {
			continue
		}
		if err := s.records.Delete(ctx, key); err != nil {
			return swept, err
		}
		swept++
	}
	return swept, nil
}

func (s *Store) sweepClusters(ctx context.Context) (int, error) {
	var keys []string
	for record, err := range s.records.List(ctx, clustersPrefix) {
		if err != nil {
			return 0, err
		}
		keys = append(keys, record.Key)
	}
	swept := 0
	for _, key := range keys {
		changed, err := s.sweepCluster(ctx, key)
		if err != nil {
			return swept, err
		}
		if changed {
			swept++
		}
	}
	return swept, nil
}

// sweepCluster forgets the deployments of entries that are gone.
func (s *Store) sweepCluster(ctx context.Context, key string) (changed bool, err error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	var c Cluster
	if err := s.get(ctx, key, &c); err != nil {
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return false, err
	}
	p, err := s.Profile(ctx, c.Owner)
	if errors.Is(err, ErrNotFound) {
		p, err = &Profile{}, nil
	}
	if err != nil {
		return false, err
	}
	kept := slices.DeleteFunc(slices.Clone(c.Deployments), func(d Deployment) bool {
		_, there := p.Entry(d.Number)
		return !there
	})
	if len(kept) == len(c.Deployments) {
		return false, nil
	}
	if len(kept) > 0 {
		c.Deployments = kept
		return true, s.put(ctx, key, c)
	}
	s.mu.Lock()
	delete(s.last, key)
	s.mu.Unlock()
	return true, s.records.Delete(ctx, key)
}
