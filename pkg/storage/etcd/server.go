// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcd runs etcd inside the process, for servers that have no etcd of
// their own, and makes the client that everything else in Muster shares,
// whether the etcd behind it is embedded or external.
//
// The embedded server is a cluster of one that nobody outside the process
// needs to reach: it listens on one unix socket in a directory of mode 0700
// and on nothing else, neither for clients nor for peers.
package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"k8s.io/klog/v2"
)

const (
	// DefaultQuotaBytes is etcd's own advice for the most that one backend should hold.
	// etcd's default of 2 GiB is too near to what a large fleet with inventories needs:
	// beyond the quota all writes are refused.
	DefaultQuotaBytes int64 = 8 << 30
	// DefaultMaxRequestBytes is above the 2 MiB that etcd's client, which the API server uses too,
	// sends at most. etcd's default of 1.5 MiB is below.
	DefaultMaxRequestBytes uint = 4 << 20

	// progressNotifyInterval is how often etcd tells idle watchers its revision. The API
	// server's watch caches need it to send bookmarks.
	progressNotifyInterval = 5 * time.Second

	// A cluster of one has nobody to wait for: short elections only shorten the start.
	heartbeatMilliseconds = 50
	electionMilliseconds  = 250

	// backendCommitInterval is how often etcd commits to its database file. What makes a write
	// durable is the log, not this commit, which only shortens the log's replay after a crash. But
	// while it syncs the file it holds a lock that every write, every read, and even asking for the
	// revision waits for: at etcd's default of 100 ms, the disk's latency is in the 99th percentile
	// of consistent reads. Many writes bring a commit forward.
	backendCommitInterval = 5 * time.Second

	// catchUpEntries is how many entries of the log etcd keeps in memory for followers that are
	// behind. There are none: at etcd's default of 5,000 the latest writes cost tens of megabytes.
	catchUpEntries = 100

	defaultWait = 60 * time.Second

	// EmbeddedName and EmbeddedPeer are how an embedded server is known in its cluster of one.
	// etcd wants an address to know a peer by. It names nothing that exists: there is no listener
	// for peers, so that nobody can speak raft to this member.
	EmbeddedName = "muster"
	EmbeddedPeer = "unix://" + EmbeddedName

	// DataSubdir is the part of a data directory that the embedded etcd itself writes.
	DataSubdir = "etcd"
	// ClusterSubdir is the part that a member of a cluster writes. It is another one, so that neither
	// starts with the other's data.
	ClusterSubdir = "cluster"
)

// Config is what an embedded server needs to know.
type Config struct {
	// DataDir is the directory that belongs to this server alone. It is created with mode
	// 0700 if it is missing.
	DataDir string
	// QuotaBytes limits the backend's size. Default: DefaultQuotaBytes.
	QuotaBytes int64
	// MaxRequestBytes limits one request. Default: DefaultMaxRequestBytes.
	MaxRequestBytes uint
	// StartTimeout limits the wait for the server to become ready. Default: 60 s.
	StartTimeout time.Duration
	// UnsafeNoFsync leaves out every fsync: a machine that crashes loses data. For tests.
	UnsafeNoFsync bool
}

// Server is a running embedded etcd. Close must be called to stop it.
type Server struct {
	etcd     *embed.Etcd
	endpoint string
	unlock   func()
	cleanup  func()

	done      chan error
	closing   chan struct{}
	closeOnce sync.Once
	stopping  atomic.Bool // quietens the log
	breakage  *Breakage
	broken    atomic.Bool // it can be neither used nor stopped
	watching  sync.WaitGroup
}

// Start starts etcd and returns when it serves requests. The server runs until Close: ctx
// limits the start alone, because etcd must outlive the API server that is shut down before it.
//
// A data directory that cannot be used, that another process uses, or a socket path that would
// be too long are errors that say so.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.DataDir == "" {
		return nil, errors.New("embedded etcd: no data directory is set")
	}
	dataDir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: data directory %s: %w", cfg.DataDir, err)
	}
	cfg.DataDir = dataDir
	if err := PrepareDir(dataDir); err != nil {
		return nil, err
	}
	unlock, err := LockDir(dataDir)
	if err != nil {
		return nil, err
	}
	if err := CheckSpace(dataDir, MinFreeBytes); err != nil {
		unlock()
		return nil, err
	}
	socket, cleanup, err := prepareSocket(dataDir, os.TempDir())
	if err != nil {
		unlock()
		return nil, err
	}
	s := &Server{
		endpoint: "unix://" + socket,
		unlock:   unlock,
		cleanup:  cleanup,
		done:     make(chan error, 1),
		closing:  make(chan struct{}),
		breakage: NewBreakage(dataDir),
	}
	if err := s.start(ctx, cfg, socket); err != nil {
		s.release()
		return nil, err
	}
	s.watching.Add(1)
	go s.watch()
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.QuotaBytes == 0 {
		c.QuotaBytes = DefaultQuotaBytes
	}
	if c.MaxRequestBytes == 0 {
		c.MaxRequestBytes = DefaultMaxRequestBytes
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultWait
	}
	return c
}

