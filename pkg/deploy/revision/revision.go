// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package revision keeps each spec that a profile has had, once and immutable.
//
// A ClusterSummary stores the name of its revision and not a copy of the spec,
// so that a thousand clusters cost one copy, and what a cluster was given stays
// known after the profile has changed or gone.
package revision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/lru"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/storage/records"
)

// ErrNotFound says that there is no revision of this name.
var ErrNotFound = errors.New("profile revision not found")

// ErrDamaged says that a revision is stored and cannot be read any more.
var ErrDamaged = errors.New("profile revision damaged")

// prefix is where the keys of revisions start.
const prefix = "revisions/"

// cached is how many revisions a store remembers. They are immutable, so a
// remembered one is never stale; a fleet has about one for each profile.
const cached = 1024

// Owner is a profile.
type Owner struct {
	// Kind is ClusterProfile or Profile.
	Kind string
	// Namespace is empty for a ClusterProfile.
	Namespace string
	Name      string
}

// Revision is one spec of a profile.
type Revision struct {
	// Name is unique among all profiles: "<kind>/<namespace or _>/<name>/<hash>".
	Name string
	// Created is when the profile first had this spec.
	Created time.Time
	// Spec is shared by all who read it and must not be written to.
	Spec *configv1beta1.ProfileSpec
	// Pinned are the contents that are deployed, nil for those that the sources have.
	Pinned *Contents
}

// Contents are what sources held at one time.
type Contents struct {
	// Of is the number of the entry in the profile's history that had them.
	Of int64 `json:"of"`
	// Salt keys the hashes of Secrets.
	Salt []byte `json:"salt,omitempty"`
	Pins []Pin  `json:"pins,omitempty"`
}

// Pin is what one source held: a ConfigMap, a Secret or a URL.
type Pin struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Digest    string `json:"digest"`
}

// Pin returns what a source held, and whether it is pinned. Nothing is in no
// contents.
func (c *Contents) Pin(kind, namespace, name string) (Pin, bool) {
	if c == nil {
		return Pin{}, false
	}
	for _, pin := range c.Pins {
		if pin.Kind == kind && pin.Namespace == namespace && pin.Name == name {
			return pin, true
		}
	}
	return Pin{}, false
}

// Records is the part of *records.Store that revisions need.
type Records interface {
	Get(ctx context.Context, key string) (records.Record, error)
	Create(ctx context.Context, key string, value []byte) (int64, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, keyPrefix string) iter.Seq2[records.Record, error]
}

// Store reads and writes revisions. It is safe for concurrent use. It remembers
// what there is, and so must be the only one that writes for as long as Ensure is
// called: a term has a store of its own.
type Store struct {
	records Records
	cache   *lru.Cache
}

// NewStore returns a store that keeps its revisions in records.
func NewStore(records Records) *Store {
	return &Store{records: records, cache: lru.New(cached)}
}

// stored is a revision's form in the records. A reader of a later version must
// be able to read it, so fields are only ever added.
type stored struct {
	Created time.Time                  `json:"created"`
	Spec    *configv1beta1.ProfileSpec `json:"spec"`
	Pinned  *Contents                  `json:"pinned,omitempty"`
}

// Name is the name of the revision that a profile with this spec has. It
// depends on nothing else, so that re-applying a former spec finds the former
// revision.
func Name(owner Owner, spec *configv1beta1.ProfileSpec) (string, error) {
	encoded, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encoding the spec of %s %s: %w", owner.Kind, owner.Name, err)
	}
	sum := sha256.Sum256(encoded)
	return ownerKey(owner) + hex.EncodeToString(sum[:8]), nil
}

// pinnedName is the name of the revision of a spec with pinned contents.
func pinnedName(owner Owner, spec *configv1beta1.ProfileSpec, pinned *Contents) (string, error) {
	if pinned == nil {
		return Name(owner, spec)
	}
	encoded, err := json.Marshal([]any{spec, pinned})
	if err != nil {
		return "", fmt.Errorf("encoding the spec of %s %s: %w", owner.Kind, owner.Name, err)
	}
	sum := sha256.Sum256(encoded)
	return ownerKey(owner) + hex.EncodeToString(sum[:8]), nil
}

