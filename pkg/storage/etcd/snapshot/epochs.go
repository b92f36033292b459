// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"google.golang.org/protobuf/proto"

	"github.com/muster-project/muster/pkg/storage/records"
)

// epoch is the last write of an installation's epoch. It is zero for one that never had a leader.
type epoch struct {
	value            []byte
	created, version int64
}

// findEpochs returns the epochs of the installations at prefixes, or of all that have keys below
// records.Root.
func findEpochs(be backend.Backend, prefixes []string) (map[string]epoch, error) {
	found := map[string]epoch{}
	for _, prefix := range prefixes {
		found[strings.TrimSuffix(prefix, "/")] = epoch{}
	}
	discover := len(found) == 0
	tx := be.ReadTx()
	tx.RLock()
	defer tx.RUnlock()
	// In the order of revisions, so that the last that is seen of a key is what it is.
	err := tx.UnsafeForEach(schema.Key, func(revision, raw []byte) error {
		var kv mvccpb.KeyValue
		if err := proto.Unmarshal(raw, &kv); err != nil {
			return fmt.Errorf("%w: revision %d: %w", ErrDamaged, mvcc.BytesToRev(revision).Main, err)
		}
		key := string(kv.Key)
		if prefix, ok := installation(key); discover && ok {
			if _, known := found[prefix]; !known {
				found[prefix] = epoch{}
			}
		}
		prefix, ok := strings.CutSuffix(key, records.EpochKey(""))
		if _, known := found[prefix]; !ok || !known {
			return nil
		}
		if mvcc.IsTombstone(revision) {
			found[prefix] = epoch{}
			return nil
		}
		found[prefix] = epoch{value: kv.Value, created: kv.CreateRevision, version: kv.Version}
		return nil
	})
	return found, err
}

// installation is the prefix of the installation that a key belongs to.
func installation(key string) (prefix string, ok bool) {
	rest, ok := strings.CutPrefix(key, records.Root+"/")
	name, _, below := strings.Cut(rest, "/")
	return records.Root + "/" + name, ok && below && name != ""
}
