// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Event is one change of one key.
type Event[T any] struct {
	// Key is the whole etcd key.
	Key string
	// Name is the key without the range's prefix: "namespace/name" or "name" for an object.
	Name string
	// Value is what the key holds now; the zero value if Deleted.
	Value T
	// Revision is the etcd revision of the change. A deletion that was noticed late, by listing,
	// has the revision of the list.
	Revision int64
	// Deleted says that the key is gone. A key that was deleted and made again while the follower
	// was cut off shows as one change: an index must not take it for the same object.
	Deleted bool
}

// Decode turns what etcd has under key, since revision, into a value: it decrypts and decodes. It must
// not change raw. It is called by the follower's goroutine alone, before Apply and not always followed
// by it.
type Decode[T any] func(key string, raw []byte, revision int64) (T, error)

// Apply takes one change in. It is called by the follower's goroutine alone, in the order of
// revisions but for the first list, which comes in the order of ranges and keys. It holds everything up
// while it runs.
type Apply[T any] func(Event[T])

// Range is a part of the key space to follow. NewRange makes one.
type Range interface {
	// Prefix is what the range's keys begin with.
	Prefix() string

	// put decodes a value and returns the function that applies it.
	put(key string, kv *mvccpb.KeyValue) (apply func(), err error)
	// gone applies the deletion of key.
	gone(key string, revision int64)
}

// NewRange returns the range of all keys that begin with prefix, which should end in "/".
func NewRange[T any](prefix string, decode Decode[T], apply Apply[T]) Range {
	return &typedRange[T]{prefix: prefix, decode: decode, apply: apply}
}

type typedRange[T any] struct {
	prefix string
	decode Decode[T]
	apply  Apply[T]
}

func (r *typedRange[T]) Prefix() string { return r.prefix }

func (r *typedRange[T]) put(key string, kv *mvccpb.KeyValue) (func(), error) {
	value, err := r.decode(key, kv.Value, kv.ModRevision)
	if err != nil {
		return nil, err
	}
	event := Event[T]{Key: key, Name: strings.TrimPrefix(key, r.prefix), Value: value, Revision: kv.ModRevision}
	return func() { r.apply(event) }, nil
}

func (r *typedRange[T]) gone(key string, revision int64) {
	r.apply(Event[T]{Key: key, Name: strings.TrimPrefix(key, r.prefix), Revision: revision, Deleted: true})
}
