// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// fill overwrites one key until so many bytes were written, or an error.
func (c *cluster) fill(client *clientv3.Client, bytes int) error {
	value := strings.Repeat("x", 512<<10)
	for written := 0; written < bytes; written += len(value) {
		var err error
		eventually(c.t, func() error {
			_, err = client.Put(c.t.Context(), "/large", value)
			if errors.Is(err, rpctypes.ErrNoSpace) {
				return nil
			}
			return err // a busy machine makes members elect another leader
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestAMemberDefragmentsItself(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.configure = func(cfg *Config) { cfg.DefragmentPeriod, cfg.DefragmentFreeBytes = 50*time.Millisecond, 4<<20 }
	processes := c.bootstrap()
	client := c.client()
	if err := c.fill(client, 16<<20); err != nil {
		t.Fatal(err)
	}
	latest := c.put(client, "/large", "small")
	if _, err := client.Compact(t.Context(), latest, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	for _, peer := range c.peers {
		eventually(t, func() error {
			// The backend finds what is free when it is written to.
			c.put(client, "/k", "v")
			status, err := client.Status(t.Context(), peer.ClientURL)
			if err != nil || status.DbSize > 4<<20 {
				return errors.Join(err, fmt.Errorf("the file has %d bytes", status.DbSize))
			}
			return nil
		})
	}
	for _, p := range processes {
		eventually(t, func() error {
			if !strings.Contains(p.log.String(), `"Defragmented"`) {
				return errors.New("it does not say that it has defragmented itself")
			}
			return nil
		})
	}
	c.holds("m0", "/large", "small")
}

func TestTheQuotaIsUsedUpAndRecoveredFrom(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.configure = func(cfg *Config) { cfg.QuotaBytes = 12 << 20 }
	c.bootstrap()
	client := c.client()
	if err := c.fill(client, 64<<20); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("after more than the quota: %v, want no space", err)
	}
	// The alarm ends, and not for a moment only.
	for range 3 {
		c.put(client, "/k", "again")
	}
	for _, peer := range c.peers {
		status, err := client.Status(t.Context(), peer.ClientURL)
		if err != nil || status.DbSize >= 12<<20 {
			t.Errorf("%s: %v, %d bytes", peer.Name, err, status.DbSize)
		}
	}
}

func TestOneMemberAtATimeIsOutOfService(t *testing.T) {
	state := &memory{}
	first := &member{cfg: Config{Name: "m0", Bootstrapped: state}}
	second := &member{cfg: Config{Name: "m1", Bootstrapped: state}}
	expect := func(m *member, want bool) {
		t.Helper()
		if mine, err := m.takeTurn(t.Context(), "test"); err != nil || mine != want {
			t.Errorf("%s: %v, %v, want %v", m.cfg.Name, mine, err, want)
		}
	}
	expect(first, true)
	expect(second, false)
	expect(first, true) // it was killed in its turn, and takes it up again
	if err := second.endTurn(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(second, false)
	if err := first.endTurn(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(second, true)
	// One that died for good in its turn.
	state.state.Turn.Until = time.Now().Add(-time.Second)
	expect(first, true)
	state.fail(errors.New("unreachable"))
	if _, err := first.takeTurn(context.WithoutCancel(t.Context()), "test"); err == nil {
		t.Error("a turn without anybody knowing")
	}
}

func TestWorthDefragmenting(t *testing.T) {
	for _, tc := range []struct {
		size, free int64
		want       bool
	}{
		{1000, 0, false},
		{1000, 99, false},  // not worth the pause
		{1000, 150, false}, // little of the file
		{1000, 400, true},
		{7500, 150, true}, // little, and the quota is near
		{7000, 150, false},
	} {
		if got := worthDefragmenting(tc.size, tc.free, 100, 10_000); got != tc.want {
			t.Errorf("size %d, free %d: %v, want %v", tc.size, tc.free, got, tc.want)
		}
	}
}
