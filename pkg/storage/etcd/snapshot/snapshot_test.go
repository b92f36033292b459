// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/etcd/snapshot"
	"github.com/muster-project/muster/pkg/storage/records"
)

const prefix = "/registry/muster/default"

func put(t *testing.T, client *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := client.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func get(t *testing.T, client *clientv3.Client, key string) *clientv3.GetResponse {
	t.Helper()
	resp, err := client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// backup makes a store with an installation and a backup of it, and returns the backup's file with the
// store, which goes on.
func backup(t *testing.T) (file string, info snapshot.Info, server *etcd.Server, client *clientv3.Client) {
	t.Helper()
	server, client = etcdtest.Start(t)
	if _, err := records.RaiseEpoch(t.Context(), client, prefix); err != nil {
		t.Fatal(err)
	}
	put(t, client, prefix+"/object", "v1")
	put(t, client, prefix+"/object", "v2")
	file = filepath.Join(t.TempDir(), "backup")
	info, err := snapshot.SaveFile(t.Context(), etcd.ClientConfig{Endpoints: []string{server.Endpoint()}}, file)
	if err != nil {
		t.Fatal(err)
	}
	return file, info, server, client
}

func TestABackupIsRestored(t *testing.T) {
	file, info, _, client := backup(t)
	before := get(t, client, prefix+"/object")
	if info.Revision != before.Header.Revision {
		t.Errorf("the backup has revision %d, want %d", info.Revision, before.Header.Revision)
	}
	if mode := stat(t, file).Mode().Perm(); mode != 0o600 {
		t.Errorf("the backup has mode %04o, want 0600", mode)
	}
	if size := stat(t, file).Size(); size != info.Bytes {
		t.Errorf("the backup has %d bytes, and %d are reported", size, info.Bytes)
	}
	// The store goes on after its backup: higher revisions, later leaders.
	latest := put(t, client, prefix+"/object", "v3")
	stale, err := records.RaiseEpoch(t.Context(), client, prefix)
	if err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(t.TempDir(), "data")
	result, err := snapshot.Restore(t.Context(), snapshot.RestoreOptions{File: file, DataDir: dir, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	restored := etcdtest.NewClient(t, etcdtest.StartIn(t, dir))
	after := get(t, restored, prefix+"/object")
	if len(after.Kvs) != 1 || string(after.Kvs[0].Value) != "v2" {
		t.Errorf("the restored object is %v, want v2", after.Kvs)
	}
	if fmt.Sprintf("%016x", after.Header.ClusterId) == fmt.Sprintf("%016x", before.Header.ClusterId) {
		t.Error("the restored cluster has the ID of the one of before")
	}
	if got := strings.TrimLeft(fmt.Sprintf("%x", after.Header.ClusterId), "0"); got != result.ClusterID {
		t.Errorf("the cluster is %s, and %s is reported", got, result.ClusterID)
	}
	if after.Header.Revision != result.Revision || after.Header.Revision <= latest {
		t.Errorf("the revision is %d, reported as %d, and was %d before", after.Header.Revision, result.Revision, latest)
	}
	watchIsCut(t, restored, latest)
	if next := put(t, restored, prefix+"/object", "v4"); next != result.Revision+1 {
		t.Errorf("the next write has revision %d, want %d", next, result.Revision+1)
	}

	// Nobody of before can write, and the next leader can.
	if result.Epochs[prefix] <= stale {
		t.Errorf("the epoch is %d, and somebody of before may have %d", result.Epochs[prefix], stale)
	}
	next, err := records.RaiseEpoch(t.Context(), restored, prefix)
	if err != nil || next != result.Epochs[prefix]+1 {
		t.Errorf("the next epoch is %d (%v), want %d", next, err, result.Epochs[prefix]+1)
	}
	store := records.NewStore(restored, prefix, nil, func() (int64, error) { return stale, nil })
	if _, err := store.Create(t.Context(), "record", []byte("v")); !errors.Is(err, records.ErrStaleEpoch) {
		t.Errorf("a leader of before writes: %v", err)
	}
}

// watchIsCut checks that a watch that goes on at a revision of before learns that it cannot.
func watchIsCut(t *testing.T, client *clientv3.Client, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// The channel's zero value, once it is closed, has no error.
	resp := <-client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision))
	if err := resp.Err(); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a watch from revision %d: %v, want compacted", revision, err)
	}
}

func TestARestoredStoreCanBeBackedUpAndRestoredAgain(t *testing.T) {
	file, _, _, _ := backup(t)
	var last int64
	ids := map[string]bool{}
	for range 2 {
		dir := filepath.Join(t.TempDir(), "data")
		result, err := snapshot.Restore(t.Context(), snapshot.RestoreOptions{File: file, DataDir: dir, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if result.Revision <= last || ids[result.ClusterID] {
			t.Errorf("revision %d after %d, cluster %s after %v", result.Revision, last, result.ClusterID, ids)
		}
		last, ids[result.ClusterID] = result.Revision, true
		file = filepath.Join(t.TempDir(), "backup")
		if err := snapshot.FromEmbedded(t.Context(), dir, func(cfg etcd.ClientConfig) error {
			_, err := snapshot.SaveFile(t.Context(), cfg, file)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEmbeddedEtcdsAreBackedUp(t *testing.T) {
	for name, parent := range map[string]string{"short path": "", "long path": strings.Repeat("long/", 25)} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), parent, "data")
			server := etcdtest.StartIn(t, dir)
			client := etcdtest.NewClient(t, server)
			revision := put(t, client, prefix+"/object", "v")
			save := func(what string) {
				t.Helper()
				var out bytes.Buffer
				var info snapshot.Info
				if err := snapshot.FromEmbedded(t.Context(), dir, func(cfg etcd.ClientConfig) (err error) {
					info, err = snapshot.Save(t.Context(), cfg, &out)
					return err
				}); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if info.Revision != revision || int64(out.Len()) != info.Bytes {
					t.Errorf("%s: %s, and %d bytes were written; want revision %d", what, info, out.Len(), revision)
				}
			}
			save("while it runs")
			server.Close()
			save("stopped")
		})
	}
}

func TestNothingIsLeftOfABackupThatFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	if err := os.WriteFile(file, []byte("the last one"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := snapshot.SaveFile(ctx, etcd.ClientConfig{Endpoints: []string{"unix://" + dir + "/nobody"}}, file)
	if err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("error %v, want one with the address", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "the last one" {
		t.Errorf("the last backup is %q, %v", raw, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	file, _, _, _ := backup(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(whole)
	spoilt[len(spoilt)/2] ^= 1
	server, client := etcdtest.Start(t)
	put(t, client, "/registry/pods/default/p", "v")
	foreign := filepath.Join(t.TempDir(), "foreign")
	if _, err := snapshot.SaveFile(t.Context(), etcd.ClientConfig{Endpoints: []string{server.Endpoint()}}, foreign); err != nil {
		t.Fatal(err)
	}
	cluster := "m0=https://127.0.0.1:2380,m1=https://127.0.0.2:2380"

	for name, tc := range map[string]struct {
		content []byte
		change  func(t *testing.T, o *snapshot.RestoreOptions)
		want    string
	}{
		"a changed byte":     {spoilt, nil, "SHA-256 is not what its end says"},
		"half a file":        {whole[:len(whole)/2], nil, "SHA-256 is not what its end says"},
		"no hash at its end": {whole[:len(whole)-32], nil, "SHA-256 is not what its end says"},
		"an empty file":      {[]byte{}, nil, "SHA-256 is not what its end says"},
		"no file": {nil, func(_ *testing.T, o *snapshot.RestoreOptions) { o.File = "/no/such/file" },
			"/no/such/file: no such file"},
		"a directory that is not empty": {nil, func(t *testing.T, o *snapshot.RestoreOptions) {
			o.DataDir = t.TempDir()
			if err := os.Mkdir(filepath.Join(o.DataDir, "etcd"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is not empty, it has etcd"},
		"a file for a directory": {nil, func(_ *testing.T, o *snapshot.RestoreOptions) { o.DataDir = o.File }, "cannot be read"},
		"a member of no cluster": {nil, func(_ *testing.T, o *snapshot.RestoreOptions) { o.Name, o.InitialCluster = "m7", cluster },
			`member "m7" is not among`},
		"a cluster without a name": {nil, func(_ *testing.T, o *snapshot.RestoreOptions) { o.InitialCluster = cluster },
			`member "" is not among`},
		"another program's etcd": {nil, func(_ *testing.T, o *snapshot.RestoreOptions) { o.File = foreign },
			"it has nothing of Muster below /registry/muster"},
	} {
		t.Run(name, func(t *testing.T) {
			o := snapshot.RestoreOptions{File: file, DataDir: filepath.Join(t.TempDir(), "data"), Now: time.Now()}
			if tc.content != nil {
				o.File = filepath.Join(t.TempDir(), "backup")
				if err := os.WriteFile(o.File, tc.content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tc.change != nil {
				tc.change(t, &o)
			}
			_, err := snapshot.Restore(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if entries, err := os.ReadDir(o.DataDir); err == nil {
				for _, entry := range entries {
					if entry.Name() != "lock" && !strings.HasPrefix(tc.want, "is not empty") {
						t.Errorf("%s is left behind", entry.Name())
					}
				}
			}
		})
	}
}

func TestOtherPrefixesAreRestored(t *testing.T) {
	server, client := etcdtest.Start(t)
	for _, prefix := range []string{"/elsewhere/one", prefix, "/registry/muster/two"} {
		put(t, client, prefix+"/object", "v")
	}
	if _, err := records.RaiseEpoch(t.Context(), client, "/elsewhere/one"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := snapshot.SaveFile(t.Context(), etcd.ClientConfig{Endpoints: []string{server.Endpoint()}}, file); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		prefixes []string
		want     []string
	}{
		"as found": {nil, []string{prefix, "/registry/muster/two"}},
		"as given": {[]string{"/elsewhere/one/"}, []string{"/elsewhere/one"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			result, err := snapshot.Restore(t.Context(), snapshot.RestoreOptions{File: file, DataDir: dir, Prefixes: tc.prefixes, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			restored := etcdtest.NewClient(t, etcdtest.StartIn(t, dir))
			for _, prefix := range tc.want {
				got := get(t, restored, records.EpochKey(prefix))
				if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != fmt.Sprint(result.Epochs[prefix]) {
					t.Errorf("%s: epoch %v, reported as %d", prefix, got.Kvs, result.Epochs[prefix])
				}
			}
			if len(result.Epochs) != len(tc.want) {
				t.Errorf("epochs %v, want those of %v", result.Epochs, tc.want)
			}
		})
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
