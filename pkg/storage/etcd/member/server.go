// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.uber.org/zap"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

const (
	// progressNotifyInterval is how often etcd tells idle watchers its revision. The API server's
	// watch caches need it to send bookmarks.
	progressNotifyInterval = 5 * time.Second

	// consistencyChecks have a member compare its data with the others' when it starts, and the leader
	// everybody's at each compaction: one that differs is found before it is believed.
	consistencyChecks = "InitialCorruptCheck=true,CompactHashCheck=true"
)

// server is etcd, from its start to its end.
type server struct {
	etcd     *embed.Etcd
	stopping atomic.Bool // quietens the log
	breakage *etcd.Breakage
}

// startServer starts etcd in the data directory: with the log that is there, or else as a member of
// initialCluster, which exists already or not. It returns before the cluster has a majority.
func startServer(ctx context.Context, cfg Config, clusterState, token, initialCluster string) (*server, error) {
	s := &server{breakage: etcd.NewBreakage(cfg.DataDir)}
	logger := etcd.NewZapLogger(klog.FromContext(ctx).WithName("etcd"), &s.stopping, s.breakage.Options()...)
	config, err := embedConfig(cfg, logger)
	if err != nil {
		return nil, err
	}
	config.ClusterState, config.InitialClusterToken, config.InitialCluster = clusterState, token, initialCluster

	started := make(chan error, 1)
	go func() { // parked for good if etcd would have ended the process
		var err error
		s.etcd, err = embed.StartEtcd(config)
		started <- err
	}()
	select {
	case err := <-started:
		if err != nil {
			return nil, fmt.Errorf("etcd does not start with data directory %s: %w", cfg.DataDir, err)
		}
		return s, nil
	case err := <-s.breakage.Broken():
		return nil, err
	}
}

// embedConfig is etcd's configuration for a member.
func embedConfig(cfg Config, logger *zap.Logger) (*embed.Config, error) {
	peer, err := url.Parse(cfg.self().PeerURL)
	if err != nil {
		return nil, err
	}
	client, err := url.Parse(cfg.self().ClientURL)
	if err != nil {
		return nil, err
	}
	c := embed.NewConfig()
	c.Name = cfg.Name
	c.Dir = filepath.Join(cfg.DataDir, etcd.ClusterSubdir)
	c.ListenPeerUrls = []url.URL{{Scheme: "https", Host: cfg.ListenPeer}}
	c.AdvertisePeerUrls = []url.URL{*peer}
	c.ListenClientUrls = []url.URL{{Scheme: "https", Host: cfg.ListenClient}}
	c.AdvertiseClientUrls = []url.URL{*client}
	c.PeerTLSInfo, c.ClientTLSInfo = cfg.PeerTLS.tls(), cfg.ClientTLS.tls()
	c.TickMs = uint(cfg.Timing.Heartbeat.Milliseconds())
	c.ElectionMs = uint(cfg.Timing.Election.Milliseconds())
	c.QuotaBackendBytes = cfg.QuotaBytes
	c.MaxRequestBytes = etcd.DefaultMaxRequestBytes
	c.WatchProgressNotifyInterval = progressNotifyInterval
	// The API server compacts. A second compactor would cut watch caches off.
	c.AutoCompactionRetention = "0"
	c.EnableGRPCGateway = false
	c.UnsafeNoFsync = cfg.UnsafeNoFsync
	c.LogLevel = "warn"
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	gates, ok := c.ServerFeatureGate.(interface{ Set(gates string) error })
	if !ok {
		return nil, errors.New("etcd's feature gates cannot be set")
	}
	return c, gates.Set(consistencyChecks)
}

// failure is the error that ends etcd, if one does before it is stopped. It is received from alone.
func (s *server) failure(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.breakage.Broken():
		return errBroken{err}
	case err := <-s.etcd.Err():
		return fmt.Errorf("etcd failed: %w", err)
	case <-s.etcd.Server.StopNotify():
		if s.etcd.Server.IsIDRemoved(uint64(s.etcd.Server.MemberID())) {
			return errors.New("this member was removed from the cluster by somebody else: empty its data directory, and it joins anew")
		}
		return errors.New("etcd stopped by itself")
	}
}

// errBroken is an error after which etcd cannot even be stopped.
type errBroken struct{ error }

func (e errBroken) Unwrap() error { return e.error }

// stop hands leadership to another member and stops. Its error is that etcd broke while it did.
func (s *server) stop(ctx context.Context) error {
	s.stopping.Store(true)
	stopped := make(chan struct{})
	go func() { // parked for good if etcd would have ended the process
		defer close(stopped)
		s.close(ctx)
	}()
	select {
	case <-stopped:
		return nil
	case err := <-s.breakage.Broken():
		return err
	}
}

func (s *server) close(ctx context.Context) {
	select {
	case <-s.etcd.Server.ReadyNotify():
		// Before the connections are closed, so that clients that go elsewhere find a leader.
		s.handOver(ctx)
	default:
		// embed waits for listeners that wait for the cluster, unless the server has stopped before.
		s.etcd.Server.HardStop()
	}
	s.etcd.Close()
}

// handOver hands leadership to another member, if this one has it and there is another.
func (s *server) handOver(ctx context.Context) {
	if err := s.raft().TryTransferLeadershipOnShutdown(); err != nil {
		klog.FromContext(ctx).Info("Leadership was not handed over, the others will elect a leader", "reason", err.Error())
	}
}

func (s *server) raft() *etcdserver.EtcdServer { return s.etcd.Server }
