// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/identity"
	"github.com/muster-project/muster/pkg/storage/identity/guard"
)

func TestTheFirstStartTakesEmptyStorageIntoUse(t *testing.T) {
	host := newHost("ns")
	_, client := etcdtest.Start(t)
	first := start(t, host, client)
	requireTrusted(t, first)
	record := stored(t, host).Record
	if record == nil || record.Prefix != prefix || record.Installation == "" || record.ClusterID == "" {
		t.Fatalf("record %+v", record)
	}
	last := put(t, client, "a")
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, host).Record.Revision; got < last {
		t.Errorf("the last record is of revision %d, written was %d", got, last)
	}

	requireTrusted(t, start(t, host, client))
	if got := stored(t, host).Record.Installation; got != record.Installation {
		t.Errorf("the installation was %s and is %s", record.Installation, got)
	}
}

func TestServersThatStartAtOnceAgree(t *testing.T) {
	host := newHost("ns")
	_, client := etcdtest.Start(t)
	servers := make([]*server, 5)
	for i := range servers {
		servers[i] = start(t, host, client)
	}
	for _, s := range servers {
		requireTrusted(t, s)
	}
}

// installation is a host and storage that was written to; no server runs.
type installation struct {
	host   kubernetes.Interface
	client *clientv3.Client
	record identity.Record
}

