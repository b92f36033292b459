// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"k8s.io/klog/v2"
)

// roomNumerator and roomDenominator are how much of the quota may be used for a cluster that ran out of
// space to be written to again: with less room, it would be full again at once.
const roomNumerator, roomDenominator = 9, 10

// upkeep is what a member does for itself while it serves.
type upkeep struct {
	*member
	server    *server
	completed bool // it is known that the cluster had a majority
	looked    time.Time
	warned    string
}

// run looks after the member until ctx ends. It returns errRestart if etcd has to be started again:
// then it is this member's turn to be out of service.
func (u *upkeep) run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	u.looked = time.Now()
	for {
		for _, task := range []struct {
			what string
			do   func(context.Context) error
		}{
			{"record that the cluster was bootstrapped", u.complete},
			{"check the certificates", u.checkCertificates},
			{"recover from a lack of space", u.relieve},
			{"defragment", u.defragmentAtTimes},
		} {
			err := task.do(ctx)
			if errors.Is(err, errRestart) {
				return err
			}
			if err != nil && ctx.Err() == nil {
				logger.Error(err, "A member could not look after itself, it tries again", "member", u.cfg.Name, "task", task.what)
			}
		}
		if pause(ctx, u.cfg.Timing.Upkeep) != nil {
			return nil
		}
	}
}

// complete records that the cluster had a majority, for whoever reads the state.
func (u *upkeep) complete(ctx context.Context) error {
	if u.completed {
		return nil
	}
	now := time.Now().UTC().Truncate(time.Second)
	err := change(ctx, u.cfg.Bootstrapped, func(s *State) bool {
		// A turn that this member had before it was started again is over.
		ended := s.Turn != nil && s.Turn.Member == u.cfg.Name
		if ended {
			s.Turn = nil
		}
		if s.ClusterID == "" {
			s.ClusterID = u.server.raft().Cluster().ID().String()
		} else if s.Completed != nil && !ended {
			return false
		}
		if s.Completed == nil {
			s.Completed = &now
		}
		return true
	})
	u.completed = err == nil
	return err
}

// errRestart says that etcd has to be started again.
var errRestart = errors.New("etcd has to be started again")

// checkCertificates has etcd started again when CAs were replaced, which it reads at its start only:
// one member after the other, unless there is no majority to keep. Certificates it reads by itself.
func (u *upkeep) checkCertificates(ctx context.Context) error {
	if err := u.cfg.checkCertificates(time.Now()); err != nil {
		return err
	}
	if !u.otherCAs() {
		return nil
	}
	if u.health.ready(ctx) == nil {
		if err := u.othersHealthy(ctx); err != nil {
			return fmt.Errorf("the CAs were replaced and this member would be started again: %w", err)
		}
		if mine, err := u.takeTurn(ctx, "new CAs"); !mine || err != nil {
			return err
		}
	}
	klog.FromContext(ctx).Info("Starting etcd again with new CAs", "member", u.cfg.Name)
	return errRestart
}

// otherCAs tells whether the CA files hold others than etcd was started with.
func (m *member) otherCAs() bool {
	now := digestCAs(m.cfg.PeerTLS, m.cfg.ClientTLS)
	return now != "" && now != m.cas
}

// defragmentAtTimes defragments if that is worth it. It is left for later while anything is not well.
func (u *upkeep) defragmentAtTimes(ctx context.Context) error {
	if time.Since(u.looked) < u.cfg.DefragmentPeriod {
		return nil
	}
	backend := u.server.raft().Backend()
	size, free := backend.Size(), backend.Size()-backend.SizeInUse()
	if !worthDefragmenting(size, free, u.cfg.DefragmentFreeBytes, u.cfg.QuotaBytes) {
		u.looked = time.Now()
		return nil
	}
	if err := u.health.ready(ctx); err != nil {
		return err
	}
	if err := u.othersHealthy(ctx); err != nil {
		return err
	}
	done, err := u.defragment(ctx)
	if done {
		u.looked = time.Now()
	}
	return err
}

// worthDefragmenting: enough is free for the pause, and much of the file or the file is near its quota.
func worthDefragmenting(size, free, minimum, quota int64) bool {
	return free >= minimum && (free >= size/3 || size >= quota/4*3)
}

