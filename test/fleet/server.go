// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"sync"
	"syscall"
)

// Server is a process of Muster's: a replica of the server, or a member of the
// etcd that replicas share. It is safe for concurrent use.
type Server struct {
	ledger  *ledger
	command command
	address string
	// ready is asked until it succeeds, after each start.
	ready func(context.Context) error

	// Host and Etcd are this one of several replicas' ways to the host and to each
	// member of etcd. A single server, and a member, have none.
	Host *Proxy
	Etcd []*Proxy

	mu      sync.Mutex
	process *process
}

// Name is the server's in the fleet, as Fault has it.
func (s *Server) Name() string { return s.command.name }

// Address is host:port of the server itself, behind whatever leads to it.
func (s *Server) Address() string { return s.address }

// Log is the file that the server logs to. It survives restarts.
func (s *Server) Log() string { return s.command.logFile() }

// LogTail is the end of Log, for the report of a failure.
func (s *Server) LogTail() string { return tailOf(s.Log(), tailLines) }

// PID of the running server, 0 if it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil || !s.process.running() {
		return 0
	}
	return s.process.id.PID
}

// Running says whether the server's process lives, paused or not.
func (s *Server) Running() bool { return s.PID() != 0 }

// Start starts the server on its data and waits until it is ready.
func (s *Server) Start(ctx context.Context) error { return s.startUntil(ctx, s.ready) }

// startUntil starts the server and ends it again unless check succeeds in time.
func (s *Server) startUntil(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil && s.process.running() {
		return fmt.Errorf("%s runs already", s.Name())
	}
	var err error
	if s.process, err = s.ledger.launch(s.command); err != nil {
		return err
	}
	if err := s.process.awaitReady(ctx, check); err != nil {
		s.process.kill()
		return err
	}
	return nil
}

// runningLocked is the process, if it runs.
func (s *Server) runningLocked() (*process, error) {
	if s.process == nil || !s.process.running() {
		return nil, fmt.Errorf("%s does not run", s.Name())
	}
	return s.process, nil
}

// Kill ends the server with SIGKILL, and its workers with it.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.runningLocked()
	if err == nil {
		p.kill()
	}
	return err
}

// Stop ends the server with SIGTERM and waits for its orderly end. When ctx
// is done first, as it will be for a paused one, the server is killed, which is
// an error.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.runningLocked()
	if err != nil {
		return err
	}
	return p.terminate(ctx)
}

// Pause stops the server's process, and its workers, where they are, until
// Resume. Its connections stay, and nobody answers.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on. One that is not paused does anyway.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.runningLocked()
	if err == nil {
		p.signal(sig)
	}
	return err
}

// ways are the proxies that are this server's alone.
func (s *Server) ways() []*Proxy {
	if s.Host == nil {
		return nil
	}
	return append([]*Proxy{s.Host}, s.Etcd...)
}

// openWays lets all traffic pass.
func (s *Server) openWays(ctx context.Context) error {
	for _, way := range s.ways() {
		way.Delay(0)
		if err := way.Set(ctx, Forward); err != nil {
			return err
		}
	}
	return nil
}

// heal brings the server back from whatever was done to it.
func (s *Server) heal(ctx context.Context) error {
	if err := s.openWays(ctx); err != nil {
		return err
	}
	if s.Running() {
		return s.Resume()
	}
	return s.Start(ctx)
}

// shutdown ends the server, if it runs, in no orderly way.
func (s *Server) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.kill()
	}
	for _, way := range s.ways() {
		way.close()
	}
}