// Ensure stores the spec as a revision, unless it is stored, and returns its
// name and whether it is new.
func (s *Store) Ensure(ctx context.Context, owner Owner, spec *configv1beta1.ProfileSpec, now time.Time) (name string, created bool, err error) {
	return s.EnsurePinned(ctx, owner, spec, nil, now)
}

// EnsurePinned is Ensure for a spec with pinned contents, if they are not nil.
func (s *Store) EnsurePinned(ctx context.Context, owner Owner, spec *configv1beta1.ProfileSpec, pinned *Contents, now time.Time) (name string, created bool, err error) {
	name, err = pinnedName(owner, spec, pinned)
	if err != nil {
		return "", false, err
	}
	if _, known := s.cache.Get(name); known {
		return name, false, nil
	}
	revision := stored{Created: now.UTC(), Spec: spec.DeepCopy(), Pinned: pinned}
	value, err := json.Marshal(revision)
	if err != nil {
		return "", false, fmt.Errorf("encoding revision %s: %w", name, err)
	}
	_, err = s.records.Create(ctx, prefix+name, value)
	if err != nil && !errors.Is(err, records.ErrExists) {
		return "", false, fmt.Errorf("storing revision %s: %w", name, err)
	}
	created = err == nil
	if _, err := s.Get(ctx, name); err != nil {
		return "", false, err
	}
	return name, created, nil
}

// Get returns the revision of this name. Its error is ErrNotFound if there is
// none, and ErrDamaged if it cannot be read.
func (s *Store) Get(ctx context.Context, name string) (Revision, error) {
	if known, ok := s.cache.Get(name); ok {
		return known.(Revision), nil
	}
	record, err := s.records.Get(ctx, prefix+name)
	if errors.Is(err, records.ErrNotFound) || errors.Is(err, records.ErrInvalidKey) {
		return Revision{}, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if errors.Is(err, records.ErrUnreadable) {
		return Revision{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return Revision{}, fmt.Errorf("reading revision %s: %w", name, err)
	}
	revision, err := decode(name, record.Value)
	if err != nil {
		return Revision{}, err
	}
	s.cache.Add(name, revision)
	return revision, nil
}

// History returns the revisions of a profile, the newest first.
func (s *Store) History(ctx context.Context, owner Owner) ([]Revision, error) {
	var revisions []Revision
	for record, err := range s.records.List(ctx, prefix+ownerKey(owner)) {
		if err != nil {
			return nil, fmt.Errorf("listing the revisions of %s %s: %w", owner.Kind, owner.Name, err)
		}
		revision, err := decode(strings.TrimPrefix(record.Key, prefix), record.Value)
		if err != nil {
			return nil, err
		}
		revisions = append(revisions, revision)
	}
	slices.SortFunc(revisions, func(a, b Revision) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return revisions, nil
}

// Trim deletes the revisions of a profile that are not in use, except for the
// newest keep of them.
func (s *Store) Trim(ctx context.Context, owner Owner, inUse map[string]bool, keep int) error {
	history, err := s.History(ctx, owner)
	if err != nil {
		return err
	}
	for _, revision := range history {
		if inUse[revision.Name] {
			continue
		}
		if keep > 0 {
			keep--
			continue
		}
		s.cache.Remove(revision.Name)
		if err := s.records.Delete(ctx, prefix+revision.Name); err != nil {
			return fmt.Errorf("deleting revision %s: %w", revision.Name, err)
		}
	}
	return nil
}

func decode(name string, value []byte) (Revision, error) {
	var revision stored
	if err := json.Unmarshal(value, &revision); err != nil {
		return Revision{}, fmt.Errorf("%w: %q: %w", ErrDamaged, name, err)
	}
	if revision.Spec == nil {
		return Revision{}, fmt.Errorf("%w: %q has no spec", ErrDamaged, name)
	}
	return Revision{Name: name, Created: revision.Created, Spec: revision.Spec, Pinned: revision.Pinned}, nil
}

// ownerKey starts the names of a profile's revisions. "_" cannot be the name of
// a namespace, so no ClusterProfile shares a key with a Profile.
func ownerKey(owner Owner) string {
	namespace := owner.Namespace
	if namespace == "" {
		namespace = "_"
	}
	return owner.Kind + "/" + namespace + "/" + owner.Name + "/"
}
