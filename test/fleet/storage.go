// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// memberData is where the data is in a member's Pod, on its volume.
const memberData = "/var/lib/muster-etcd/data"

// CertificatesDir is the directory with the certificates of etcd's members and
// clients: ca.crt, tls.crt and tls.key.
func (m *Muster) CertificatesDir() string { return filepath.Join(m.dir, mounts()["/etc/muster/etcd"]) }

// RunInMember runs the program of a member's image with arguments that mean
// something in the member's Pod, as `kubectl exec` does it, or a Job with the
// member's volume. more are further places in the arguments and what stands for
// them, in pairs. The program's standard output is returned.
func (m *Muster) RunInMember(ctx context.Context, i int, args []string, more ...string) ([]byte, error) {
	var clients, peers []string
	for _, member := range m.members {
		clients, peers = append(clients, member.Address()), append(peers, lastFlag(member.command.args, "--listen-peer"))
	}
	own := strings.NewReplacer(append(more, "localhost:2379", m.members[i].Address(), memberData, m.dataOf(i))...)
	places := m.places(clients, peers)
	var placed []string
	for _, argument := range args {
		placed = append(placed, places.Replace(own.Replace(argument)))
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, "muster"), placed...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("muster %s: %w: %s", strings.Join(placed, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// lastFlag is the value that counts of a flag in arguments.
func lastFlag(args []string, name string) string {
	for _, argument := range slices.Backward(args) {
		if value, found := strings.CutPrefix(argument, name+"="); found {
			return value
		}
	}
	return ""
}

// dataOf is a member's data directory.
func (m *Muster) dataOf(i int) string { return lastFlag(m.members[i].command.args, "--data-dir") }

// SetVolumeAside takes the volume from a member, which must not run, and gives it
// an empty one, as a new claim does.
func (m *Muster) SetVolumeAside(i int) error {
	if m.members[i].Running() {
		return fmt.Errorf("%s runs: end it before its volume is taken away", m.members[i].Name())
	}
	if err := os.Rename(m.dataOf(i), m.asideOf(i)); err != nil {
		return fmt.Errorf("setting the volume of %s aside: %w", m.members[i].Name(), err)
	}
	return nil
}

// PutVolumeBack gives a member, which must not run, the volume again that was set
// aside. What is on the one that it has is gone.
func (m *Muster) PutVolumeBack(i int) error {
	if m.members[i].Running() {
		return fmt.Errorf("%s runs: end it before its volume is replaced", m.members[i].Name())
	}
	err := os.RemoveAll(m.dataOf(i))
	if err == nil {
		err = os.Rename(m.asideOf(i), m.dataOf(i))
	}
	if err != nil {
		return fmt.Errorf("putting the volume of %s back: %w", m.members[i].Name(), err)
	}
	return nil
}

// DiscardVolumeAside deletes the volume that was set aside.
func (m *Muster) DiscardVolumeAside(i int) error {
	if err := os.RemoveAll(m.asideOf(i)); err != nil {
		return fmt.Errorf("deleting the former volume of %s: %w", m.members[i].Name(), err)
	}
	return nil
}

func (m *Muster) asideOf(i int) string { return m.dataOf(i) + ".aside" }

// StartUnready starts the server and waits until its readiness probe fails with
// an answer that has these words in it. A server that gets ready is ended, which
// is an error.
func (s *Server) StartUnready(ctx context.Context, words string) error {
	var got error
	err := s.startUntil(ctx, func(ctx context.Context) error {
		answer := s.ready(ctx)
		if answer == nil {
			got = errors.New("it is ready")
			return nil
		}
		if !strings.Contains(answer.Error(), words) {
			return fmt.Errorf("not ready, and does not say %q: %w", words, answer)
		}
		return nil
	})
	if err == nil && got != nil {
		return errors.Join(fmt.Errorf("%s: %w, want that it says %q", s.Name(), got, words), s.Kill())
	}
	return err
}
