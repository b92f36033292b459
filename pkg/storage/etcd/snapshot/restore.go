// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// unfinishedDir is where a restore builds what it renames at its end.
const unfinishedDir = "restoring"

// RestoreOptions say what a backup is restored to.
type RestoreOptions struct {
	// File is the backup.
	File string
	// DataDir becomes the data directory. It must be empty, or not exist.
	DataDir string
	// Name and InitialCluster ("name=https://host:port,...") make it one member of a cluster, each of
	// which is restored from the same file with the same options but Name and DataDir. Both empty make
	// it that of an embedded etcd.
	Name, InitialCluster string
	// Token distinguishes this restore from others. The same for all members. Default: from the file.
	Token string
	// Prefixes are where installations keep their keys. Default: all that the backup has below
	// records.Root.
	Prefixes []string
	// Now is the time.
	Now time.Time
}

// Result is what Restore has made.
type Result struct {
	// Backup is what was restored.
	Backup Info
	// Revision is the current one of the restored store: higher than any that was ever seen.
	Revision int64
	// ClusterID is the new cluster's, in hexadecimal.
	ClusterID string
	// Epochs are the installations' new epochs, by prefix.
	Epochs map[string]int64
}

// Restore makes a data directory from a backup. The directory is changed at the end, at once, or not
// at all.
//
// Revisions go on far above those of the backup, so that none that was ever seen comes again with
// another meaning, and all before are compacted, so that no watch goes on as if nothing had happened.
// Epochs go on far above likewise, so that nobody who led before can write.
func Restore(ctx context.Context, o RestoreOptions) (Result, error) {
	info, err := inspect(o.File)
	if err != nil {
		return Result{}, fmt.Errorf("backup %s: %w", o.File, err)
	}
	cluster, err := o.cluster(info)
	if err != nil {
		return Result{}, err
	}
	if err := checkVacant(o.DataDir); err != nil {
		return Result{}, err
	}
	if err := etcd.PrepareDir(o.DataDir); err != nil {
		return Result{}, err
	}
	unlock, err := etcd.LockDir(o.DataDir)
	if err != nil {
		return Result{}, err
	}
	defer unlock()

	logger := etcd.NewZapLogger(klog.FromContext(ctx).WithName("restore"), new(atomic.Bool))
	b := &builder{dir: filepath.Join(o.DataDir, unfinishedDir), cluster: cluster, name: o.name(), logger: logger}
	result := Result{Backup: info, ClusterID: cluster.ID().String()}
	if err := b.build(o, info, &result); err != nil {
		return Result{}, errors.Join(fmt.Errorf("restore %s: %w", o.File, err), os.RemoveAll(b.dir))
	}
	return result, nil
}

func (o RestoreOptions) embedded() bool { return o.Name == "" && o.InitialCluster == "" }

func (o RestoreOptions) subdir() string {
	if o.embedded() {
		return etcd.DataSubdir
	}
	return etcd.ClusterSubdir
}

func (o RestoreOptions) name() string {
	if o.embedded() {
		return etcd.EmbeddedName
	}
	return o.Name
}

// cluster is the new cluster. Its ID comes from its members and the token: a backup that is restored
// makes a cluster that is no other's, and the same one in all of its members.
func (o RestoreOptions) cluster(info Info) (*membership.RaftCluster, error) {
	initial := o.InitialCluster
	token := o.Token
	if token == "" {
		token = info.Hash
	}
	if o.embedded() {
		initial = etcd.EmbeddedName + "=" + etcd.EmbeddedPeer
		// One directory, so that nobody has to agree: the time makes a second restore differ, too.
		token += o.Now.String()
	}
	urls, err := types.NewURLsMap(initial)
	if err != nil {
		return nil, fmt.Errorf("members %q: %w", initial, err)
	}
	if len(urls[o.name()]) == 0 {
		return nil, fmt.Errorf("member %q is not among the cluster's members %s", o.name(), initial)
	}
	return membership.NewClusterFromURLsMap(zap.NewNop(), "restored-"+token, urls)
}

// checkVacant refuses a directory with anything in it but what a lock, a file system or an unfinished
// restore has left.
func checkVacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory %s cannot be read: %w", dir, err)
	}
	for _, entry := range entries {
		if !slices.Contains([]string{"lock", "lost+found", "run", unfinishedDir}, entry.Name()) {
			return fmt.Errorf("data directory %s is not empty, it has %s; restore to an empty one, nothing was changed", dir, entry.Name())
		}
	}
	return nil
}

// build makes the whole directory, and the rename that makes it count.
func (b *builder) build(o RestoreOptions, info Info, result *Result) error {
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(b.snapDir(), 0o700); err != nil {
		return err
	}
	if err := copyDatabase(o.File, b.database(), info.Bytes); err != nil {
		return err
	}
	if err := b.rewrite(o.Prefixes, info.Revision, result); err != nil {
		return err
	}
	if err := b.writeLog(); err != nil {
		return err
	}
	// First the mark: data without it would be taken for another cluster's, and a mark alone is
	// nothing.
	if !o.embedded() {
		if err := etcd.MarkRestored(o.DataDir, etcd.Restored{ClusterID: result.ClusterID, Snapshot: info.Hash, At: o.Now.UTC()}); err != nil {
			return err
		}
	}
	if err := os.Rename(b.dir, filepath.Join(o.DataDir, o.subdir())); err != nil {
		return err
	}
	return etcd.SyncDir(o.DataDir)
}

// copyDatabase copies a backup without the hash at its end.
func copyDatabase(from, to string, bytes int64) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(target, source, bytes-hashBytes)
	return errors.Join(err, target.Sync(), target.Close())
}
