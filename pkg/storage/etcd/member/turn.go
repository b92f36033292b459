// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxTurn is longer than any defragmentation within the quota, and than clocks differ.
const maxTurn = 15 * time.Minute

// takeTurn tells whether it is this member's turn to be out of service. The turn is outside of etcd,
// because a cluster without space takes no locks, and one without a majority nothing at all.
func (m *member) takeTurn(ctx context.Context, reason string) (mine bool, err error) {
	now := time.Now().UTC().Truncate(time.Second)
	err = change(ctx, m.cfg.Bootstrapped, func(s *State) bool {
		mine = s.Turn == nil || s.Turn.Member == m.cfg.Name || now.After(s.Turn.Until)
		if mine {
			s.Turn = &Turn{Member: m.cfg.Name, Reason: reason, Until: now.Add(maxTurn)}
		}
		return mine
	})
	if err != nil {
		return false, fmt.Errorf("take a turn for %s: %w", reason, err)
	}
	return mine, nil
}

// endTurn lets the next member have its turn.
func (m *member) endTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := change(ctx, m.cfg.Bootstrapped, func(s *State) bool {
		mine := s.Turn != nil && s.Turn.Member == m.cfg.Name
		if mine {
			s.Turn = nil
		}
		return mine
	}); err != nil {
		return fmt.Errorf("end a turn: %w", err)
	}
	return nil
}

// othersHealthy is nil if all other members take part, so that the cluster can do without this one.
func (u *upkeep) othersHealthy(ctx context.Context) error {
	return u.eachOther(ctx, func(name string, status *clientv3.StatusResponse, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("left for later, member %s does not answer: %w", name, err)
		case status.IsLearner:
			return fmt.Errorf("left for later, member %s is catching up", name)
		case status.Leader == 0:
			return fmt.Errorf("left for later, member %s knows no leader", name)
		}
		return nil
	})
}

// eachOther asks each of the other members for its status.
func (u *upkeep) eachOther(ctx context.Context, judge func(name string, status *clientv3.StatusResponse, err error) error) error {
	members, err := u.server.raft().MemberList(ctx, &etcdserverpb.MemberListRequest{Linearizable: true})
	if err != nil {
		return fmt.Errorf("list the members: %w", err)
	}
	for _, other := range members {
		if other.ID == u.server.raft().MemberID() {
			continue
		}
		name := other.Name
		if name == "" {
			name = other.ID.String()
		}
		status, err := u.status(ctx, other.ClientURLs)
		if err := judge(name, status, err); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) status(ctx context.Context, endpoints []string) (status *clientv3.StatusResponse, err error) {
	if len(endpoints) == 0 {
		return nil, fmt.Errorf("it has not started yet")
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timing.Ask)
	defer cancel()
	err = m.withClient(ctx, endpoints, func(client *clientv3.Client) error {
		status, err = client.Status(ctx, endpoints[0])
		return err
	})
	return status, err
}

func memberID(id uint64) types.ID { return types.ID(id) }
