// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rendering renders charts in worker processes of package script, with a limit on
// their memory and time: a template cannot be interrupted, and a Go process that gets no
// more memory dies as a whole. Beside package release it is the only one that imports
// Helm, and no type of Helm's leaves it.
//
// A worker sees the chart, the values, and what is said of the release and the cluster,
// and nothing else. What lookup finds is looked up here, between two attempts of a worker:
// a cluster that does not answer holds up no worker. A chart that neither looks anything
// up nor asks the clock or chance is rendered once for all clusters that it is the same
// for.
package rendering

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/muster-project/muster/pkg/render/memo"
	"github.com/muster-project/muster/pkg/script"
)

const (
	// maxRemembered is how many bytes the results that a Renderer keeps may have
	// together, and maxContents how many charts with values it knows the facts of.
	maxRemembered = 64 << 20
	maxContents   = 4096
	// failureSize is what a failure that is kept counts as, in bytes, and failureKept how
	// long a rendering that hit a limit is not tried again: it is asked for by each
	// cluster, and others wait for the same workers.
	failureSize = 4 << 10
	failureKept = time.Minute
	// maxRounds is how often a chart is rendered anew because it looked something up
	// that was not known, maxLookups how much it may look up, and maxFound the bytes that
	// may be found.
	maxRounds  = 32
	maxLookups = 256
	maxFound   = 8 << 20
)

// Request is a chart to be rendered for one release.
type Request struct {
	// Archive is the chart, and Digest its digest: equal digests, equal archives.
	Archive []byte
	Digest  string
	// Dependencies are archives of charts that are not in Archive; Digest is of them too.
	Dependencies [][]byte
	// Values override the chart's own.
	Values map[string]any
	// Release is what templates see of the release.
	Release Release
	// Capabilities are what templates see of the cluster.
	Capabilities Capabilities
	// SkipSchema leaves the values unchecked by the chart's schema.
	SkipSchema bool
	// Lookup finds what the chart looks up in the cluster. What does not exist is nil.
	// With nil nothing is found.
	Lookup func(ctx context.Context, q Query) (map[string]any, error)

	// alone makes it an error to look something up.
	alone bool
}

// Release is what templates see in .Release.
type Release struct {
	Name      string
	Namespace string
	// Revision is counted from 1. A release with Upgrade is one that exists already.
	Revision int
	Upgrade  bool
}

// Capabilities is what templates see in .Capabilities.
type Capabilities struct {
	// Version is the cluster's, such as v1.34.1, with Major and Minor as the cluster says
	// them.
	Version, Major, Minor string
	// APIVersions are the groups and versions that the cluster serves, and their kinds,
	// such as apps/v1 and apps/v1/Deployment.
	APIVersions []string
}

// Query is one use of lookup. Without a name it asks for a list.
type Query struct {
	APIVersion, Kind, Namespace, Name string
}

// Error says that a chart cannot be rendered, in Helm's words. They may quote the values.
type Error struct {
	Message string
}

func (e *Error) Error() string { return e.Message }

// Workers run programs; *script.Pool does.
type Workers interface {
	Work(ctx context.Context, w script.Work) ([]byte, error)
}

// Renderer renders charts. It is safe for concurrent use.
type Renderer struct {
	workers Workers
	results *memo.Cache[key, result]
	known   *memo.Cache[key, facts]
	flights memo.Flights[key, result]
	// learning are the first renderings of charts with values of which no facts are known.
	learning memo.Flights[key, struct{}]
	now      func() time.Time
}

type key [sha256.Size]byte

// facts are what is known of a chart with values.
type facts struct {
	// Own says that each release has its own result: the chart looks something up, or
	// asks the clock or chance.
	Own bool
	// Capabilities says that the result depends on the cluster's capabilities.
	Capabilities bool
}

// result is what a rendering came to.
type result struct {
	files map[string]string
	facts facts
	err   error
	// until is when the error is not believed any more.
	until time.Time
}

// New returns a Renderer. Its workers have to have the Program.
func New(workers Workers) *Renderer {
	return &Renderer{
		workers: workers, now: time.Now,
		results: memo.NewCache[key, result](maxRemembered), known: memo.NewCache[key, facts](maxContents),
	}
}

// Render returns what the templates of a chart and of its sub-charts write, by their paths
// as in "chart/templates/a.yaml": manifests, hooks and notes, as Helm's engine does. The
// files are the caller's own.
//
// Errors are *Error, wrap those of script.Pool's Work, or are ctx's.
func (r *Renderer) Render(ctx context.Context, q Request) (map[string]string, error) {
	content, err := hash(q.Digest, q.Values, q.SkipSchema)
	if err != nil {
		return nil, err
	}
	known, isKnown := r.known.Get(content)
	if !isKnown {
		// Clusters that serve different kinds have to know whether that matters before
		// they can share anything: one finds out, and the others wait for it.
		out, err := r.learn(ctx, content, q)
		if err != nil || out.files != nil {
			return maps.Clone(out.files), err
		}
		// Where that one has failed, the others find out each by itself.
		if known, isKnown = r.known.Get(content); !isKnown {
			known.Capabilities = true
		}
	}
	if known.Own {
		out, err := r.attempt(ctx, q)
		return out.files, err
	}
	out, err := r.share(ctx, content, q, !known.Capabilities)
	return maps.Clone(out.files), err
}

