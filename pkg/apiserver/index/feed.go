// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package index keeps a selection.Index equal to what the store holds, and
// answers reads of it at one revision.
//
// Clusters, sets and summaries are ranges of one follower, so that there is one
// revision for everything that a selection depends on. They are decoded with
// the storage codec and decrypted as the API server itself does.
package index

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/registry/lib/clusterset"
	"github.com/muster-project/muster/pkg/selection"
	"github.com/muster-project/muster/pkg/storage/follow"
)

// Feed fills an index from the store. It serves clusterset.Selections.
type Feed struct {
	index    *selection.Index
	follower *follow.Follower
	decoders *decoders

	// mu makes a read see whole steps only, and the revision that belongs to
	// what it sees.
	mu       sync.RWMutex
	revision int64 // 0 until the first list is complete
	// first collects the first list: loading it at once is much cheaper than
	// taking in one object after the other. It is nil afterwards.
	first *collector
}

var _ clusterset.Selections = &Feed{}

// Options say where the store is and how it is read.
type Options struct {
	// Prefix is the installation's, as in "/registry/muster/default".
	Prefix string
	// Transformers decrypt what is stored; nil where nothing is encrypted.
	Transformers Transformers
	// CurrentRevision is follow.Options.CurrentRevision, and optional.
	CurrentRevision func(ctx context.Context) (int64, error)
	// Logger is told of objects that cannot be decoded.
	Logger klog.Logger
}

// New returns a feed of index from the store behind client. Run makes it fill
// the index, which nobody else may write to.
func New(index *selection.Index, client *clientv3.Client, options Options) *Feed {
	f := &Feed{
		index:    index,
		decoders: &decoders{codec: scheme.StorageCodec(), transformers: options.Transformers},
		first:    &collector{},
	}
	f.follower = follow.New(client, f.ranges(options.Prefix, f.decoders), follow.Options{
		Commit:          f.commit,
		CurrentRevision: options.CurrentRevision,
		OnUndecodable: func(key string, err error) {
			options.Logger.Error(err, "A stored object cannot be read, selections go on with what it was before", "key", key)
		},
	})
	return f
}

// Run follows the store until ctx ends. Its error is follow.ErrStoreReplaced
// where the store has become another one, of which nothing can be told. It may
// be called once.
func (f *Feed) Run(ctx context.Context) error {
	f.decoders.ctx = ctx
	if err := f.follower.Run(ctx); err != nil {
		return fmt.Errorf("follow the store for the selection index: %w", err)
	}
	return nil
}

// ReadyCheck keeps traffic away until the index holds the fleet.
func (f *Feed) ReadyCheck() healthz.HealthChecker {
	return healthz.NamedCheck("selection-index", func(*http.Request) error {
		if f.Synced() {
			return nil
		}
		return errors.New("the fleet is being read from the store")
	})
}

// Synced reports whether the index holds the fleet.
func (f *Feed) Synced() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.revision > 0
}

// WaitCurrent waits until everything that was written to the store before the
// call is in the index, and returns the revision that it is at.
func (f *Feed) WaitCurrent(ctx context.Context) (int64, error) {
	return f.follower.WaitCurrent(ctx)
}

// WaitSynced waits until the index holds the fleet.
func (f *Feed) WaitSynced(ctx context.Context) error {
	return f.follower.WaitSynced(ctx)
}

// Revision is the revision that the index is at; 0 until it holds the fleet.
func (f *Feed) Revision() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.revision
}

// commit is one step of the follower.
func (f *Feed) commit(revision int64, deliver func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	deliver()
	if revision > 0 && f.first != nil {
		f.index.Load(f.first.state())
		f.first = nil
	}
	f.revision = revision
}

// Selection answers a read.
func (f *Feed) Selection(ctx context.Context, set selection.SetKey, query selection.Query, newest bool) (clusterset.Answer, error) {
	if !f.Synced() {
		return clusterset.Answer{}, fmt.Errorf("%w: the fleet is being read", clusterset.ErrNotReady)
	}
	if newest {
		if _, err := f.WaitCurrent(ctx); err != nil {
			return clusterset.Answer{}, fmt.Errorf("%w: %w", clusterset.ErrNotReady, err)
		}
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	view, err := f.index.Selection(set, query)
	if err != nil {
		return clusterset.Answer{}, err
	}
	return clusterset.Answer{View: view, Revision: f.revision, Unready: f.unready(view)}, nil
}

// unready looks up what a view does not say of the clusters in it that are not
// ready, or that do not match although they may be.
func (f *Feed) unready(view selection.View) map[fleet.Ref]fleet.Member {
	unready := map[fleet.Ref]fleet.Member{}
	for _, entries := range [][]selection.Entry{view.Selected, view.Candidates} {
		for _, entry := range entries {
			if entry.Ready && entry.Reason != selection.NotMatching {
				continue
			}
			if member, exists := f.index.Member(entry.Ref); exists {
				unready[entry.Ref] = member
			}
		}
	}
	return unready
}
