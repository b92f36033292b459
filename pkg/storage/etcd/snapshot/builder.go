// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/muster-project/muster/pkg/storage/records"
)

const (
	// ahead is how far revisions jump: further than any store has come since its backup.
	ahead int64 = 1_000_000_000

	// All members of the restored cluster agree that its log begins after this entry, of this term,
	// which is what the database holds.
	firstIndex, firstTerm uint64 = 1, 1

	hashBytes = sha256.Size
)

// builder makes a data directory of etcd's: the database, and a log that begins with it.
type builder struct {
	dir     string
	cluster *membership.RaftCluster
	name    string
	logger  *zap.Logger
}

func (b *builder) snapDir() string  { return filepath.Join(b.dir, "member", "snap") }
func (b *builder) database() string { return filepath.Join(b.snapDir(), "db") }
func (b *builder) logDir() string   { return filepath.Join(b.dir, "member", "wal") }

// members are the cluster's, in an order that is the same for all.
func (b *builder) members() []*membership.Member {
	members := b.cluster.Members()
	slices.SortFunc(members, func(x, y *membership.Member) int { return cmp.Compare(x.ID, y.ID) })
	return members
}

func (b *builder) voters() *raftpb.ConfState {
	state := &raftpb.ConfState{}
	for _, m := range b.members() {
		state.Voters = append(state.Voters, uint64(m.ID))
	}
	return state
}

// rewrite makes the database the new cluster's: its members, a revision far ahead with everything
// before it compacted, and epochs far ahead.
func (b *builder) rewrite(prefixes []string, newest int64, result *Result) (err error) {
	be := backend.NewDefaultBackend(b.logger, b.database())
	defer func() {
		be.ForceCommit()
		err = errors.Join(err, be.Close())
	}()
	epochs, err := findEpochs(be, prefixes)
	if err != nil {
		return err
	}
	if len(epochs) == 0 {
		return fmt.Errorf("it has nothing of Muster below %s; if keys are elsewhere, say where with --etcd-prefix", records.Root)
	}
	store := schema.NewMembershipBackend(b.logger, be)
	if err := store.TrimMembershipFromBackend(); err != nil {
		return err
	}
	for _, m := range b.members() {
		store.MustSaveMemberToBackend(m)
	}
	if err := b.forgetAlarms(be); err != nil {
		return err
	}
	result.Revision, result.Epochs = newest+ahead, map[string]int64{}

	tx := be.BatchTx()
	tx.LockOutsideApply()
	defer tx.Unlock()
	for i, prefix := range slices.Sorted(maps.Keys(epochs)) {
		at := mvcc.Revision{Main: result.Revision, Sub: int64(i)}
		epoch, err := putEpoch(tx, prefix, epochs[prefix], at)
		if err != nil {
			return err
		}
		result.Epochs[prefix] = epoch
	}
	mvcc.UnsafeSetScheduledCompact(tx, result.Revision)
	schema.MustUnsafeSaveConfStateToBackend(b.logger, tx, b.voters())
	schema.UnsafeUpdateConsistentIndexForce(tx, firstIndex, firstTerm)
	return nil
}

// forgetAlarms removes the alarms of members that are no more: nobody would ever disarm them.
func (b *builder) forgetAlarms(be backend.Backend) error {
	store := schema.NewAlarmBackend(b.logger, be)
	alarms, err := store.GetAllAlarms()
	if err != nil {
		return err
	}
	for _, alarm := range alarms {
		store.MustDeleteAlarm(alarm)
	}
	return nil
}

// putEpoch writes an installation's epoch as a write at a revision would.
func putEpoch(tx backend.UnsafeWriter, prefix string, found epoch, at mvcc.Revision) (int64, error) {
	raised, value, err := records.EpochAhead(found.value, records.RestoreEpochs)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", records.EpochKey(prefix), err)
	}
	created := found.created
	if created == 0 {
		created = at.Main
	}
	raw, err := proto.Marshal(&mvccpb.KeyValue{
		Key: []byte(records.EpochKey(prefix)), Value: value,
		CreateRevision: created, ModRevision: at.Main, Version: found.version + 1,
	})
	if err != nil {
		return 0, err
	}
	tx.UnsafePut(schema.Key, mvcc.RevToBytes(at, mvcc.NewRevBytes()), raw)
	return raised, nil
}

// writeLog makes a log that has nothing in it but where it begins.
func (b *builder) writeLog() error {
	self := b.cluster.MemberByName(b.name)
	metadata, err := proto.Marshal(&etcdserverpb.Metadata{NodeID: new(uint64(self.ID)), ClusterID: new(uint64(b.cluster.ID()))})
	if err != nil {
		return err
	}
	voters := b.voters()
	if err := snap.New(b.logger, b.snapDir()).SaveSnap(&raftpb.Snapshot{
		Data:     etcdserver.GetMembershipInfoInV2Format(b.logger, b.cluster),
		Metadata: &raftpb.SnapshotMetadata{Index: new(firstIndex), Term: new(firstTerm), ConfState: voters},
	}); err != nil {
		return err
	}
	log, err := wal.Create(b.logger, b.logDir(), metadata)
	if err != nil {
		return err
	}
	err = log.Save(&raftpb.HardState{Term: new(firstTerm), Commit: new(firstIndex), Vote: new(uint64(0))}, nil)
	if err == nil {
		err = log.SaveSnapshot(&walpb.Snapshot{Index: new(firstIndex), Term: new(firstTerm), ConfState: voters})
	}
	return errors.Join(err, log.Close())
}
