// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package recordstest has records without an etcd behind them, for tests of what is
// kept in records and not of how.
package recordstest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/muster-project/muster/pkg/storage/records"
)

// Memory is records in memory. It is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	values map[string][]byte
	writes int
}

// New returns a memory without records.
func New() *Memory { return &Memory{values: map[string][]byte{}} }

// Writes is how many records were written or deleted.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// All returns all records by their keys.
func (m *Memory) All() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.values)
}

// Get reads a record.
func (m *Memory) Get(_ context.Context, key string) (records.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[key]
	if !ok {
		return records.Record{}, records.ErrNotFound
	}
	return records.Record{Key: key, Value: value}, nil
}

// Put writes a record.
func (m *Memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	m.values[key] = value
	return nil
}

// Create writes a record that is not there.
func (m *Memory) Create(_ context.Context, key string, value []byte) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[key]; ok {
		return 0, records.ErrExists
	}
	m.writes++
	m.values[key] = value
	return 1, nil
}

// Delete deletes a record, if there is one.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	delete(m.values, key)
	return nil
}

// List yields the records as they were when it was called.
func (m *Memory) List(_ context.Context, keyPrefix string) iter.Seq2[records.Record, error] {
	values := m.All()
	return func(yield func(records.Record, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if strings.HasPrefix(key, keyPrefix) && !yield(records.Record{Key: key, Value: values[key]}, nil) {
				return
			}
		}
	}
}
