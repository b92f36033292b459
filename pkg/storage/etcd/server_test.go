// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
)

func TestServerKeepsItsDataAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	server := etcdtest.StartIn(t, dir)
	client := etcdtest.NewClient(t, server)
	if _, err := client.Put(t.Context(), "/k", "v"); err != nil {
		t.Fatal(err)
	}
	before, err := server.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Close()

	again := etcdtest.StartIn(t, dir)
	resp, err := etcdtest.NewClient(t, again).Get(t.Context(), "/k")
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != "v" {
		t.Errorf("after a restart /k holds %v, want v", resp.Kvs)
	}
	if resp.Header.Revision != before {
		t.Errorf("after a restart the revision is %d, want %d", resp.Header.Revision, before)
	}
}

func TestClusterIDTellsAWipedDirectory(t *testing.T) {
	dir := t.TempDir()
	clusterID := func() uint64 {
		server := etcdtest.StartIn(t, dir)
		defer server.Close()
		resp, err := etcdtest.NewClient(t, server).Get(t.Context(), "/k")
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.ClusterId
	}
	first := clusterID()
	if again := clusterID(); again != first {
		t.Errorf("the cluster's ID is %x after a restart, want %x", again, first)
	}
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	if wiped := clusterID(); wiped == first {
		t.Errorf("the cluster's ID is %x as before, though its data was wiped", wiped)
	}
}

func TestClientReachesAServerThatWasRestartedUnderIt(t *testing.T) {
	dir := t.TempDir()
	server := etcdtest.StartIn(t, dir)
	client := etcdtest.NewClient(t, server)
	if _, err := client.Put(t.Context(), "/k", "v"); err != nil {
		t.Fatal(err)
	}
	server.Close()
	again := etcdtest.StartIn(t, dir)
	if again.Endpoint() != server.Endpoint() {
		t.Fatalf("the endpoint was %s and is %s after a restart", server.Endpoint(), again.Endpoint())
	}
	if _, err := client.Get(t.Context(), "/k"); err != nil {
		t.Errorf("the client of before the restart: %v", err)
	}
}

func TestRevisionIsNotOlderThanAnAcknowledgedWrite(t *testing.T) {
	server, client := etcdtest.Start(t)
	for range 200 {
		resp, err := client.Put(t.Context(), "/k", "v")
		if err != nil {
			t.Fatal(err)
		}
		if at, err := server.Revision(t.Context()); err != nil || at < resp.Header.Revision {
			t.Fatalf("Revision() = %d, %v after a write at %d", at, err, resp.Header.Revision)
		}
	}
}

func TestAcceptsAllThatAClientSends(t *testing.T) {
	_, client := etcdtest.Start(t)
	if _, err := client.Put(t.Context(), "/large", strings.Repeat("x", 2<<20-100)); err != nil {
		t.Errorf("2 MiB: %v", err)
	}
}

func TestEverythingIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	server := etcdtest.StartIn(t, dir)
	socket := strings.TrimPrefix(server.Endpoint(), "unix://")
	for _, path := range []string{dir, filepath.Join(dir, "etcd"), filepath.Dir(socket)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != fs.ModeDir|0o700 {
			t.Errorf("%s has mode %s, want drwx------", path, got)
		}
	}
}

func TestADirectoryThatOthersCouldReadIsMadePrivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	etcdtest.StartIn(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("%s has mode %04o, want 0700", dir, got)
	}
}

func TestLongDataDirectoryGetsAShortSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 20))
	server := etcdtest.StartIn(t, dir)
	client := etcdtest.NewClient(t, server)
	if _, err := client.Put(t.Context(), "/k", "v"); err != nil {
		t.Fatal(err)
	}
	socketDir := filepath.Dir(strings.TrimPrefix(server.Endpoint(), "unix://"))
	if strings.HasPrefix(socketDir, dir) {
		t.Fatalf("the socket is in the data directory: %s", server.Endpoint())
	}
	server.Close()
	if _, err := os.Stat(socketDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left behind: %v", socketDir, err)
	}
}

func TestStartRefusesWhatItCannotUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used := t.TempDir()
	etcdtest.StartIn(t, used)

	for name, tc := range map[string]struct {
		cfg  etcd.Config
		want string
	}{
		"no directory":   {etcd.Config{}, "no data directory is set"},
		"a file":         {etcd.Config{DataDir: file}, "data directory " + file + " cannot be created"},
		"below a file":   {etcd.Config{DataDir: file + "/data"}, "data directory " + file + "/data cannot be created"},
		"already in use": {etcd.Config{DataDir: used}, "data directory " + used + " is in use by another process"},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := etcd.Start(t.Context(), tc.cfg)
			if err == nil {
				server.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want one with %q", err, tc.want)
			}
		})
	}
}

func TestStartRefusesASocketPathThatIsTooLong(t *testing.T) {
	temp := filepath.Join(t.TempDir(), strings.Repeat("t", 100))
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp)
	_, err := etcd.Start(t.Context(), etcd.Config{DataDir: filepath.Join(temp, "data")})
	if err == nil || !strings.Contains(err.Error(), "a socket's path has at most 103 bytes; choose a data directory or a TMPDIR with a shorter path") {
		t.Errorf("error %v, want one about the path's length", err)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "muster-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	// What failed has given the directory free.
	t.Setenv("TMPDIR", "/tmp")
	etcdtest.StartIn(t, filepath.Join(temp, "data"))
}

func TestDirectoryIsFreeAfterClose(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		server := etcdtest.StartIn(t, dir)
		server.Close()
		server.Close() // twice does no harm
	}
}

func TestDoneIsQuietOnClose(t *testing.T) {
	server := etcdtest.StartIn(t, t.TempDir())
	select {
	case err := <-server.Done():
		t.Fatalf("done while it runs: %v", err)
	default:
	}
	server.Close()
	if err, ok := <-server.Done(); ok {
		t.Errorf("Close shows as a failure: %v", err)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := etcd.Start(ctx, etcd.Config{DataDir: dir, UnsafeNoFsync: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	etcdtest.StartIn(t, dir) // nothing holds it
}

func TestStartGivesUpInTime(t *testing.T) {
	_, err := etcd.Start(t.Context(), etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, StartTimeout: time.Nanosecond})
	if err == nil || !strings.Contains(err.Error(), "was not ready after 1ns") {
		t.Errorf("error %v, want a timeout", err)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  etcd.ClientConfig
		want string
	}{
		"no endpoints":             {etcd.ClientConfig{}, "no endpoints are set"},
		"a certificate alone":      {etcd.ClientConfig{Endpoints: []string{"https://e:2379"}, CertFile: "c"}, "a certificate and its key are needed"},
		"a key alone":              {etcd.ClientConfig{Endpoints: []string{"https://e:2379"}, KeyFile: "k"}, "a certificate and its key are needed"},
		"a CA that is not there":   {etcd.ClientConfig{Endpoints: []string{"https://e:2379"}, CAFile: "/no/such/ca"}, "/no/such/ca"},
		"a pair that is not there": {etcd.ClientConfig{Endpoints: []string{"https://e:2379"}, CertFile: "/no/such/cert", KeyFile: "/no/such/key"}, "/no/such/cert"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := etcd.NewClient(t.Context(), tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
