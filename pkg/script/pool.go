// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// Pool evaluates templates and Lua in worker processes, which it starts when they are
// needed.
type Pool struct {
	options Options
	started atomic.Bool
	ready   chan struct{} // closed when Run serves
	ended   chan struct{} // closed when Run serves no more
	jobs    chan job
}

// job is a task on its way to a worker. Whoever receives it answers.
type job struct {
	ctx    context.Context
	task   task
	answer chan<- error
}

// task is what a worker is asked for at once: an evaluation, or a part of a batch.
type task interface {
	// frames are what the worker is sent.
	frames() [][]byte
	// receive reads the worker's answer and keeps it. Each call of progress gives the
	// worker its time anew. It is called a second time, and then begins anew, if the
	// worker died and another one is asked. Its error means that there is no answer;
	// what is wrong with the evaluation is part of one.
	receive(out io.Reader, progress func()) error
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

// Ready returns a channel that is closed once Run serves evaluations.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Run serves evaluations until ctx ends, and returns when every worker process is
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
	head, err := t.head()
	if err != nil {
		return "", err
	}
	x := &templateTask{head: head, text: []byte(t.Text)}
	if err := p.submit(ctx, x); err != nil {
		return "", err
	}
	return x.result()
}

// submit has a worker answer, and returns when it has. ctx ends the wait for a worker,
// and the worker if it has one.
func (p *Pool) submit(ctx context.Context, x task) error {
	select {
	case <-p.ready:
	default:
		return ErrNotRunning
	}
	answer := make(chan error, 1)
	select {
	case p.jobs <- job{ctx: ctx, task: x, answer: answer}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.ended:
		return ErrNotRunning
	}
	// The slot watches ctx from here on and answers in any case.
	return <-answer
}
