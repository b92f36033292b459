// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// maxSocketPath keeps unix socket paths clear of the kernel's limit, 104 bytes
// on the strictest system.
const maxSocketPath = 100

// etcd is the one etcd that all control planes of a fleet share, each under a
// prefix of its own. It listens on unix sockets in a private directory, so no
// other user of the machine reaches it.
type etcd struct {
	bin, dir string
	sockets  string // directory of the sockets: short, and removed at the end
	process  *process
}

// newEtcd picks a directory for the sockets: that of the fleet, or a
// temporary one where its path is too long.
func newEtcd(bin, dir string) (*etcd, error) {
	e := &etcd{bin: bin, dir: dir, sockets: filepath.Join(dir, "etcd")}
	if err := os.MkdirAll(e.sockets, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of etcd: %w", err)
	}
	const longest = "control" // of the sockets' names
	if len(e.socket(longest)) <= maxSocketPath {
		return e, nil
	}
	parent := os.TempDir()
	if len(filepath.Join(parent, "fleet-0123456789", longest+".sock")) > maxSocketPath {
		parent = "/tmp"
	}
	var err error
	if e.sockets, err = os.MkdirTemp(parent, "fleet-"); err != nil {
		return nil, fmt.Errorf("making a directory for etcd's sockets: %w", err)
	}
	return e, nil
}

func (e *etcd) socket(name string) string { return filepath.Join(e.sockets, name+".sock") }

func (e *etcd) endpoint() string { return "unix://" + e.socket("client") }

func (e *etcd) start(ctx context.Context, l *ledger) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	peer := "unix://" + e.socket("peer")
	var err error
	e.process, err = l.launch(command{
		name: "etcd",
		path: filepath.Join(e.bin, "etcd"),
		dir:  e.dir,
		args: []string{
			"--name=fleet",
			"--data-dir=" + filepath.Join(e.dir, "etcd", "data"),
			"--listen-client-urls=" + e.endpoint(),
			"--advertise-client-urls=" + e.endpoint(),
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=fleet=" + peer,
			// A fleet's data is worth nothing after a crash of the machine.
			"--unsafe-no-fsync",
			"--quota-backend-bytes=4294967296",
			// One member elects itself: no need to wait a second for others.
			"--heartbeat-interval=10",
			"--election-timeout=100",
			"--watch-progress-notify-interval=5s",
			"--log-level=warn",
		},
	})
	if err != nil {
		return err
	}
	return e.process.awaitReady(ctx, e.healthy())
}

func (e *etcd) healthy() func(context.Context) error {
	dialer := net.Dialer{}
	client := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", e.socket("client"))
			},
		},
	}
	return checkWith(client, "http://etcd/readyz")
}

func (e *etcd) stop() {
	if e.process != nil {
		e.process.kill()
	}
	if filepath.Dir(e.sockets) != e.dir {
		_ = os.RemoveAll(e.sockets)
	}
}
