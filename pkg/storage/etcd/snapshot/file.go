// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
)

// ErrDamaged says that a file is not a whole backup.
var ErrDamaged = errors.New("it is damaged, or no backup of etcd")

// Info is what a backup is known by.
type Info struct {
	// Revision is the newest that the backup has.
	Revision int64
	// Hash is the SHA-256 of the database in it, in hexadecimal.
	Hash string
	// Bytes is its size.
	Bytes int64
}

// String is one line for people.
func (i Info) String() string {
	return fmt.Sprintf("revision %d, sha256 %s, %d bytes", i.Revision, i.Hash, i.Bytes)
}

// trailed copies what it reads from etcd to a file and hashes all of it but the last 32 bytes, which
// are the hash that etcd sends at the end.
type trailed struct {
	to     io.Writer
	digest hash.Hash
	tail   []byte
	bytes  int64
}

func newTrailed(to io.Writer) *trailed { return &trailed{to: to, digest: sha256.New()} }

func (t *trailed) Write(p []byte) (int, error) {
	n, err := t.to.Write(p)
	t.bytes += int64(n)
	t.tail = append(t.tail, p[:n]...)
	if over := len(t.tail) - sha256.Size; over > 0 {
		_, _ = t.digest.Write(t.tail[:over]) // a hash never fails
		t.tail = append(t.tail[:0], t.tail[over:]...)
	}
	return n, err
}

// verified is the hash, if it is what the end says it is.
func (t *trailed) verified() (string, error) {
	sum := t.digest.Sum(nil)
	// etcd's database is whole sectors; without the hash at its end a copy of one must not pass.
	if t.bytes%512 != sha256.Size || !bytes.Equal(sum, t.tail) {
		return "", fmt.Errorf("%w: its SHA-256 is not what its end says", ErrDamaged)
	}
	return hex.EncodeToString(sum), nil
}

// revisionOf is the newest revision in a database. A compaction can have removed everything that was
// written in it, and is remembered.
func revisionOf(path string) (newest int64, err error) {
	defer func() {
		// bbolt panics on some files that are none of its own.
		if problem := recover(); problem != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, problem)
		}
	}()
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		keys, meta := tx.Bucket(schema.Key.Name()), tx.Bucket(schema.Meta.Name())
		if keys == nil || meta == nil {
			return ErrDamaged
		}
		if last, _ := keys.Cursor().Last(); last != nil {
			newest = mvcc.BytesToRev(last).Main
		}
		for _, name := range [][]byte{schema.ScheduledCompactKeyName, schema.FinishedCompactKeyName} {
			if raw := meta.Get(name); raw != nil {
				newest = max(newest, mvcc.BytesToRev(raw).Main)
			}
		}
		return nil
	})
	return newest, errors.Join(err, db.Close())
}

// inspect verifies a backup that is a file.
func inspect(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	sink := newTrailed(io.Discard)
	_, err = io.Copy(sink, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return Info{}, err
	}
	return sink.info(path)
}

// info is about a backup that was written to path as a whole.
func (t *trailed) info(path string) (Info, error) {
	sum, err := t.verified()
	if err != nil {
		return Info{}, err
	}
	revision, err := revisionOf(path)
	return Info{Revision: revision, Hash: sum, Bytes: t.bytes}, err
}
