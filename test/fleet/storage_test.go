// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newMembersForTest makes members whose program prints its arguments, one a line.
func newMembersForTest(t *testing.T) *Muster {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "muster"), []byte("#!/bin/sh\nprintf '%s\\n' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := &Muster{bin: bin, dir: dir}
	for i, ports := range []string{"1", "2"} {
		m.members = append(m.members, &Server{
			address: "127.0.0.1:100" + ports,
			command: command{name: memberName(i), args: []string{
				"etcd", "--data-dir=" + memberData, "--data-dir=" + filepath.Join(dir, memberName(i)), "--listen-peer=127.0.0.1:200" + ports,
			}},
		})
	}
	return m
}

func TestArgumentsOfAMembersPod(t *testing.T) {
	m := newMembersForTest(t)
	out, err := m.RunInMember(t.Context(), 1, []string{
		"restore", "--file=/backups/a.db", "--data-dir=/var/lib/muster-etcd/data", "--etcd-servers=https://localhost:2379",
		"--etcd-cafile=/etc/muster/etcd/ca.crt", "--peers=muster-etcd-0=https://muster-etcd-0.muster-etcd.projectsveltos.svc:2380",
	}, "/backups/a.db", "/tmp/b.db")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"restore", "--file=/tmp/b.db", "--data-dir=" + filepath.Join(m.dir, "muster-etcd-1"), "--etcd-servers=https://127.0.0.1:1002",
		"--etcd-cafile=" + filepath.Join(m.CertificatesDir(), "ca.crt"), "--peers=muster-etcd-0=https://127.0.0.1:2001", "",
	}, "\n")
	if string(out) != want {
		t.Errorf("it ran with\n%swant\n%s", out, want)
	}
}

func TestVolumesSetAside(t *testing.T) {
	m := newMembersForTest(t)
	write := func(content string) {
		t.Helper()
		if err := os.MkdirAll(m.dataOf(0), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.dataOf(0), content), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	if err := m.SetVolumeAside(0); err != nil {
		t.Fatal(err)
	}
	write("second")
	if err := m.PutVolumeBack(0); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(m.dataOf(0))
	if err != nil || len(entries) != 1 || entries[0].Name() != "first" {
		t.Errorf("the volume that was put back has %v, %v", entries, err)
	}
	if err := m.SetVolumeAside(0); err != nil {
		t.Fatal(err)
	}
	if err := m.DiscardVolumeAside(0); err != nil {
		t.Fatal(err)
	}
	if err := m.PutVolumeBack(0); err == nil {
		t.Error("a volume that was deleted was put back")
	}
}

func TestStartUnready(t *testing.T) {
	for name, tc := range map[string]struct {
		answers error
		works   bool
	}{
		"says why":       {errors.New("503: its data is gone"), true},
		"gets ready":     {nil, false},
		"says otherwise": {errors.New("503: starting"), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{
				ledger:  &ledger{dir: t.TempDir()},
				command: command{name: "s", path: "/bin/sleep", args: []string{"60"}, dir: t.TempDir()},
				ready:   func(context.Context) error { return tc.answers },
			}
			t.Cleanup(s.shutdown)
			ctx, cancel := context.WithTimeout(t.Context(), startTimeout/100)
			defer cancel()
			if err := s.StartUnready(ctx, "data is gone"); (err == nil) != tc.works || s.Running() != tc.works {
				t.Errorf("StartUnready: %v, and it runs: %t", err, s.Running())
			}
		})
	}
}
