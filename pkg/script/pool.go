// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultWorkers     = 2
	DefaultMemoryLimit = 256 << 20
	DefaultWallLimit   = time.Second
	DefaultIdleLimit   = time.Minute
)

// Options configure a Pool. Zero values mean the defaults.
type Options struct {
	// Command is the argv of a process whose main function calls ServeWorker with its
	// standard input and output. /proc/self/exe as the first element survives the
	// replacement of the binary on disk. Required.
	Command []string
	// Workers is the most processes at a time.
	Workers int
	// MemoryLimit is what one worker may map writable, in bytes: the Go runtime and the
	// binary's own data included.
	MemoryLimit int64
	// WallLimit is how long one evaluation may take. Waiting for a free worker does not
	// count, nor does starting one.
	WallLimit time.Duration
	// IdleLimit is how long a worker without work is kept.
	IdleLimit time.Duration
}

func (o Options) withDefaults() Options {
	if o.Workers == 0 {
		o.Workers = DefaultWorkers
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = DefaultMemoryLimit
	}
	if o.WallLimit == 0 {
		o.WallLimit = DefaultWallLimit
	}
	if o.IdleLimit == 0 {
		o.IdleLimit = DefaultIdleLimit
	}
	return o
}

// Pool evaluates templates in worker processes, which it starts when they are needed.
type Pool struct {
	options Options
	started atomic.Bool
	ready   chan struct{} // closed when Run serves
	ended   chan struct{} // closed when Run serves no more
	jobs    chan job
}

// job is one evaluation on its way to a worker. Whoever receives it answers.
type job struct {
	ctx    context.Context
	head   []byte
	text   []byte
	answer chan<- answered
}

type answered struct {
	output string
	err    error
}

// NewPool returns a pool that evaluates nothing until Run.
func NewPool(options Options) *Pool {
	return &Pool{
		options: options.withDefaults(),
		ready:   make(chan struct{}),
		ended:   make(chan struct{}),
		jobs:    make(chan job),
	}
}

// Ready returns a channel that is closed once Run serves RenderTemplate.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Run serves RenderTemplate until ctx ends, and returns when every worker process is
// gone. Evaluations under way are killed. It can be called once.
func (p *Pool) Run(ctx context.Context) error {
	if p.started.Swap(true) {
		return errors.New("script workers: Run was called twice")
	}
	defer close(p.ended)
	switch {
	case !supported:
		return limitMemory(p.options.MemoryLimit)
	case len(p.options.Command) == 0:
		return errors.New("script workers: Options.Command is empty")
	case p.options.Workers < 0, p.options.MemoryLimit < 0, p.options.WallLimit < 0, p.options.IdleLimit < 0:
		return errors.New("script workers: a limit is negative")
	}
	var slots sync.WaitGroup
	for range p.options.Workers {
		slots.Go(func() { (&slot{pool: p}).run(ctx) })
	}
	close(p.ready)
	slots.Wait()
	return nil
}

// RenderTemplate evaluates a template and returns its output, which may be any bytes. It
// waits for a free worker for as long as ctx lasts; the end of ctx kills the evaluation.
//
// Errors are a *TemplateError, or wrap ErrTimeout, ErrMemory, ErrOutput, ErrInput,
// ErrWorker, ErrNotRunning or ctx's error. None but a *TemplateError quotes the template,
// and none quotes data but where the template's own message does.
func (p *Pool) RenderTemplate(ctx context.Context, t Template) (string, error) {
	output, err := p.render(ctx, t)
	if _, own := errors.AsType[*TemplateError](err); err == nil || own {
		return output, err
	}
	return "", fmt.Errorf("template %s: %w", t.Name, err)
}

func (p *Pool) render(ctx context.Context, t Template) (string, error) {
	select {
	case <-p.ready:
	default:
		return "", ErrNotRunning
	}
	head, err := t.head()
	if err != nil {
		return "", err
	}
	answer := make(chan answered, 1)
	select {
	case p.jobs <- job{ctx: ctx, head: head, text: []byte(t.Text), answer: answer}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-p.ended:
		return "", ErrNotRunning
	}
	// The slot watches ctx from here on and answers in any case.
	a := <-answer
	return a.output, a.err
}

// head encodes what goes before the text, and checks the limits of both.
func (t Template) head() ([]byte, error) {
	if len(t.Text) > MaxText {
		return nil, fmt.Errorf("%w: the template has %d bytes, at most %d are allowed", ErrInput, len(t.Text), MaxText)
	}
	if len(t.Name) > MaxMessage {
		return nil, fmt.Errorf("%w: the template's name has %d bytes, at most %d are allowed", ErrInput, len(t.Name), MaxMessage)
	}
	data, err := json.Marshal(t.Data)
	if err != nil {
		return nil, fmt.Errorf("encoding the template's data: %w", err)
	}
	if len(data) > MaxData {
		return nil, fmt.Errorf("%w: its data has %d bytes of JSON, at most %d are allowed", ErrInput, len(data), MaxData)
	}
	head, err := json.Marshal(request{Name: t.Name, Data: data})
	if err != nil {
		return nil, fmt.Errorf("encoding the template's data: %w", err)
	}
	return head, nil
}
