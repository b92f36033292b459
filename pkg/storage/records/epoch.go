// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// RaiseEpoch raises the epoch of the installation at prefix and returns the new one, which is higher
// than any before. From then on, no store with a lower epoch can write. Where the answer is lost,
// the epoch may have been raised nevertheless: raising it again does no harm.
func RaiseEpoch(ctx context.Context, client *clientv3.Client, prefix string) (int64, error) {
	key := layout(strings.TrimSuffix(prefix, "/")).epoch()
	for {
		resp, err := client.Get(ctx, key)
		if err != nil {
			return 0, fmt.Errorf("read the epoch: %w", err)
		}
		var current, revision int64
		if len(resp.Kvs) > 0 {
			revision = resp.Kvs[0].ModRevision
			if current, err = parseEpoch(resp.Kvs[0].Value); err != nil {
				return 0, fmt.Errorf("%s in etcd: %w", key, err)
			}
		}
		next := current + 1
		txn, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, formatEpoch(next))).
			Commit()
		if err != nil {
			return 0, fmt.Errorf("raise the epoch to %d: %w", next, err)
		}
		if txn.Succeeded {
			return next, nil
		}
	}
}

// RestoreEpochs is how far a restore raises an epoch: further than any installation has come since the
// backup.
const RestoreEpochs int64 = 1_000_000_000

// Era tells the time before a restore from the time after it: it is how many restores an epoch has
// behind it, so that what was recorded in one era says nothing of what happened to clusters by the
// next. Two restores of one backup begin the same era, and neither has records of it yet.
func Era(epoch int64) int64 { return epoch / RestoreEpochs }

// EpochKey is where the installation at prefix keeps its epoch.
func EpochKey(prefix string) string { return layout(strings.TrimSuffix(prefix, "/")).epoch() }

// EpochAhead is an epoch that is ahead of one as etcd holds it, which is nil where there is none, and
// its form in etcd. It is for whoever writes where nobody serves: a restore.
func EpochAhead(raw []byte, ahead int64) (epoch int64, value []byte, err error) {
	if raw != nil {
		if epoch, err = parseEpoch(raw); err != nil {
			return 0, nil, err
		}
	}
	epoch += ahead
	return epoch, []byte(formatEpoch(epoch)), nil
}

func formatEpoch(epoch int64) string { return strconv.FormatInt(epoch, 10) }

func parseEpoch(raw []byte) (int64, error) {
	epoch, err := strconv.ParseInt(string(raw), 10, 64)
	if err == nil && epoch < 1 {
		err = errors.New("it is less than 1")
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not an epoch: %w", raw, err)
	}
	return epoch, nil
}

// current is the epoch that this process writes under.
func (s *Store) current() (int64, error) {
	epoch, err := s.epoch()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotLeading, err)
	}
	return epoch, nil
}

// during is the condition that epoch is the current one.
func (s *Store) during(epoch int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.Value(s.layout.epoch()), "=", formatEpoch(epoch))
}
