// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package snapshot makes backups of etcd and restores them. A backup is what
// etcd's own tools make and read: a copy of the database with its SHA-256 at
// the end.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// SaveFile makes a backup in a file of mode 0600, which is there as a whole, verified and on disk, or
// as it was before.
func SaveFile(ctx context.Context, cfg etcd.ClientConfig, path string) (Info, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return Info{}, fmt.Errorf("backup %s: %w", path, err)
	}
	info, err := saveTo(ctx, cfg, f)
	if err := etcd.Publish(f, path, err); err != nil {
		return Info{}, fmt.Errorf("backup %s: %w", path, err)
	}
	return info, nil
}

// Save writes a backup to w, all of it verified before the first byte. It needs room in the directory
// for temporary files.
func Save(ctx context.Context, cfg etcd.ClientConfig, w io.Writer) (info Info, err error) {
	f, err := os.CreateTemp("", "muster-backup-")
	if err != nil {
		return Info{}, fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if info, err = saveTo(ctx, cfg, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(w, f)
	}
	if err != nil {
		return Info{}, fmt.Errorf("backup: %w", err)
	}
	return info, nil
}

// saveTo takes the backup from the first member that has one, because a backup is one member's.
func saveTo(ctx context.Context, cfg etcd.ClientConfig, f *os.File) (Info, error) {
	var errs []error
	for _, endpoint := range cfg.Endpoints {
		one := cfg
		one.Endpoints = []string{endpoint}
		info, err := saveFrom(ctx, one, f)
		if err == nil {
			return info, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", endpoint, err))
		if err := errors.Join(ctx.Err(), f.Truncate(0)); err != nil {
			return Info{}, errors.Join(append(errs, err)...)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return Info{}, errors.Join(append(errs, err)...)
		}
	}
	if len(errs) == 0 {
		return Info{}, errors.New("no etcd is named")
	}
	return Info{}, errors.Join(errs...)
}

func saveFrom(ctx context.Context, cfg etcd.ClientConfig, f *os.File) (_ Info, err error) {
	client, err := etcd.NewClient(ctx, cfg)
	if err != nil {
		return Info{}, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	// A member that lags, or is cut off from the others, would give an old state for the current one.
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := client.Get(asking, "/", clientv3.WithCountOnly()); err != nil {
		return Info{}, fmt.Errorf("it is not part of a majority: %w", err)
	}
	resp, err := client.SnapshotWithVersion(ctx)
	if err != nil {
		return Info{}, err
	}
	sink := newTrailed(f)
	_, err = io.Copy(sink, resp.Snapshot)
	if err := errors.Join(err, resp.Snapshot.Close(), f.Sync()); err != nil {
		return Info{}, err
	}
	return sink.info(f.Name())
}