// start starts etcd and waits until it is ready.
func (s *Server) start(ctx context.Context, cfg Config, socket string) error {
	logger := klog.FromContext(ctx).WithName("etcd")
	e, err := s.embed(embedConfig(cfg, socket, NewZapLogger(logger, &s.stopping, s.breakage.Options()...)))
	if err != nil {
		return fmt.Errorf("embedded etcd in %s: %w", cfg.DataDir, err)
	}
	timeout := time.NewTimer(cfg.StartTimeout)
	defer timeout.Stop()
	select {
	case <-e.Server.ReadyNotify():
		s.etcd = e
		return nil
	case err = <-e.Err():
		err = fmt.Errorf("embedded etcd in %s stopped while starting: %w", cfg.DataDir, err)
	case <-e.Server.StopNotify():
		err = fmt.Errorf("embedded etcd in %s stopped while starting", cfg.DataDir)
	case err := <-s.breakage.Broken():
		return err
	case <-timeout.C:
		err = fmt.Errorf("embedded etcd in %s was not ready after %s", cfg.DataDir, cfg.StartTimeout)
	case <-ctx.Done():
		err = fmt.Errorf("embedded etcd in %s: %w", cfg.DataDir, context.Cause(ctx))
	}
	s.stopping.Store(true)
	e.Close()
	return err
}

// embed starts etcd. Its error may be what etcd would have ended the process for.
func (s *Server) embed(config *embed.Config) (*embed.Etcd, error) {
	started := make(chan error, 1)
	var e *embed.Etcd
	go func() { // parked for good if etcd would have ended the process
		var err error
		e, err = embed.StartEtcd(config)
		started <- err
	}()
	select {
	case err := <-started:
		return e, err
	case err := <-s.breakage.Broken():
		return nil, err
	}
}

// embedConfig is etcd's configuration for a cluster of one on a unix socket.
func embedConfig(cfg Config, socket string, logger *zap.Logger) *embed.Config {
	peer := url.URL{Scheme: "unix", Host: EmbeddedName}
	client := url.URL{Scheme: "unix", Path: socket}

	c := embed.NewConfig()
	c.Name = EmbeddedName
	c.Dir = filepath.Join(cfg.DataDir, DataSubdir)
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{peer}
	c.ListenClientUrls = []url.URL{client}
	c.AdvertiseClientUrls = []url.URL{client}
	c.InitialCluster = c.InitialClusterFromName(EmbeddedName)
	// The cluster's ID comes from this when the data directory is new, and only then. It is random,
	// so that a wiped directory shows as another store.
	c.InitialClusterToken = rand.Text()
	c.TickMs = heartbeatMilliseconds
	c.ElectionMs = electionMilliseconds
	c.BackendBatchInterval = backendCommitInterval
	c.SnapshotCatchUpEntries = catchUpEntries
	c.QuotaBackendBytes = cfg.QuotaBytes
	c.MaxRequestBytes = cfg.MaxRequestBytes
	c.WatchProgressNotifyInterval = progressNotifyInterval
	// The API server compacts. A second compactor would cut watch caches off.
	c.AutoCompactionRetention = "0"
	c.EnableGRPCGateway = false
	c.UnsafeNoFsync = cfg.UnsafeNoFsync
	c.LogLevel = "warn"
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return c
}

// watch passes on the error that ends the server, if one does before Close.
func (s *Server) watch() {
	defer s.watching.Done()
	select {
	case err := <-s.breakage.Broken():
		s.broken.Store(true)
		s.done <- err
	case err := <-s.etcd.Err():
		s.done <- fmt.Errorf("embedded etcd failed: %w", err)
	case <-s.etcd.Server.StopNotify():
		s.done <- errors.New("embedded etcd stopped by itself")
	case <-s.closing:
	}
	close(s.done)
}

// Endpoint is the address that clients of etcd use, "unix:///path/to/socket": an argument for
// NewClient and for the API server's --etcd-servers.
func (s *Server) Endpoint() string { return s.endpoint }

// Done yields the error that ended the server, if it ended by itself: the process cannot go on
// without it. It is closed when the server has stopped, also by Close.
func (s *Server) Done() <-chan error { return s.done }

// Revision is the store's current revision. It is linearizable, though it asks nobody: the only
// member of a cluster acknowledges a write after it has applied it, and cannot be deposed.
func (s *Server) Revision(context.Context) (int64, error) {
	return s.etcd.Server.KV().Rev(), nil
}

// Close stops the server, waits until it has stopped, and gives the data directory free. Clients
// have to be closed first, or it waits for their watches to be cut.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		close(s.closing)
		s.watching.Wait()
		s.stopping.Store(true)
		s.stop()
		s.release()
	})
}

// stop ends etcd, unless it would have ended the process.
func (s *Server) stop() {
	if s.broken.Load() {
		return
	}
	stopped := make(chan struct{})
	go func() { // parked for good if etcd would have ended the process
		defer close(stopped)
		s.etcd.Close()
	}()
	select {
	case <-stopped:
	case <-s.breakage.Broken():
	}
}

// release gives the data directory and the socket's directory free.
func (s *Server) release() {
	s.cleanup()
	s.unlock()
}
