// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// startLimit is how long a worker may take from its start to its readiness. It is no part
// of an evaluation's time: a machine under load starts processes slowly.
const startLimit = 15 * time.Second

// maxComplaint is how much of a worker's standard error is kept, in bytes. Its first line
// tells a panic from a crash of the runtime.
const maxComplaint = 8 << 10

// worker is the parent's side of one worker process. Only the goroutine that started it
// uses it; see tie for why.
type worker struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	complaint *complaint
}

// startWorker starts a process and waits until it is ready to serve.
func startWorker(ctx context.Context, command []string, memory int64) (*worker, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{} // nil would hand over ours
	tie(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWorker, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWorker, err)
	}
	w := &worker{cmd: cmd, in: in, out: bufio.NewReader(out), complaint: &complaint{}}
	cmd.Stderr = w.complaint
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: starting %s: %w", ErrWorker, command[0], err)
	}
	if err := w.handshake(ctx, memory); err != nil {
		w.kill()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: it did not become ready: %w", ErrWorker, err)
	}
	return w, nil
}

func (w *worker) handshake(ctx context.Context, memory int64) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var ready readiness
	_, err := w.during(ctx, func() error {
		if err := writeJSON(w.in, settings{MemoryLimit: memory}); err != nil {
			return err
		}
		return readJSON(w.out, maxHeader, &ready)
	})
	if err != nil {
		return err
	}
	if ready.Error != "" {
		return errors.New(ready.Error)
	}
	return nil
}

// during runs an exchange with the worker and kills the worker if ctx ends first, which
// unblocks the exchange. intact tells whether the worker was left alone.
func (w *worker) during(ctx context.Context, exchange func() error) (intact bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })
	err = exchange()
	return stop(), err
}

// exchange sends a request and reads its answer. The worker can be used again only if
// intact is true.
func (w *worker) exchange(ctx context.Context, x task, progress func()) (intact bool, err error) {
	untouched, err := w.during(ctx, func() error {
		for _, frame := range x.frames() {
			if err := writeFrame(w.in, frame); err != nil {
				return err
			}
		}
		return x.receive(w.out, progress)
	})
	return untouched && err == nil, err
}

// kill ends the worker, which keeps nothing worth an orderly end, and waits until it is
// gone.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // fails only if it is gone already
	_ = w.cmd.Wait()         // reports the kill
}

// outOfMemory tells whether the worker, which has ended by itself, died for want of
// memory. The Go runtime has many ways to do that besides its message: where it cannot
// map what it needs for its own work it follows null pointers and fails to start threads.
// A Go process that does not panic has hardly another reason to crash, so every crash but
// a panic counts. What the worker wrote is looked at and never shown, since a panic's
// value may be data.
func (w *worker) outOfMemory() bool {
	said := w.complaint.String()
	if strings.HasPrefix(said, "panic:") {
		return false
	}
	return crashed(w.cmd.ProcessState) || strings.Contains(said, "ThreadSanitizer failed to allocate")
}

// crashed tells whether a process ended as the Go runtime ends one that it gives up on:
// with status 2, or by a signal if it could not even do that.
func crashed(state *os.ProcessState) bool {
	const goCrash = 2
	if state.ExitCode() == goCrash {
		return true
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	switch status.Signal() {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGILL:
		return true
	}
	return false
}

// complaint keeps the beginning of what is written to it. Only the goroutine of exec.Cmd
// that copies standard error writes, and it has ended when Wait returns.
type complaint struct{ strings.Builder }

func (c *complaint) Write(p []byte) (int, error) {
	room := max(maxComplaint-c.Len(), 0)
	_, _ = c.Builder.Write(p[:min(room, len(p))]) // never fails
	return len(p), nil
}
