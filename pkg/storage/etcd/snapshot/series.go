// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

const (
	// seriesTime is UTC, so that names sort as the backups do, and without colons, which not every
	// file system takes.
	seriesTime = "20060102T150405Z"
	// unfinishedPrefix begins the name of a backup that is being written.
	unfinishedPrefix = ".muster-backup-"
)

// seriesName matches what SaveSeries calls its files, and nothing that a person would.
var seriesName = regexp.MustCompile(`^muster-backup-(\d{8}T\d{6}Z)-revision-(\d+)\.db$`)

// SeriesOptions say where backups that are made again and again go.
type SeriesOptions struct {
	// Dir is made if it is missing. It is for the backups of one etcd.
	Dir string
	// Keep is how many backups of the series stay, the new one among them; 0 for all.
	Keep int
	// Now is the time that the new one is named for.
	Now time.Time
}

// SaveSeries makes a backup in a file whose name says when and at which revision, and then removes
// the oldest ones of the series. It returns the paths of what it made and removed. Nothing is removed
// unless the new backup is verified and on disk, and of other files nothing ever is.
//
// If an old one cannot be removed there is an error beside the new one's path.
func SaveSeries(ctx context.Context, cfg etcd.ClientConfig, o SeriesOptions) (path string, info Info, removed []string, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", Info{}, nil, fmt.Errorf("backup to %s: %w", o.Dir, err)
	}
	// Two at once would each remove what the other counts on.
	unlock, err := etcd.LockDir(o.Dir)
	if err != nil {
		return "", Info{}, nil, fmt.Errorf("backup to %s: %w", o.Dir, err)
	}
	defer unlock()
	if path, info, err = saveNext(ctx, cfg, o); err != nil {
		return "", Info{}, nil, fmt.Errorf("backup to %s: %w", o.Dir, err)
	}
	removed, err = removeOldest(o, filepath.Base(path))
	if err != nil {
		err = fmt.Errorf("backup %s was made, and older ones cannot be removed: %w", path, err)
	}
	return path, info, removed, err
}

func saveNext(ctx context.Context, cfg etcd.ClientConfig, o SeriesOptions) (string, Info, error) {
	// What a backup that was killed has left may be what fills the disk.
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return "", Info{}, err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), unfinishedPrefix) && entry.Type().IsRegular() {
			if err := os.Remove(filepath.Join(o.Dir, entry.Name())); err != nil {
				return "", Info{}, err
			}
		}
	}
	f, err := os.CreateTemp(o.Dir, unfinishedPrefix)
	if err != nil {
		return "", Info{}, err
	}
	info, err := saveTo(ctx, cfg, f)
	name := fmt.Sprintf("muster-backup-%s-revision-%d.db", o.Now.UTC().Format(seriesTime), info.Revision)
	path := filepath.Join(o.Dir, name)
	return path, info, etcd.Publish(f, path, err)
}

// removeOldest leaves the file that was just made, whatever the clock said when the others were, and
// the newest of the others.
func removeOldest(o SeriesOptions, made string) (removed []string, err error) {
	if o.Keep <= 0 {
		return nil, nil
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, err
	}
	type backup struct {
		name, at string
		revision int64
	}
	var others []backup
	for _, entry := range entries {
		parts := seriesName.FindStringSubmatch(entry.Name())
		if parts == nil || entry.Name() == made || !entry.Type().IsRegular() {
			continue
		}
		revision, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			continue // no revision of etcd's, so no file of ours
		}
		others = append(others, backup{name: entry.Name(), at: parts[1], revision: revision})
	}
	slices.SortFunc(others, func(a, b backup) int {
		return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(b.revision, a.revision))
	})
	var errs []error
	for _, old := range others[min(o.Keep-1, len(others)):] {
		path := filepath.Join(o.Dir, old.name)
		if err := os.Remove(path); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, path)
	}
	return removed, errors.Join(errs...)
}