// defragment defragments this member if it is its turn. Clients' requests to it wait meanwhile, and so
// another member leads.
func (u *upkeep) defragment(ctx context.Context) (done bool, err error) {
	mine, err := u.takeTurn(ctx, "defragmentation")
	if !mine || err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, u.endTurn(context.WithoutCancel(ctx))) }()
	u.server.handOver(ctx)
	backend := u.server.raft().Backend()
	before, start := backend.Size(), time.Now()
	if err := backend.Defrag(); err != nil {
		return false, fmt.Errorf("defragment: %w", err)
	}
	klog.FromContext(ctx).Info("Defragmented", "member", u.cfg.Name, "bytesBefore", before, "bytesAfter", backend.Size(),
		"seconds", time.Since(start).Seconds())
	return true, nil
}

// relieve makes room in a cluster that refuses writes because a member's quota is used up. The API
// server's own compaction writes before it compacts, so that it cannot.
func (u *upkeep) relieve(ctx context.Context) error {
	var own bool
	var stray []uint64
	alarms := u.server.raft().Alarms()
	for _, alarm := range alarms {
		if alarm.Alarm != etcdserverpb.AlarmType_NOSPACE {
			return u.warn(ctx, fmt.Sprintf("the cluster has the alarm %s: a member's data differs from the others'; "+
				"stop that member, empty its data directory, and start it", alarm.Alarm))
		}
		if alarm.MemberID == uint64(u.server.raft().MemberID()) {
			own = true
		} else if u.server.raft().Cluster().Member(memberID(alarm.MemberID)) == nil {
			stray = append(stray, alarm.MemberID)
		}
	}
	if len(alarms) == 0 {
		u.warned = ""
		return nil
	}
	// Nobody has written since the alarm, and who watches is up to date: no watch loses an event.
	server, backend := u.server.raft(), u.server.raft().Backend()
	revision := server.KV().Rev()
	if _, err := server.Compact(ctx, &etcdserverpb.CompactionRequest{Revision: revision, Physical: true}); err != nil && !errors.Is(err, mvcc.ErrCompacted) {
		return fmt.Errorf("compact at revision %d: %w", revision, err)
	}
	if size := backend.Size(); u.tooLarge(size) {
		if done, err := u.defragment(ctx); !done || err != nil {
			return err
		}
	}
	if size := backend.Size(); u.tooLarge(size) {
		return u.warn(ctx, fmt.Sprintf("the quota of %d bytes is used up and all writes are refused: %d bytes are in use after "+
			"compaction and defragmentation; raise --quota-bytes, or remove what is not needed", u.cfg.QuotaBytes, size))
	}
	if own {
		stray = append(stray, uint64(server.MemberID()))
	}
	return u.disarm(ctx, stray)
}

func (u *upkeep) tooLarge(size int64) bool {
	return size > u.cfg.QuotaBytes/roomDenominator*roomNumerator
}

// disarm ends alarms, when the other members have room too: else one of them would raise the next.
func (u *upkeep) disarm(ctx context.Context, members []uint64) error {
	if len(members) == 0 {
		return nil
	}
	full := false
	if err := u.eachOther(ctx, func(_ string, status *clientv3.StatusResponse, err error) error {
		full = full || err == nil && u.tooLarge(status.DbSize)
		return nil
	}); err != nil || full {
		return err
	}
	for _, id := range members {
		if _, err := u.server.raft().Alarm(ctx, &etcdserverpb.AlarmRequest{
			Action: etcdserverpb.AlarmRequest_DEACTIVATE, MemberID: id, Alarm: etcdserverpb.AlarmType_NOSPACE,
		}); err != nil {
			return fmt.Errorf("disarm the NOSPACE alarm of member %x: %w", id, err)
		}
		klog.FromContext(ctx).Info("Disarmed the NOSPACE alarm after compaction and defragmentation, the cluster takes writes again",
			"member", u.cfg.Name, "alarmOf", memberID(id).String(), "bytes", u.server.raft().Backend().Size(), "quotaBytes", u.cfg.QuotaBytes)
	}
	return nil
}

// warn logs what a person has to do something about, once.
func (u *upkeep) warn(ctx context.Context, message string) error {
	if u.warned != message {
		u.warned = message
		klog.FromContext(ctx).Error(nil, message, "member", u.cfg.Name)
	}
	return nil
}
