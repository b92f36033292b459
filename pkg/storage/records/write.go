// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// discardTimeout limits the removal of a failed write's chunks. What stays is left to Sweep.
const discardTimeout = 5 * time.Second

// precondition is the revision that a record must be at for a write. Positive numbers are revisions.
type precondition int64

const (
	noRecord    precondition = 0
	anyRevision precondition = -1
)

// check returns why a record at revision, 0 if there is none, does not meet p.
func (p precondition) check(revision int64) error {
	switch {
	case p == anyRevision || int64(p) == revision:
		return nil
	case p == noRecord:
		return ErrExists
	default:
		return ErrConflict
	}
}

// Put writes the record under key, whether there is one or not.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	_, err := s.write(ctx, key, value, anyRevision)
	return err
}

// Create writes a record under a key that has none, and returns its revision. Its error is ErrExists
// if there is one.
func (s *Store) Create(ctx context.Context, key string, value []byte) (revision int64, err error) {
	return s.write(ctx, key, value, noRecord)
}

// Update writes the record under key if it is still at the revision that it was read at, and
// returns its new revision. Its error is ErrConflict if it is not, or if it is gone.
func (s *Store) Update(ctx context.Context, key string, value []byte, at int64) (revision int64, err error) {
	if at <= 0 {
		return 0, fmt.Errorf("record %s: %w: it was never read", key, ErrConflict)
	}
	return s.write(ctx, key, value, precondition(at))
}

// Delete deletes the record under key, if there is one.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.remove(ctx, key, anyRevision)
}

// DeleteAt deletes the record under key if it is still at the revision that it was read at. Its
// error is ErrConflict if it is not, or if it is gone.
func (s *Store) DeleteAt(ctx context.Context, key string, at int64) error {
	if at <= 0 {
		return fmt.Errorf("record %s: %w: it was never read", key, ErrConflict)
	}
	return s.remove(ctx, key, precondition(at))
}

func (s *Store) write(ctx context.Context, key string, value []byte, when precondition) (int64, error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	revision, err := s.tryWrite(ctx, key, value, when)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", key, err)
	}
	return revision, nil
}

func (s *Store) tryWrite(ctx context.Context, key string, value []byte, when precondition) (int64, error) {
	if len(value) > MaxValueBytes {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(value), MaxValueBytes)
	}
	epoch, err := s.current()
	if err != nil {
		return 0, err
	}
	compressed := s.compressor.compress(value)
	if len(compressed) <= s.chunkBytes {
		return s.swap(ctx, epoch, key, head{inline: compressed}, when)
	}
	// Chunks go under keys that nobody reads yet. The head, which makes them the record, follows
	// in one transaction: a reader sees the old value or the new one.
	m := manifest{Generation: newGeneration(epoch)}
	revision := int64(0)
	err = s.writeChunks(ctx, epoch, key, &m, compressed)
	if err == nil {
		revision, err = s.swap(ctx, epoch, key, head{chunked: &m}, when)
	}
	if err != nil {
		s.discard(ctx, epoch, key, m.Generation)
		return 0, err
	}
	return revision, nil
}

// writeChunks writes compressed in chunks of m's generation, and notes their number in m.
func (s *Store) writeChunks(ctx context.Context, epoch int64, key string, m *manifest, compressed []byte) error {
	for chunk := range slices.Chunk(compressed, s.chunkBytes) {
		chunkKey := s.layout.chunk(key, m.Generation, m.Chunks)
		sealed, err := s.seal(ctx, chunkKey, chunk)
		if err != nil {
			return err
		}
		resp, err := s.client.Txn(ctx).
			If(s.during(epoch)).
			Then(clientv3.OpPut(chunkKey, sealed)).
			Else(clientv3.OpGet(s.layout.epoch())).
			Commit()
		if err != nil {
			return fmt.Errorf("write chunk %d: %w", m.Chunks+1, err)
		}
		if !resp.Succeeded {
			return staleEpoch(epoch, resp.Responses[0].GetResponseRange().Kvs)
		}
		m.Chunks++
	}
	return nil
}

