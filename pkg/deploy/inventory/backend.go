// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"

	"github.com/muster-project/muster/pkg/storage/records"
)

// OnRecords keeps inventories in Muster's etcd, where every write compares the
// epoch of its term.
func OnRecords(store *records.Store) Backend {
	return recordBackend{store: store}
}

type recordBackend struct {
	store *records.Store
}

func (b recordBackend) Get(ctx context.Context, key string) ([]byte, bool, error) {
	record, err := b.store.Get(ctx, key)
	if errors.Is(err, records.ErrNotFound) {
		return nil, false, nil
	}
	return record.Value, err == nil, err
}

func (b recordBackend) Put(ctx context.Context, key string, value []byte) error {
	return b.store.Put(ctx, key, value)
}

func (b recordBackend) Delete(ctx context.Context, key string) error {
	return b.store.Delete(ctx, key)
}

func (b recordBackend) List(ctx context.Context, prefix string, visit func(key string, value []byte) error) error {
	for record, err := range b.store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if err := visit(record.Key, record.Value); err != nil {
			return err
		}
	}
	return nil
}
