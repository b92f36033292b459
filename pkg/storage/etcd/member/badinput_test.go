// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// refused runs a member that must not start, and checks what it says and that it has left the data
// directory as it was.
func (c *cluster) refused(name, want string) {
	c.t.Helper()
	before := c.contents(name)
	err := Run(c.t.Context(), c.config(name))
	if err == nil || !strings.Contains(err.Error(), want) {
		c.t.Errorf("error %v\nwant one with %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		c.t.Errorf("not one sentence: %v", err)
	}
	if after := c.contents(name); after != before {
		c.t.Errorf("the data directory had\n%s\nand has\n%s", before, after)
	}
}

// contents is what a data directory holds, but for the lock.
func (c *cluster) contents(name string) string {
	c.t.Helper()
	var all []string
	err := filepath.WalkDir(c.dir(name), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "lock" {
			return err
		}
		info, err := entry.Info()
		all = append(all, fmt.Sprintf("%s %d %s", path, info.Size(), info.ModTime()))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "not a directory") {
		c.t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func TestBadCertificatesAreRefused(t *testing.T) {
	ca := newAuthority(t)
	for name, tc := range map[string]struct {
		change func(*x509.Certificate)
		spoil  func(t *testing.T, c *Certificate)
		want   string
	}{
		"expired": {
			change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
			want:   "tls.crt expired at ",
		},
		"for another host": {
			change: func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} },
			want:   "is not for this member: x509: certificate is valid for 10.0.0.1, not 127.0.0.1",
		},
		"for servers only": {
			change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
			want:   "incompatible key usage",
		},
		"of another CA": {
			spoil: func(t *testing.T, c *Certificate) { write(t, c.CAFile, newAuthority(t).pem) },
			want:  "is not good with CA ",
		},
		"without a CA": {
			spoil: func(_ *testing.T, c *Certificate) { c.CAFile = "/no/such/ca.crt" },
			want:  "CA /no/such/ca.crt cannot be read",
		},
		"a CA that is none": {
			spoil: func(t *testing.T, c *Certificate) { write(t, c.CAFile, []byte("nonsense")) },
			want:  "holds no certificate in PEM",
		},
		"without its key": {
			spoil: func(_ *testing.T, c *Certificate) { c.KeyFile = "/no/such/tls.key" },
			want:  "with key /no/such/tls.key cannot be used",
		},
		"with another's key": {
			spoil: func(t *testing.T, c *Certificate) { c.KeyFile = ca.issue(t, t.TempDir(), nil).KeyFile },
			want:  "private key does not match public key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			certificate := ca.issue(t, t.TempDir(), tc.change)
			if tc.spoil != nil {
				tc.spoil(t, &certificate)
			}
			c := newCluster(t, 1)
			c.configure = func(cfg *Config) { cfg.ClientTLS = certificate }
			c.refused("m0", tc.want)
		})
	}
}

func TestBadDataDirectoriesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, c *cluster, dir string)
		want    string
	}{
		"a file": {
			func(t *testing.T, _ *cluster, dir string) { write(t, dir, nil) },
			"cannot be created",
		},
		"in use": {
			func(t *testing.T, _ *cluster, dir string) {
				unlock, err := etcd.LockDir(mkdir(t, dir))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(unlock)
			},
			"is in use by another process",
		},
		"a damaged log": {
			func(t *testing.T, c *cluster, dir string) {
				p := c.bootstrap()[0]
				p.stop()
				logs, err := filepath.Glob(filepath.Join(memberDir(dir), "wal", "*.wal"))
				if err != nil || len(logs) != 1 {
					t.Fatal(logs, err)
				}
				write(t, logs[0], []byte(strings.Repeat("no log", 1000)))
			},
			"is damaged, its log cannot be read",
		},
		"a damaged database": {
			func(t *testing.T, c *cluster, dir string) {
				p := c.bootstrap()[0]
				p.stop()
				write(t, filepath.Join(memberDir(dir), "snap", "db"), []byte(strings.Repeat("no database", 1000)))
			},
			"data directory ",
		},
		"a database that was copied there": {
			func(t *testing.T, _ *cluster, dir string) {
				write(t, filepath.Join(mkdir(t, filepath.Join(memberDir(dir), "snap")), "db"), []byte("backup"))
			},
			"use muster restore",
		},
		"another cluster's": {
			func(t *testing.T, c *cluster, _ string) {
				p := c.bootstrap()[0]
				p.stop()
				c.state.state.ClusterID = "abcdef"
			},
			"this installation's is cluster abcdef",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 1)
			tc.prepare(t, c, c.dir("m0"))
			c.refused("m0", tc.want)
		})
	}
}

func TestAnotherInstallationsEtcdIsNotJoined(t *testing.T) {
	t.Parallel()
	foreign := newCluster(t, 2)
	foreign.bootstrap()
	ours := newCluster(t, 2)
	ours.tls = foreign.tls
	ours.peers[1] = foreign.peers[1]
	ours.state.state = State{ClusterID: "abcdef", Token: "t", InitialCluster: "m0=" + ours.peers[0].PeerURL}
	ours.refused("m0", "the address is another installation's")

	// With certificates of another CA the two do not even speak.
	ours.tls = newAuthority(t).issue(t, t.TempDir(), nil)
	ours.refused("m0", "do not accept each other's certificates")
}

func TestAMemberThatWasRemovedIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	processes := c.bootstrap()
	client := c.client("m0", "m1")
	id := c.voters(client, 3)["m2"]
	processes[2].stop()
	if _, err := client.MemberRemove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	c.refused("m2", "was removed from the cluster")
}

func TestConfigurationsAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no directory":      {func(c *Config) { c.DataDir = "" }, "no data directory is set"},
		"no peers":          {func(c *Config) { c.Peers = nil }, `this is member "m0", and the cluster's members are `},
		"another name":      {func(c *Config) { c.Name = "m7" }, `this is member "m7", and the cluster's members are m0`},
		"without TLS":       {func(c *Config) { c.Peers[0].PeerURL = "http://127.0.0.1:2380" }, "members speak TLS only"},
		"a name twice":      {func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) }, "must be set, and different"},
		"a port alone":      {func(c *Config) { c.ListenClient = ":2379" }, "want IP:port"},
		"nothing remembers": {func(c *Config) { c.Bootstrapped = nil }, "nothing remembers"},
		"hasty elections":   {func(c *Config) { c.Timing.Election = c.Timing.Heartbeat }, "at least five heartbeats"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.configure = tc.change
			c.refused("m0", tc.want)
		})
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
