// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/muster-project/muster/pkg/render/memo"
	"github.com/muster-project/muster/pkg/script"
)

const (
	// maxRemembered is how many bytes the results that a Builder keeps may have together.
	maxRemembered = 32 << 20
	// failureSize is what a failure that is kept counts as.
	failureSize = 4 << 10
	// failureKept is how long a build that hit a limit is not tried again: one that takes
	// too long is asked for by each cluster of its profile, and by others, whose builds
	// wait for the same workers.
	failureKept = time.Minute
)

// Workers run programs; *script.Pool does.
type Workers interface {
	Work(ctx context.Context, w script.Work) ([]byte, error)
}

// Builder builds kustomizations in worker processes and remembers the results, so that many
// clusters cost one build. It is safe for concurrent use.
type Builder struct {
	workers Workers
	results *memo.Cache[key, result]
	flights memo.Flights[key, []byte]
	now     func() time.Time
}

type key [sha256.Size]byte

// result is what a build came to. Text is not written to.
type result struct {
	text []byte
	err  error
	// until is when the error is not believed any more.
	until time.Time
}

// NewBuilder returns a Builder. Its workers have to have the Program.
func NewBuilder(workers Workers) *Builder {
	return &Builder{workers: workers, results: memo.NewCache[key, result](maxRemembered), now: time.Now}
}

// Build returns the objects of a kustomization as YAML documents, which are not to be
// written to. Errors are *Error, wrap those of script.Pool's Work, or are the context's.
func (b *Builder) Build(ctx context.Context, request Request) ([]byte, error) {
	k, err := request.key()
	if err != nil {
		return nil, err
	}
	return b.flights.Do(ctx, k, func() ([]byte, error) { return b.remember(ctx, k, request) })
}

// remember returns a result that is known, or builds.
func (b *Builder) remember(ctx context.Context, k key, request Request) ([]byte, error) {
	if known, ok := b.results.Get(k); ok && (known.err == nil || b.now().Before(known.until)) {
		return known.text, known.err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, err := request.build(ctx, b.workers)
	switch {
	case err == nil:
		b.results.Put(k, result{text: text}, int64(len(text)))
	case errors.Is(err, script.ErrTimeout), errors.Is(err, script.ErrMemory), errors.Is(err, script.ErrOutput):
		b.results.Put(k, result{err: err, until: b.now().Add(failureKept)}, failureSize)
	}
	return text, err
}

func (r Request) key() (key, error) {
	encoded, err := json.Marshal([]any{r.Digest, r.Path, r.Components})
	if err != nil {
		return key{}, fmt.Errorf("encoding the kustomization's path: %w", err)
	}
	return sha256.Sum256(encoded), nil
}