func used(t *testing.T) installation {
	t.Helper()
	i := installation{host: newHost("ns")}
	_, i.client = etcdtest.Start(t)
	s := start(t, i.host, i.client)
	requireTrusted(t, s)
	for range 10 {
		put(t, i.client, "a")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	i.record = *stored(t, i.host).Record
	return i
}

// markOf copies the mark of one storage to another, as a restore does.
func markOf(t *testing.T, from, to *clientv3.Client) {
	t.Helper()
	resp, err := from.Get(t.Context(), prefix+"/installation")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Put(t.Context(), prefix+"/installation", string(resp.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
}

func TestOtherStorageIsHeldUntilItIsConfirmed(t *testing.T) {
	tests := map[string]struct {
		// prepare returns the storage that the next server finds.
		prepare func(t *testing.T, i *installation) *clientv3.Client
		want    identity.Reason
	}{
		"wiped": {func(t *testing.T, _ *installation) *clientv3.Client {
			_, other := etcdtest.Start(t)
			return other
		}, identity.Wiped},
		"emptied": {func(t *testing.T, i *installation) *clientv3.Client {
			if _, err := i.client.Delete(t.Context(), prefix, clientv3.WithPrefix()); err != nil {
				t.Fatal(err)
			}
			return i.client
		}, identity.Wiped},
		"restored": {func(t *testing.T, i *installation) *clientv3.Client {
			_, other := etcdtest.Start(t)
			markOf(t, i.client, other)
			return other
		}, identity.Restored},
		"older than it was": {func(t *testing.T, i *installation) *clientv3.Client {
			write(t, i.host, func(data map[string]string) { data["revision"] = "1000000" })
			return i.client
		}, identity.Restored},
		"another installation's": {func(t *testing.T, _ *installation) *clientv3.Client {
			_, other := etcdtest.Start(t)
			requireTrusted(t, start(t, newHost("ns-2"), other))
			return other
		}, identity.Foreign},
		"unmarked": {func(t *testing.T, _ *installation) *clientv3.Client {
			_, other := etcdtest.Start(t)
			put(t, other, "x")
			return other
		}, identity.Unmarked},
		"another's on the first start": {func(t *testing.T, i *installation) *clientv3.Client {
			i.host = newHost("ns-2")
			return i.client
		}, identity.Foreign},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := used(t)
			client := test.prepare(t, &i)
			before, record := revision(t, client), stored(t, i.host)
			s := start(t, i.host, client)
			held := requireHeld(t, s, test.want)
			if err := s.Verify(t.Context()); err == nil {
				t.Error("Verify passes")
			}
			if got := revision(t, client); got != before {
				t.Errorf("etcd was written to: it was at revision %d and is at %d", before, got)
			}
			if got := stored(t, i.host); record.Record != nil && *got.Record != *record.Record {
				t.Errorf("the record was %+v and is %+v", record.Record, got.Record)
			}

			confirm(t, i.host, held.Found, "confirmed-id")
			requireTrusted(t, s)
			got := stored(t, i.host)
			if got.Confirmed != nil || got.Record == nil || got.Record.Installation != "confirmed-id" {
				t.Errorf("after the confirmation: %+v", got)
			}
			requireTrusted(t, start(t, i.host, client)) // after a restart too
		})
	}
}

func TestAConfirmationConfirmsNothingElse(t *testing.T) {
	i := used(t)
	_, wiped := etcdtest.Start(t)
	held := requireHeld(t, start(t, i.host, wiped), identity.Wiped)
	_, another := etcdtest.Start(t)
	markOf(t, i.client, another)
	s := start(t, i.host, another)
	requireHeld(t, s, identity.Restored)
	// Of the two servers only the first may go on: its storage is what is named.
	found := held.Found
	found.Revision++ // it never was there
	confirm(t, i.host, found, "nothing")
	configMaps := i.host.CoreV1().ConfigMaps(namespace)
	seen, err := configMaps.Get(t.Context(), identity.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The servers look at least every 20 ms; their looking is what is waited for.
	time.Sleep(200 * time.Millisecond)
	requireHeld(t, s, identity.Restored)
	now, err := configMaps.Get(t.Context(), identity.ConfigMapName, metav1.GetOptions{})
	if err != nil || now.ResourceVersion != seen.ResourceVersion {
		t.Errorf("the ConfigMap was written: %v, %v", now.Data, err)
	}
}

func TestTwoInstallationsNeverShareAPrefix(t *testing.T) {
	_, client := etcdtest.Start(t)
	first, hostOfSecond := newHost("ns-1"), newHost("ns-2")
	a := start(t, first, client)
	requireTrusted(t, a)
	b := start(t, hostOfSecond, client)
	held := requireHeld(t, b, identity.Foreign)
	// Whoever gives the prefix to the second takes it from the first.
	confirm(t, hostOfSecond, held.Found, "second")
	requireTrusted(t, b)
	requireHeld(t, a, identity.Foreign)
	within(t, "the first has stopped", a.ended)
}

func TestTheDeletedRecordOfTheOwnStorageIsMadeAgain(t *testing.T) {
	for name, running := range map[string]bool{"while a server runs": true, "while none runs": false} {
		t.Run(name, func(t *testing.T) {
			i := used(t)
			if running {
				requireTrusted(t, start(t, i.host, i.client))
			}
			if err := i.host.CoreV1().ConfigMaps(namespace).Delete(t.Context(), identity.ConfigMapName, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			if !running {
				requireTrusted(t, start(t, i.host, i.client))
			}
			eventually(t, "a record", func() bool { return stored(t, i.host).Record != nil })
			if got := stored(t, i.host).Record; got.Installation != i.record.Installation || got.Revision < i.record.Revision {
				t.Errorf("record %+v, want that of %+v", got, i.record)
			}
		})
	}
}

func TestADamagedRecord(t *testing.T) {
	i := used(t)
	s := start(t, i.host, i.client)
	requireTrusted(t, s)
	damage := func() { write(t, i.host, func(data map[string]string) { data["revision"] = "many" }) }
	damage()
	eventually(t, "it is repaired by a server that knows", func() bool {
		configMap, err := i.host.CoreV1().ConfigMaps(namespace).Get(t.Context(), identity.ConfigMapName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = identity.Parse(configMap.Data)
		return err == nil
	})
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	damage()
	s = start(t, i.host, i.client)
	eventually(t, "a server that doesn't know says so", func() bool {
		var held *identity.Held
		err := s.Err()
		return err != nil && !errors.As(err, &held) && len(err.Error()) > 60
	})
}

func TestReady(t *testing.T) {
	i := used(t)
	_, wiped := etcdtest.Start(t)
	short := func(o *guard.Options) { o.RecordPeriod = time.Second }
	other := start(t, i.host, i.client, short)
	requireTrusted(t, other)
	s := start(t, i.host, wiped, short)
	requireHeld(t, s, identity.Wiped)
	if s.Ready() == nil {
		t.Error("a server whose storage is held takes traffic from one that trusts its own")
	}
	if err := other.Ready(); err != nil {
		t.Errorf("the other server: %v", err)
	}
	if err := other.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "with nobody else, it says why the API does not answer", func() bool { return s.Ready() == nil })
	if s.Err() == nil {
		t.Error("ready because storage is trusted")
	}
}
