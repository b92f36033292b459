// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/identity"
	"github.com/muster-project/muster/pkg/storage/identity/guard"
)

// replace makes a client reach another etcd: what is at the address was replaced.
func replace(t *testing.T, client *clientv3.Client, with *etcd.Server) {
	t.Helper()
	client.SetEndpoints(with.Endpoint())
	fresh := etcdtest.NewClient(t, with)
	want, err := fresh.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client reaches the other etcd", func() bool {
		got, err := client.Get(t.Context(), "x")
		return err == nil && got.Header.ClusterId == want.Header.ClusterId && got.Header.Revision <= want.Header.Revision
	})
}

func TestStorageThatIsWipedWhileAServerRuns(t *testing.T) {
	host := newHost("ns")
	server, _ := etcdtest.Start(t)
	client := etcdtest.NewClient(t, server)
	s := start(t, host, client, func(o *guard.Options) { o.RecordPeriod = time.Hour })
	requireTrusted(t, s)
	put(t, client, "a")
	last := put(t, client, "b")
	if err := s.Verify(t.Context()); err != nil { // and has seen the revision
		t.Fatal(err)
	}

	wiped, _ := etcdtest.Start(t)
	replace(t, client, wiped)
	if err := s.Verify(t.Context()); err == nil {
		t.Error("Verify passes after the storage was wiped")
	}
	within(t, "what needs storage has ended", s.ended)
	held := requireHeld(t, s, identity.Wiped)
	if s.Lost().Err() == nil {
		t.Error("Lost has not ended")
	}
	eventually(t, "the revision that was seen last is kept", func() bool { return stored(t, host).Record.Revision >= last })

	// Confirmed, it needs a process that has read nothing else.
	confirm(t, host, held.Found, "new")
	eventually(t, "the confirmation is used", func() bool { return stored(t, host).Record.Installation == "new" })
	eventually(t, "the process ends", func() bool { return s.done() })
	if err := s.stop(); !errors.Is(err, guard.ErrReplaced) {
		t.Errorf("Run: %v, want ErrReplaced", err)
	}
	requireTrusted(t, start(t, host, client))
}

func TestTheRightStorageComesBack(t *testing.T) {
	host := newHost("ns")
	right, _ := etcdtest.Start(t)
	client := etcdtest.NewClient(t, right)
	s := start(t, host, client)
	requireTrusted(t, s)
	wrong, _ := etcdtest.Start(t)
	replace(t, client, wrong)
	requireHeld(t, s, identity.Wiped)
	client.SetEndpoints(right.Endpoint())
	eventually(t, "the process ends", func() bool { return s.done() })
	if err := s.stop(); !errors.Is(err, guard.ErrReplaced) {
		t.Errorf("Run: %v, want ErrReplaced", err)
	}
	requireTrusted(t, start(t, host, client))
}

// A follower may have seen more than was recorded; what it saw outlives the
// process.
func TestWhatAFollowerSawIsKept(t *testing.T) {
	i := used(t)
	s := start(t, i.host, i.client)
	requireTrusted(t, s)
	s.Suspect(t.Context(), i.record.Revision+1000)
	within(t, "what needs storage has ended", s.ended)
	held := requireHeld(t, s, identity.Restored)
	eventually(t, "its revision is recorded", func() bool { return stored(t, i.host).Record.Revision == i.record.Revision+1000 })
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, i.host, i.client)
	requireHeld(t, again, identity.Restored)
	confirm(t, i.host, held.Found, "new")
	requireTrusted(t, again)
}

func TestOtherStorageIsConfirmedForTheInstallation(t *testing.T) {
	i := used(t)
	s := start(t, i.host, i.client)
	requireTrusted(t, s)
	_, other := etcdtest.Start(t)
	wrong := start(t, i.host, other)
	confirm(t, i.host, requireHeld(t, wrong, identity.Wiped).Found, "moved")
	requireTrusted(t, wrong)
	within(t, "who uses the old storage has ended", s.ended)
	eventually(t, "it is held", func() bool { return s.Err() != nil })
}

func TestEmbeddedStorageIsNotAskedBeforeEachWrite(t *testing.T) {
	host := newHost("ns")
	server, client := etcdtest.Start(t)
	s := start(t, host, client, func(o *guard.Options) { o.Embedded, o.CheckPeriod = true, time.Hour })
	requireTrusted(t, s)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if err := s.Verify(t.Context()); err != nil {
		t.Errorf("Verify: %v", err)
	}
}
