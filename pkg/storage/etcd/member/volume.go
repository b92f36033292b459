// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

const (
	// startingFile is in the data directory from before etcd is started without a log until it serves.
	// It holds the permit to begin, or joining. With it, what etcd has written before its log is what a
	// crash left, and the permit is still good: without a log, this member has promised nothing to
	// anybody.
	startingFile = "starting"
	joining      = "join"
)

// volume is what a data directory says about the member that it belongs to.
type volume struct {
	// memberID and clusterID are in hexadecimal.
	memberID, clusterID string
	// restored is set if the directory was made from a backup and the cluster has not taken note yet.
	restored *etcd.Restored
}

func memberDir(dataDir string) string { return filepath.Join(dataDir, etcd.ClusterSubdir, "member") }

// readVolume returns nil if the directory has no log of etcd's, and with it no member.
func readVolume(dataDir string) (_ *volume, err error) {
	logs := filepath.Join(memberDir(dataDir), "wal")
	defer func() {
		// etcd's code panics on what it cannot decode.
		if problem := recover(); problem != nil {
			err = fmt.Errorf("data directory %s is damaged, its log cannot be read: %v", dataDir, problem)
		}
	}()
	if _, err := os.ReadDir(logs); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data directory %s cannot be read: %w", dataDir, err)
	}
	if !wal.Exist(logs) {
		return nil, checkEmpty(dataDir)
	}
	metadata, err := readMetadata(logs)
	if err != nil {
		return nil, fmt.Errorf("data directory %s is damaged, its log cannot be read: %w; "+
			"if the other members are up, empty the directory and this one joins them anew", dataDir, err)
	}
	restored, err := etcd.ReadRestored(dataDir)
	if err != nil {
		return nil, err
	}
	v := &volume{
		memberID:  types.ID(metadata.GetNodeID()).String(),
		clusterID: types.ID(metadata.GetClusterID()).String(),
	}
	if restored != nil && restored.ClusterID == v.clusterID {
		v.restored = restored
	}
	return v, nil
}

func readMetadata(logs string) (*etcdserverpb.Metadata, error) {
	snapshots, err := wal.ValidSnapshotEntries(zap.NewNop(), logs)
	if err != nil {
		return nil, err
	}
	if len(snapshots) == 0 {
		return nil, errors.New("it has no beginning")
	}
	log, err := wal.OpenForRead(zap.NewNop(), logs, snapshots[len(snapshots)-1])
	if err != nil {
		return nil, err
	}
	raw, _, _, err := log.ReadAll()
	_ = log.Close() // it complains of what it has not opened, for reading
	if err != nil {
		return nil, err
	}
	var metadata etcdserverpb.Metadata
	if err := proto.Unmarshal(raw, &metadata); err != nil {
		return nil, err
	}
	return &metadata, nil
}

// checkEmpty makes sure that nothing of worth is lost if etcd starts anew in a directory without a log.
func checkEmpty(dataDir string) error {
	if _, starting, err := readStarting(dataDir); starting || err != nil {
		return err
	}
	database := filepath.Join(memberDir(dataDir), "snap", "db")
	if _, err := os.Stat(database); err == nil {
		return fmt.Errorf("data directory %s has a database and no log: it is damaged, or a backup was copied there by hand; "+
			"empty it, or use muster restore", dataDir)
	}
	return nil
}

// readStarting returns the permit that the data directory holds, if any, and whether etcd was started
// in it and has not served yet.
func readStarting(dataDir string) (permit string, starting bool, err error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, startingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("data directory %s cannot be read: %w", dataDir, err)
	}
	if permit := string(raw); permit != joining {
		return permit, true, nil
	}
	return "", true, nil
}

// writeStarting makes the directory ready for etcd to start in it without a log.
func writeStarting(dataDir, content string) error {
	err := etcd.WriteFile(filepath.Join(dataDir, startingFile), []byte(content))
	if err == nil {
		err = os.RemoveAll(memberDir(dataDir))
	}
	if err != nil {
		return fmt.Errorf("data directory %s cannot be written: %w", dataDir, err)
	}
	return nil
}

// settled forgets how the member came to its log, once it serves.
func settled(dataDir string) error {
	if err := os.Remove(filepath.Join(dataDir, startingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data directory %s cannot be written: %w", dataDir, err)
	}
	return etcd.ForgetRestored(dataDir)
}
