// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package records keeps what Muster remembers and nobody edits, inventories
// above all, as records in its own etcd: compressed, encrypted as objects of
// the API are, in chunks where they are large, and written by the leader
// alone. Every write compares the epoch in its transaction, so that a leader
// that lost its term without knowing it cannot change a record any more.
package records

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/storage/value"
)

// Root is where installations keep their keys, unless they are told another prefix: never the bare
// /registry, which is a kube-apiserver's.
const Root = "/registry/muster"

var (
	// ErrNotFound says that there is no record under the key.
	ErrNotFound = errors.New("record not found")
	// ErrExists says that there is a record under the key already.
	ErrExists = errors.New("record exists already")
	// ErrConflict says that the record is not at the revision that the write was decided on.
	ErrConflict = errors.New("record was changed since it was read")
	// ErrStaleEpoch says that another term has begun: this one must not write any more.
	ErrStaleEpoch = errors.New("epoch is stale, another term has begun")
	// ErrNotLeading says that this process has no term, and so writes no records.
	ErrNotLeading = errors.New("not leading, records are read-only here")
	// ErrInvalidKey says that a key is empty or not a clean relative path.
	ErrInvalidKey = errors.New("invalid record key")
)

// Record is a value and where it is.
type Record struct {
	// Key is the record's key: path segments below the store's prefix.
	Key string
	// Value is the value as it was written. The caller may keep and change it.
	Value []byte
	// Revision is the etcd revision of the write that made the record what it is. Update and
	// DeleteAt take it as their precondition.
	Revision int64
}

// Store reads and writes records. It is safe for concurrent use.
//
// Keys are clean relative paths ("inventory/ns/name"), at most MaxKeyBytes long.
type Store struct {
	client      *clientv3.Client
	layout      layout
	transformer value.Transformer
	epoch       func() (int64, error)
	compressor  compressor
	chunkBytes  int // of a compressed value; smaller in tests
}

// NewStore returns a store of the records below prefix, such as "/registry/muster/default".
//
// transformer encrypts and decrypts, with the etcd key as the authenticated data, so that no value
// can be moved to another key; nil leaves values as they are. epoch is the term's epoch, or an
// error where there is no term: then writes fail with ErrNotLeading and reads go on.
func NewStore(client *clientv3.Client, prefix string, transformer value.Transformer, epoch func() (int64, error)) *Store {
	return &Store{
		client:      client,
		layout:      layout(strings.TrimSuffix(prefix, "/")),
		transformer: transformer,
		epoch:       epoch,
		compressor:  newCompressor(),
		chunkBytes:  maxChunkBytes,
	}
}

// layout is the prefix of an installation; its methods are the keys below it.
//
//	<prefix>/epoch                                      the epoch, decimal
//	<prefix>/records/heads/<key>                        a record: its value, or what chunks have it
//	<prefix>/records/chunks/<escaped key>/<generation>/<number>
type layout string

func (l layout) epoch() string          { return string(l) + "/epoch" }
func (l layout) heads() string          { return string(l) + "/records/heads/" }
func (l layout) chunks() string         { return string(l) + "/records/chunks/" }
func (l layout) head(key string) string { return l.heads() + key }
func (l layout) key(head string) string { return strings.TrimPrefix(head, l.heads()) }

// generation is what the keys of one write's chunks begin with. The record's key is escaped, or the
// chunks of "a/b" would be among those of "a".
func (l layout) generation(key, generation string) string {
	return l.chunks() + url.PathEscape(key) + "/" + generation + "/"
}

func (l layout) chunk(key, generation string, number int) string {
	return fmt.Sprintf("%s%d", l.generation(key, generation), number)
}

// MaxKeyBytes is the longest key that a record can have.
const MaxKeyBytes = 1024

func checkKey(key string) error {
	if key == "" || key != path.Clean(key) || strings.HasPrefix(key, "/") || key == ".." || strings.HasPrefix(key, "../") || key == "." {
		return fmt.Errorf("%w: %q is not a clean relative path", ErrInvalidKey, key)
	}
	if len(key) > MaxKeyBytes {
		return fmt.Errorf("%w: %d bytes long, at most %d are allowed", ErrInvalidKey, len(key), MaxKeyBytes)
	}
	return nil
}