// learn renders a chart of which no facts are known, if nobody does so already: then it
// waits for that, and returns no files.
func (r *Renderer) learn(ctx context.Context, content key, q Request) (out result, err error) {
	k, err := q.key(content, false)
	if err != nil {
		return out, err
	}
	mine := false
	_, err = r.learning.Do(ctx, content, func() (struct{}, error) {
		mine = true
		var err error
		out, err = r.remember(ctx, content, k, q)
		return struct{}{}, err
	})
	if errors.Is(err, errLooksUp) || !mine && ctx.Err() == nil {
		err = nil
	}
	return out, err
}

// share renders, or takes what was rendered for another cluster.
func (r *Renderer) share(ctx context.Context, content key, q Request, everywhere bool) (result, error) {
	k, err := q.key(content, everywhere)
	if err != nil {
		return result{}, err
	}
	mine := false
	out, err := r.flights.Do(ctx, k, func() (result, error) {
		mine = true
		return r.remember(ctx, content, k, q)
	})
	if errors.Is(err, errLooksUp) || err == nil && out.facts.Own && !mine {
		return r.attempt(ctx, q)
	}
	return out, err
}

// key is of all that a result depends on.
func (q Request) key(content key, everywhere bool) (key, error) {
	capabilities := q.Capabilities
	if everywhere {
		capabilities = Capabilities{}
	}
	return hash(content, q.Release, capabilities)
}

func hash(of ...any) (key, error) {
	encoded, err := json.Marshal(of)
	if err != nil {
		return key{}, fmt.Errorf("encoding what a chart is rendered with: %w", err)
	}
	return sha256.Sum256(encoded), nil
}

// remember returns a result that is known, or renders and keeps what is worth it.
func (r *Renderer) remember(ctx context.Context, content, k key, q Request) (result, error) {
	if known, ok := r.results.Get(k); ok && (known.err == nil || r.now().Before(known.until)) {
		return known, known.err
	}
	alone := q
	alone.alone = true
	out, err := r.attempt(ctx, alone)
	if errors.Is(err, errLooksUp) {
		r.known.Put(content, facts{Own: true}, 1)
	}
	if err != nil {
		if errors.Is(err, script.ErrTimeout) || errors.Is(err, script.ErrMemory) || errors.Is(err, script.ErrOutput) {
			r.results.Put(k, result{err: err, until: r.now().Add(failureKept)}, failureSize)
		}
		return out, err
	}
	r.known.Put(content, out.facts, 1)
	if out.facts.Own {
		return out, nil
	}
	if k, err = q.key(content, !out.facts.Capabilities); err != nil {
		return out, err
	}
	r.results.Put(k, out, sizeOf(out.files))
	return out, nil
}

func sizeOf(files map[string]string) int64 {
	size := int64(0)
	for name, content := range files {
		size += int64(len(name) + len(content))
	}
	return size
}

// errLooksUp says that a chart looks something up, for which others must not wait: the
// cluster may not answer.
var errLooksUp = errors.New("the chart looks something up")

// attempt renders, again and again until all is known that the chart looks up.
func (r *Renderer) attempt(ctx context.Context, q Request) (result, error) {
	var found []found
	size := 0
	for range maxRounds {
		if err := ctx.Err(); err != nil {
			return result{}, context.Cause(ctx)
		}
		answer, err := q.work(ctx, r.workers, found)
		if err != nil {
			return result{}, err
		}
		if len(answer.Missing) == 0 {
			if answer.Error != "" {
				return result{}, &Error{Message: answer.Error}
			}
			return result{files: answer.Files, facts: answer.Facts}, nil
		}
		if q.alone {
			return result{}, errLooksUp
		}
		if len(found)+len(answer.Missing) > maxLookups {
			return result{}, &Error{Message: fmt.Sprintf("the chart looks up more than %d times", maxLookups)}
		}
		for _, query := range answer.Missing {
			one, length, err := q.find(ctx, query)
			if err != nil {
				return result{}, err
			}
			if size += length; size > maxFound {
				return result{}, &Error{Message: fmt.Sprintf("what the chart looks up has more than %d bytes", maxFound)}
			}
			found = append(found, one)
		}
	}
	return result{}, &Error{Message: fmt.Sprintf("the chart looks up something else in each of %d attempts", maxRounds)}
}

// find looks something up. What goes wrong is for the chart to be told, which may have
// asked only because it was told that something else does not exist.
func (q Request) find(ctx context.Context, query Query) (one found, size int, err error) {
	one.Query = query
	if q.Lookup == nil {
		return one, 0, nil
	}
	object, err := q.Lookup(ctx, query)
	if ctx.Err() != nil {
		return one, 0, context.Cause(ctx)
	}
	if err != nil {
		one.Error = err.Error()
		return one, len(one.Error), nil
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		return one, 0, fmt.Errorf("encoding what a chart looked up: %w", err)
	}
	one.Object = object
	return one, len(encoded), nil
}