// swap makes h the head of key, and with it the record what h says, and deletes the chunks of the
// head before.
func (s *Store) swap(ctx context.Context, epoch int64, key string, h head, when precondition) (int64, error) {
	plain, err := h.encode()
	if err != nil {
		return 0, fmt.Errorf("encode the head: %w", err)
	}
	headKey := s.layout.head(key)
	sealed, err := s.seal(ctx, headKey, plain)
	if err != nil {
		return 0, err
	}
	var conditions []clientv3.Cmp
	if h.chunked != nil {
		// A swap whose answer was lost may still be under way when its chunks are discarded. Then
		// it must not come through.
		conditions = append(conditions, clientv3.Compare(clientv3.Version(s.layout.chunk(key, h.chunked.Generation, 0)), ">", 0))
	}
	return s.replace(ctx, epoch, key, when, conditions, clientv3.OpPut(headKey, sealed))
}

func (s *Store) remove(ctx context.Context, key string, when precondition) error {
	if err := checkKey(key); err != nil {
		return err
	}
	epoch, err := s.current()
	if err == nil {
		_, err = s.replace(ctx, epoch, key, when, nil, clientv3.OpDelete(s.layout.head(key)))
	}
	if err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	return nil
}

// replace carries out what on the head of key, in one transaction with the deletion of the chunks of
// the head that was there before, if that head meets when. It returns the transaction's revision.
func (s *Store) replace(ctx context.Context, epoch int64, key string, when precondition, conditions []clientv3.Cmp, what clientv3.Op) (int64, error) {
	headKey := s.layout.head(key)
	for {
		before, err := s.client.Get(ctx, headKey)
		if err != nil {
			return 0, fmt.Errorf("read what is there: %w", err)
		}
		var revision int64
		ops := []clientv3.Op{what}
		if len(before.Kvs) > 0 {
			revision = before.Kvs[0].ModRevision
			ops = append(ops, s.deleteChunks(ctx, key, before.Kvs[0])...)
		}
		if err := when.check(revision); err != nil {
			return 0, err
		}
		resp, err := s.client.Txn(ctx).
			If(append([]clientv3.Cmp{s.during(epoch), clientv3.Compare(clientv3.ModRevision(headKey), "=", revision)}, conditions...)...).
			Then(ops...).
			Else(clientv3.OpGet(s.layout.epoch()), clientv3.OpGet(headKey, clientv3.WithKeysOnly())).
			Commit()
		if err != nil {
			return 0, err
		}
		if resp.Succeeded {
			return resp.Header.Revision, nil
		}
		if err := failure(epoch, revision, resp); err != nil {
			return 0, err
		}
	}
}

// failure is why a transaction of replace was refused; nil if the head has changed, so that it is
// to be tried again.
func failure(epoch, revision int64, resp *clientv3.TxnResponse) error {
	epochs, heads := resp.Responses[0].GetResponseRange().Kvs, resp.Responses[1].GetResponseRange().Kvs
	if len(epochs) == 0 || string(epochs[0].Value) != formatEpoch(epoch) {
		return staleEpoch(epoch, epochs)
	}
	var now int64
	if len(heads) > 0 {
		now = heads[0].ModRevision
	}
	if now == revision {
		return errors.New("the write's chunks were discarded before it was complete")
	}
	return nil
}

func staleEpoch(epoch int64, found []*mvccpb.KeyValue) error {
	if len(found) == 0 {
		return fmt.Errorf("%w: this is epoch %d, and etcd has none", ErrStaleEpoch, epoch)
	}
	return fmt.Errorf("%w: this is epoch %d, and etcd has %s", ErrStaleEpoch, epoch, found[0].Value)
}

// deleteChunks is the deletion of the chunks that a head names. One that cannot be read leaves its
// chunks to Sweep.
func (s *Store) deleteChunks(ctx context.Context, key string, kv *mvccpb.KeyValue) []clientv3.Op {
	h, err := s.openHead(ctx, kv)
	if err != nil || h.chunked == nil {
		return nil
	}
	return []clientv3.Op{clientv3.OpDelete(s.layout.generation(key, h.chunked.Generation), clientv3.WithPrefix())}
}

// newGeneration names the chunks of one write. It begins with the epoch, by which Sweep knows those
// of writers that are gone.
func newGeneration(epoch int64) string { return fmt.Sprintf("%d-%s", epoch, rand.Text()) }
