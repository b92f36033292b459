// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/etcd/snapshot"
	"github.com/muster-project/muster/pkg/storage/records"
)

// noon is not in UTC, as the clock of a machine is not.
var noon = time.Date(2026, 5, 6, 14, 0, 0, 0, time.FixedZone("CEST", 2*60*60))

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, entry := range entries {
		if entry.Name() != "lock" {
			all = append(all, entry.Name())
		}
	}
	return all
}

func touch(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASeriesIsNamedByTimeAndRevisionAndCanBeRestored(t *testing.T) {
	server, client := etcdtest.Start(t)
	if _, err := records.RaiseEpoch(t.Context(), client, prefix); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "made", "by itself")
	cfg := etcd.ClientConfig{Endpoints: []string{server.Endpoint()}}
	var want []string
	for day := range 4 {
		revision := put(t, client, prefix+"/object", fmt.Sprint(day))
		path, info, removed, err := snapshot.SaveSeries(t.Context(), cfg, snapshot.SeriesOptions{Dir: dir, Keep: 2, Now: noon.AddDate(0, 0, day)})
		if err != nil || info.Revision != revision {
			t.Fatalf("%s: %s, %v; want revision %d", path, info, err, revision)
		}
		if len(removed) != max(0, min(1, day-1)) {
			t.Errorf("day %d: %q were removed", day, removed)
		}
		if mode := stat(t, path).Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", path, mode)
		}
		want = append(want, fmt.Sprintf("muster-backup-2026050%dT120000Z-revision-%d.db", 6+day, revision))
	}
	if diff := cmp.Diff(want[2:], names(t, dir)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	options := snapshot.RestoreOptions{File: filepath.Join(dir, want[3]), DataDir: filepath.Join(t.TempDir(), "data"), Now: noon}
	if _, err := snapshot.Restore(t.Context(), options); err != nil {
		t.Error(err)
	}
}

func TestOnlyOldestBackupsOfTheSeriesAreRemoved(t *testing.T) {
	server, client := etcdtest.Start(t)
	revision := put(t, client, prefix+"/object", "v")
	cfg := etcd.ClientConfig{Endpoints: []string{server.Endpoint()}}
	made := fmt.Sprintf("muster-backup-20260506T120000Z-revision-%d.db", revision)
	foreign := []string{
		"before-the-upgrade.db", "muster-backup-20200101T000000Z-revision-7.db.gz", "muster-backup-2020-revision-7.db",
		"copy-of-muster-backup-20200101T000000Z-revision-7.db", "muster-backup-20200101T000000Z-revision-99999999999999999999.db",
	}
	const day4, day5, day9 = "muster-backup-20260504T120000Z-revision-9.db", "muster-backup-20260505T120000Z-revision-7.db", "muster-backup-20260509T120000Z-revision-8.db"
	const day5Later = "muster-backup-20260505T120000Z-revision-10.db"
	for name, test := range map[string]struct {
		before []string
		keep   int
		want   []string
	}{
		"all are kept":             {[]string{day4, day5}, 0, []string{day4, day5, made}},
		"fewer than may be":        {[]string{day4}, 3, []string{day4, made}},
		"the newest stay":          {[]string{day4, day5}, 2, []string{day5, made}},
		"at one time, by revision": {[]string{day5, day5Later}, 2, []string{day5Later, made}},
		"the new one alone":        {[]string{day4, day5}, 1, []string{made}},
		// A backup that was made while the clock was ahead must not cost the new one.
		"a name from the future": {[]string{day4, day9}, 2, []string{made, day9}},
		"one, and the future":    {[]string{day9}, 1, []string{made}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			touch(t, dir, append(test.before, foreign...)...)
			subdir := "muster-backup-20200101T000000Z-revision-8.db"
			if err := os.Mkdir(filepath.Join(dir, subdir), 0o700); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := snapshot.SaveSeries(t.Context(), cfg, snapshot.SeriesOptions{Dir: dir, Keep: test.keep, Now: noon}); err != nil {
				t.Fatal(err)
			}
			left := map[string]bool{}
			for _, name := range names(t, dir) {
				left[name] = true
			}
			want := map[string]bool{subdir: true}
			for _, name := range append(test.want, foreign...) {
				want[name] = true
			}
			if diff := cmp.Diff(want, left); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

// Old backups are all there is, when a new one cannot be made.
func TestNothingIsRemovedForABackupThatFails(t *testing.T) {
	dir := t.TempDir()
	old := []string{"muster-backup-20260504T120000Z-revision-1.db", "muster-backup-20260505T120000Z-revision-2.db"}
	touch(t, dir, old...)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	nobody := etcd.ClientConfig{Endpoints: []string{"unix://" + dir + "/nobody"}}
	path, _, removed, err := snapshot.SaveSeries(ctx, nobody, snapshot.SeriesOptions{Dir: dir, Keep: 1, Now: noon})
	if err == nil || path != "" || removed != nil {
		t.Errorf("made %q, removed %q, %v", path, removed, err)
	}
	if diff := cmp.Diff(old, names(t, dir)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestWhatAKilledBackupLeftIsRemoved(t *testing.T) {
	server, client := etcdtest.Start(t)
	revision := put(t, client, prefix+"/object", "v")
	dir := t.TempDir()
	touch(t, dir, ".muster-backup-123456")
	cfg := etcd.ClientConfig{Endpoints: []string{server.Endpoint()}}
	if _, _, _, err := snapshot.SaveSeries(t.Context(), cfg, snapshot.SeriesOptions{Dir: dir, Now: noon}); err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("muster-backup-20260506T120000Z-revision-%d.db", revision)}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	dir := t.TempDir()
	unlock, err := etcd.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, _, _, err := snapshot.SaveSeries(t.Context(), etcd.ClientConfig{}, snapshot.SeriesOptions{Dir: dir, Now: noon}); !errors.Is(err, etcd.ErrInUse) {
		t.Errorf("error %v, want ErrInUse", err)
	}
}
