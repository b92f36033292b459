// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/render/memo"
)

// Prefix is where the keys of all records start.
const Prefix = "inventories/"

// format is the version of the stored form. A reader refuses a newer one: a
// record read in part would make what it does not understand look unowned.
const format = 1

// Backend is the durable store of the records. Its writes are refused once
// another replica has taken over, so that a record is never older than the
// newest term's view of it.
type Backend interface {
	// Get returns the value, and whether there is one.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Put(ctx context.Context, key string, value []byte) error
	// Delete succeeds when there is nothing to delete.
	Delete(ctx context.Context, key string) error
	// List calls visit for every key that starts with the prefix, in order,
	// until visit returns an error, which List returns.
	List(ctx context.Context, prefix string, visit func(key string, value []byte) error) error
}

// Store reads and writes Records.
type Store struct {
	backend Backend
	decoded *memo.Cache[string, decoded]
}

// NewStore returns a Store that keeps its records in the backend.
func NewStore(backend Backend) *Store {
	return &Store{backend: backend, decoded: memo.NewCache[string, decoded](maxDecoded)}
}

// maxDecoded bounds the stored forms whose records are remembered, in bytes; a record takes
// about as much again.
const maxDecoded = 16 << 20

// decoded is a record, and the stored form that it was decoded from.
type decoded struct {
	value  []byte
	record *Record
}

// decode is Decode for values that are mostly what they were when they were read last: a
// pass reads its record several times, and compares far more than it changes. The backend
// is asked each time; what is remembered counts only for the same bytes.
func (s *Store) decode(key string, value []byte) (*Record, error) {
	if known, ok := s.decoded.Get(key); ok && bytes.Equal(known.value, value) {
		return known.record.Clone(), nil
	}
	r, err := Decode(key, value)
	if err == nil {
		s.decoded.Put(key, decoded{value, r.Clone()}, int64(len(value)))
	}
	return r, err
}

// Get returns the record of an owner on a cluster, or nil if there is none.
func (s *Store) Get(ctx context.Context, cluster fleet.Ref, owner OwnerKey) (*Record, error) {
	key := Key(cluster, owner)
	value, found, err := s.backend.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading the inventory of %s on %s: %w", owner, cluster, err)
	}
	if !found {
		return nil, nil
	}
	return s.decode(key, value)
}

// Put writes a record whole.
func (s *Store) Put(ctx context.Context, r *Record) error {
	value, err := Encode(r)
	if err != nil {
		return err
	}
	if err := s.backend.Put(ctx, Key(r.Cluster, r.Owner.Key()), value); err != nil {
		return fmt.Errorf("writing the inventory of %s on %s: %w", r.Owner, r.Cluster, err)
	}
	return nil
}

// Delete forgets a record. The cluster's content is not touched.
func (s *Store) Delete(ctx context.Context, cluster fleet.Ref, owner OwnerKey) error {
	if err := s.backend.Delete(ctx, Key(cluster, owner)); err != nil {
		return fmt.Errorf("deleting the inventory of %s on %s: %w", owner, cluster, err)
	}
	return nil
}

// ForCluster returns the records of every owner on a cluster.
func (s *Store) ForCluster(ctx context.Context, cluster fleet.Ref) ([]*Record, error) {
	records, err := s.list(ctx, Prefix+segment(cluster.Namespace)+"/"+segment(cluster.Name)+"/")
	if err != nil {
		return nil, err
	}
	// The key has no kind of cluster: two kinds may share a name.
	out := records[:0]
	for _, r := range records {
		if r.Cluster == cluster {
			out = append(out, r)
		}
	}
	return out, nil
}

// List returns the records of the clusters in a namespace, or of all clusters
// if the namespace is empty, and those of the host that are for these clusters.
func (s *Store) List(ctx context.Context, namespace string) ([]*Record, error) {
	if namespace == "" {
		return s.list(ctx, Prefix)
	}
	records, err := s.list(ctx, Prefix+segment(namespace)+"/")
	if err != nil {
		return nil, err
	}
	local, err := s.ForCluster(ctx, Host())
	for _, r := range local {
		if strings.HasPrefix(r.Owner.Cluster, namespace+"/") {
			records = append(records, r)
		}
	}
	return records, err
}

func (s *Store) list(ctx context.Context, prefix string) ([]*Record, error) {
	var records []*Record
	err := s.backend.List(ctx, prefix, func(key string, value []byte) error {
		r, err := s.decode(key, value)
		if err != nil {
			return err
		}
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing inventories under %s: %w", prefix, err)
	}
	return records, nil
}

// Key returns where the record of an owner on a cluster is stored.
func Key(cluster fleet.Ref, owner OwnerKey) string {
	key := Prefix + strings.Join([]string{
		segment(cluster.Namespace), segment(cluster.Name), segment(owner.Kind), segment(owner.Namespace), segment(owner.Name),
	}, "/")
	if owner.Cluster != "" {
		key += "/" + owner.Cluster
	}
	return key
}

// segment makes one part of a key of a name. "_" can't be a name, so that an
// absent namespace has a part of its own.
func segment(name string) string {
	if name == "" {
		return "_"
	}
	return name
}

// envelope is the stored form: the record and the version of its format.
type envelope struct {
	Format int `json:"format"`
	*Record
}

// Encode returns the stored form of a record.
func Encode(r *Record) ([]byte, error) {
	value, err := json.Marshal(envelope{Format: format, Record: r})
	if err != nil {
		return nil, fmt.Errorf("encoding the inventory of %s on %s: %w", r.Owner, r.Cluster, err)
	}
	return value, nil
}

// Decode reads the stored form of a record; the key is for its errors.
func Decode(key string, value []byte) (*Record, error) {
	e := envelope{Record: &Record{}}
	if err := json.Unmarshal(value, &e); err != nil {
		return nil, fmt.Errorf("inventory %s is damaged: %w", key, err)
	}
	if e.Format != format {
		return nil, fmt.Errorf("inventory %s has format %d, this Muster reads %d: run the version that wrote it, or a newer one", key, e.Format, format)
	}
	return e.Record, nil
}
