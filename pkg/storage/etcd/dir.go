// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	privateDir  fs.FileMode = 0o700
	privateFile fs.FileMode = 0o600

	lockFile   = "lock"
	socketDir  = "run"
	socketFile = "etcd.sock"

	// MinFreeBytes is etcd's log file, which it allocates at once, and a little.
	MinFreeBytes = 80 << 20

	// maxSocketPath is the longest path that every Unix can bind a socket to: sun_path has
	// 104 bytes on BSD and macOS and 108 on Linux, with the terminating NUL.
	maxSocketPath = 103
)

// ErrInUse says that another process has locked a data directory.
var ErrInUse = errors.New("in use by another process")

// PrepareDir makes dir if it is missing, private to this user, and checks that it can be used.
func PrepareDir(dir string) error {
	if err := os.MkdirAll(dir, privateDir); err != nil {
		return fmt.Errorf("data directory %s cannot be created: %w", dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("data directory %s cannot be used: %w", dir, err)
	}
	if info.Mode().Perm() != privateDir {
		if err := os.Chmod(dir, privateDir); err != nil {
			return fmt.Errorf("data directory %s has mode %04o and cannot be made private: %w", dir, info.Mode().Perm(), err)
		}
	}
	if _, err := os.ReadDir(dir); err != nil {
		return fmt.Errorf("data directory %s cannot be read: %w", dir, err)
	}
	return nil
}

// LockDir takes dir for this process, until unlock is called. The kernel gives the lock free when the process ends,
// however it ends, so that a crash leaves nothing to clean up.
func LockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return nil, fmt.Errorf("data directory %s cannot be locked: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		closeErr := f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("data directory %s cannot be locked: %w", dir, errors.Join(err, closeErr))
	}
	// Closing the file is what unlocks it; the file itself stays, or a process that has opened
	// it already would lock a file that nobody else can find.
	return func() { _ = f.Close() }, nil
}

// CheckSpace refuses a disk with fewer free bytes than minimum, before etcd finds out that it is full while
// it writes.
func CheckSpace(dir string, minimum uint64) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("data directory %s: ask for free space: %w", dir, err)
	}
	free := stat.Bavail * uint64(stat.Bsize)
	if free < minimum {
		return fmt.Errorf("data directory %s is on a full disk: %d MiB are free, and etcd needs %d MiB to start",
			dir, free>>20, minimum>>20)
	}
	return nil
}

// prepareSocket returns the path for a socket that only this user can reach, and a function that
// removes what was made for it. The socket is in the data directory, where a crash leaves nothing
// that the next start does not take over, and in a directory of its own under temp where the
// former's path is too long to be bound.
func prepareSocket(dataDir, temp string) (socket string, cleanup func(), err error) {
	dir := filepath.Join(dataDir, socketDir)
	socket = filepath.Join(dir, socketFile)
	if len(socket) <= maxSocketPath {
		if err := PrepareDir(dir); err != nil {
			return "", nil, err
		}
		return socket, func() { _ = os.RemoveAll(dir) }, nil
	}
	short, err := os.MkdirTemp(temp, "muster-")
	if err != nil {
		return "", nil, fmt.Errorf("directory for etcd's socket: %w", err)
	}
	other := filepath.Join(short, socketFile)
	if len(other) > maxSocketPath {
		return "", nil, errors.Join(
			fmt.Errorf("etcd's socket would be at %s or %s: a socket's path has at most %d bytes; choose a data directory or a TMPDIR with a shorter path",
				socket, other, maxSocketPath),
			os.Remove(short))
	}
	// A link says where the socket is, to whoever knows the data directory alone.
	if err := errors.Join(os.RemoveAll(dir), os.Symlink(short, dir)); err != nil {
		return "", nil, errors.Join(fmt.Errorf("directory for etcd's socket: %w", err), os.Remove(short))
	}
	return other, func() { _, _ = os.Remove(dir), os.RemoveAll(short) }, nil
}

// EndpointIn is where the server that runs on a data directory can be reached, by the same user on the
// same machine: an argument for NewClient. It does not say whether one runs.
func EndpointIn(dataDir string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(dataDir, socketDir))
	if err != nil {
		return "", fmt.Errorf("no etcd listens in %s: %w", dataDir, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("etcd's socket in %s: %w", dataDir, err)
	}
	return "unix://" + filepath.Join(dir, socketFile), nil
}
