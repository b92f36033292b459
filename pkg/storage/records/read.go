// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// listPage is how many heads one request asks for. A head may have 1 MiB.
const listPage = 64

// Get reads the record under key, as it was at one moment. Its error is ErrNotFound if there is none.
func (s *Store) Get(ctx context.Context, key string) (Record, error) {
	if err := checkKey(key); err != nil {
		return Record{}, err
	}
	for {
		resp, err := s.client.Get(ctx, s.layout.head(key))
		if err != nil {
			return Record{}, fmt.Errorf("record %s: %w", key, err)
		}
		if len(resp.Kvs) == 0 {
			return Record{}, fmt.Errorf("record %s: %w", key, ErrNotFound)
		}
		record, err := s.decode(ctx, resp.Kvs[0], resp.Header.Revision)
		if errors.Is(err, rpctypes.ErrCompacted) {
			continue // the history was cut between head and chunks; the present is readable
		}
		return record, err
	}
}

// List yields the records whose keys begin with keyPrefix, "" for all, in the order of their keys and
// as they were at one moment; if etcd's history is cut meanwhile, those that are left as they were at
// a later one. After an error it yields no more, but for ErrUnreadable, which
// concerns one record: its Key and Revision are set.
func (s *Store) List(ctx context.Context, keyPrefix string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		from := s.layout.head(keyPrefix)
		end := clientv3.GetPrefixRangeEnd(from)
		var at int64
		for more := true; more; {
			resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(at))
			if errors.Is(err, rpctypes.ErrCompacted) {
				at = 0 // the present is readable
				continue
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("list records %s: %w", keyPrefix, err))
				return
			}
			if at == 0 {
				// That of the first page: the header has the present one, whatever was asked for.
				at = resp.Header.Revision
			}
			more = resp.More
			for _, kv := range resp.Kvs {
				record, err := s.decode(ctx, kv, at)
				if errors.Is(err, rpctypes.ErrCompacted) {
					at, more = 0, true
					break
				}
				if !yield(record, err) || err != nil && !errors.Is(err, ErrUnreadable) {
					return
				}
				from = string(kv.Key) + "\x00"
			}
		}
	}
}

// decode reads the rest of the record whose head is kv, at the revision that kv was read at: a write
// that replaces it meanwhile leaves that revision's chunks in etcd's history.
func (s *Store) decode(ctx context.Context, kv *mvccpb.KeyValue, at int64) (Record, error) {
	record := Record{Key: s.layout.key(string(kv.Key)), Revision: kv.ModRevision}
	h, err := s.openHead(ctx, kv)
	if err == nil {
		compressed := h.inline
		if h.chunked != nil {
			compressed, err = s.readChunks(ctx, record.Key, *h.chunked, at)
		}
		if err == nil {
			record.Value, err = s.compressor.decompress(compressed)
		}
	}
	if err != nil {
		err = fmt.Errorf("record %s: %w", record.Key, err)
	}
	return record, err
}

func (s *Store) openHead(ctx context.Context, kv *mvccpb.KeyValue) (head, error) {
	plain, err := s.open(ctx, string(kv.Key), kv.Value)
	if err != nil {
		return head{}, err
	}
	return decodeHead(plain)
}

// readChunks reads and joins the chunks that m names.
func (s *Store) readChunks(ctx context.Context, key string, m manifest, at int64) ([]byte, error) {
	var joined []byte
	for i := range m.Chunks {
		chunkKey := s.layout.chunk(key, m.Generation, i)
		resp, err := s.client.Get(ctx, chunkKey, clientv3.WithRev(at))
		if err != nil {
			return nil, err
		}
		if len(resp.Kvs) == 0 {
			return nil, fmt.Errorf("%w: chunk %d of %d is missing", ErrUnreadable, i+1, m.Chunks)
		}
		plain, err := s.open(ctx, chunkKey, resp.Kvs[0].Value)
		if err != nil {
			return nil, err
		}
		joined = append(joined, plain...)
	}
	return joined, nil
}
