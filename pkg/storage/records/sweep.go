// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/klog/v2"
)

// sweepPage is how many chunks' keys one request asks for.
const sweepPage = 1000

// discard removes the chunks of a write that failed, unless it has come through after all. What it
// cannot remove is left to Sweep.
func (s *Store) discard(ctx context.Context, epoch int64, key, generation string) {
	// The write may have failed because its context ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	if _, err := s.removeUnused(ctx, epoch, key, generation); err != nil {
		klog.FromContext(ctx).V(2).Info("Chunks of a failed write stay until the next term", "record", key, "reason", err)
	}
}

// Sweep removes chunks that no record uses, left by writers of former terms that did not get to the
// end of a write, and returns how many writes they were of. A term calls it when it begins: those of
// its own epoch may be of writes that are under way, and stay.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	epoch, err := s.current()
	if err != nil {
		return 0, err
	}
	removed := 0
	from := s.layout.chunks()
	end := clientv3.GetPrefixRangeEnd(from)
	for {
		resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(sweepPage), clientv3.WithKeysOnly())
		if err != nil {
			return removed, fmt.Errorf("sweep records: %w", err)
		}
		previous := ""
		for _, kv := range resp.Kvs {
			from = string(kv.Key) + "\x00"
			key, generation, ok := s.layout.parseChunk(string(kv.Key))
			if !ok || generation == previous || generationEpoch(generation) >= epoch {
				continue
			}
			previous = generation
			done, err := s.removeUnused(ctx, epoch, key, generation)
			if err != nil && !errors.Is(err, ErrUnreadable) {
				return removed, fmt.Errorf("sweep record %s: %w", key, err)
			}
			if done {
				removed++
			}
		}
		if !resp.More {
			return removed, nil
		}
	}
}

// removeUnused removes the chunks of one generation, in one transaction, unless the record's head
// names them, or cannot be read.
func (s *Store) removeUnused(ctx context.Context, epoch int64, key, generation string) (bool, error) {
	headKey := s.layout.head(key)
	for {
		resp, err := s.client.Get(ctx, headKey)
		if err != nil {
			return false, err
		}
		var revision int64
		if len(resp.Kvs) > 0 {
			revision = resp.Kvs[0].ModRevision
			h, err := s.openHead(ctx, resp.Kvs[0])
			if err != nil {
				return false, err
			}
			if h.chunked != nil && h.chunked.Generation == generation {
				return false, nil
			}
		}
		txn, err := s.client.Txn(ctx).
			If(s.during(epoch), clientv3.Compare(clientv3.ModRevision(headKey), "=", revision)).
			Then(clientv3.OpDelete(s.layout.generation(key, generation), clientv3.WithPrefix())).
			Else(clientv3.OpGet(s.layout.epoch())).
			Commit()
		if err != nil {
			return false, err
		}
		if txn.Succeeded {
			return txn.Responses[0].GetResponseDeleteRange().Deleted > 0, nil
		}
		epochs := txn.Responses[0].GetResponseRange().Kvs
		if len(epochs) == 0 || string(epochs[0].Value) != formatEpoch(epoch) {
			return false, staleEpoch(epoch, epochs)
		}
	}
}

// parseChunk is the inverse of chunk.
func (l layout) parseChunk(chunkKey string) (key, generation string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(chunkKey, l.chunks()), "/")
	if len(parts) != 3 {
		return "", "", false
	}
	key, err := url.PathUnescape(parts[0])
	return key, parts[1], err == nil
}

// generationEpoch is the epoch of the writer that made a generation. One that is no generation has
// the last of all epochs: it is nobody's to remove.
func generationEpoch(generation string) int64 {
	number, _, _ := strings.Cut(generation, "-")
	epoch, err := parseEpoch([]byte(number))
	if err != nil {
		return 1<<63 - 1
	}
	return epoch
}
