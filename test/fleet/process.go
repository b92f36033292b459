// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// tailLines is how much of its log a failed part shows.
const tailLines = 15

// command is a program to run: everything that stays the same when it is
// restarted.
type command struct {
	name string // unique in the fleet; names the log file
	path string
	args []string
	env  []string
	dir  string // for the log
}

func (c command) logFile() string { return filepath.Join(c.dir, c.name+".log") }

// process is one run of a command. Its group is its own, so that a terminal's
// Ctrl-C reaches the fleet alone, and so that killing it reaches its workers.
type process struct {
	command
	id   ProcessID
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu    sync.Mutex
	ended bool // no signal may be sent any more: the pid may be somebody else's
	err   error
}

// launch starts a command, appending to its log.
func launch(c command) (*process, error) {
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", c.name, err)
	}
	defer log.Close()
	cmd := exec.Command(c.path, c.args...)
	cmd.Dir = c.dir
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	p := &process{command: c, cmd: cmd, done: make(chan struct{})}
	p.id, err = identify(cmd.Process.Pid)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = cmd.Process.Kill()
		return nil, errors.Join(fmt.Errorf("identifying %s: %w", c.name, err), cmd.Wait())
	}
	go p.wait()
	return p, nil
}

// wait reaps the process. It owns cmd.Wait and ends with the process.
func (p *process) wait() {
	state, err := p.cmd.Process.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if err != nil {
		p.err = err
	} else {
		p.err = errors.New(state.String())
	}
	close(p.done)
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal reaches the whole group.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	}
}

// kill ends the process with SIGKILL and waits for its end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// terminate ends the process with SIGTERM, and with SIGKILL once ctx is done;
// that is an error.
func (p *process) terminate(ctx context.Context) error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%s did not end after SIGTERM: %w; its log ends:\n%s", p.name, context.Cause(ctx), p.tail())
	}
}

// awaitReady polls check until it succeeds, the process ends, or ctx is done.
// The error says which part failed, why, and how its log ends.
func (p *process) awaitReady(ctx context.Context, check func(context.Context) error) error {
	err := poll(ctx, p.done, check)
	if err == nil {
		return nil
	}
	if !p.running() {
		err = fmt.Errorf("it ended with %w", p.err)
	}
	return fmt.Errorf("%s did not get ready: %w; %s ends:\n%s", p.name, err, p.logFile(), p.tail())
}

func (p *process) tail() string { return tailOf(p.logFile(), tailLines) }

// tailOf returns the last lines of a file, indented, and says so where there
// are none.
func tailOf(path string, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	defer file.Close()
	const most = 64 << 10
	if info, err := file.Stat(); err == nil && info.Size() > most {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return "  (" + err.Error() + ")"
		}
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	data = bytes.TrimRight(data, "\n")
	if len(data) == 0 {
		return "  (nothing)"
	}
	all := strings.Split(string(data), "\n")
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}
