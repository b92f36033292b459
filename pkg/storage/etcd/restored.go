// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// restoredFile is beside what etcd writes, because etcd owns that.
const restoredFile = "restored.json"

// Restored says that a data directory was made from a backup. A cluster that
// finds it knows that a person wanted the change of identity.
type Restored struct {
	// ClusterID is the restored cluster's, in hexadecimal.
	ClusterID string `json:"clusterID"`
	// Snapshot is the SHA-256 of the backup, in hexadecimal.
	Snapshot string `json:"snapshot"`
	// At is when it was restored. Of two restorations the later one counts.
	At time.Time `json:"at"`
}

// ReadRestored returns what MarkRestored wrote, or nil if the data directory was not restored.
func ReadRestored(dataDir string) (*Restored, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, restoredFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var restored Restored
	if err == nil {
		err = json.Unmarshal(raw, &restored)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %s: %w", dataDir, restoredFile, err)
	}
	return &restored, nil
}

// MarkRestored writes that the data directory was restored.
func MarkRestored(dataDir string, restored Restored) error {
	raw, err := json.Marshal(restored)
	if err == nil {
		err = WriteFile(filepath.Join(dataDir, restoredFile), raw)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dataDir, err)
	}
	return nil
}

// ForgetRestored removes the mark. It is no error if there is none.
func ForgetRestored(dataDir string) error {
	if err := os.Remove(filepath.Join(dataDir, restoredFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data directory %s: %w", dataDir, err)
	}
	return nil
}

// WriteFile writes a private file so that it is there as a whole, on disk, or not at all.
func WriteFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return Publish(f, path, err)
}

// Publish closes a temporary file that was written in path's directory, and makes it path's: on disk
// before it is seen. If failed is an error, or this fails, the temporary file is removed and nothing
// has changed at path.
func Publish(f *os.File, path string, failed error) error {
	err := errors.Join(failed, f.Chmod(privateFile))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes renames in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
