// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package member runs one member of an etcd cluster that looks after itself:
// it is bootstrapped once and never again, takes a member back that has lost
// its data, makes room, and follows its certificates.
package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// changeTimeout limits a change of the cluster's members.
const changeTimeout = 15 * time.Second

// remindAfter is how long a member waits before it says again what it waits for.
const remindAfter = time.Minute

// errMisplaced says that something is not what it should be, and that waiting will not mend it.
var errMisplaced = errors.New("this member cannot start")

// member is a running member.
type member struct {
	cfg    Config
	health *health
	cas    string // the digest of the CAs that the member started with
}

// Run runs a member until ctx ends, and then hands leadership over and stops. It never removes the
// member from its cluster. Its error is one sentence about what kept it from running; then it has
// changed nothing that was there before.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	if err := cfg.checkCertificates(time.Now()); err != nil {
		return err
	}
	if err := etcd.PrepareDir(cfg.DataDir); err != nil {
		return err
	}
	unlock, err := etcd.LockDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := etcd.CheckSpace(cfg.DataDir, etcd.MinFreeBytes); err != nil {
		return err
	}
	m := &member{cfg: cfg, health: &health{reason: "starting"}}
	group, ctx := errgroup.WithContext(ctx)
	if cfg.ListenHealth != "" {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.ListenHealth)
		if err != nil {
			return fmt.Errorf("health address: %w", err)
		}
		group.Go(func() error { return m.health.serve(ctx, listener) })
	}
	group.Go(func() error { return m.run(ctx) })
	return group.Wait()
}

// run starts etcd, as often as new CAs want it.
func (m *member) run(ctx context.Context) error {
	for ctx.Err() == nil {
		s, err := m.start(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := m.serve(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// start decides how to start, waits for what that takes, and starts etcd.
func (m *member) start(ctx context.Context) (*server, error) {
	logger := klog.FromContext(ctx)
	var said string
	var saidAt time.Time
	for {
		s, why, err := m.tryStart(ctx)
		if s != nil || err != nil {
			return s, err
		}
		if why != "" {
			m.health.waiting(why)
			if why != said || time.Since(saidAt) > remindAfter {
				logger.Info("Waiting to start", "member", m.cfg.Name, "reason", why)
				said, saidAt = why, time.Now()
			}
			if err := pause(ctx, m.cfg.Timing.Retry); err != nil {
				return nil, err
			}
		}
	}
}

// tryStart takes one step towards a start. It returns etcd if it started, or why the next step has to
// wait, if it has to.
func (m *member) tryStart(ctx context.Context) (s *server, why string, err error) {
	now, err := m.look(ctx)
	if err != nil {
		return nil, "", err
	}
	if now.volume != nil && now.silence != nil {
		klog.FromContext(ctx).V(2).Info("No majority of the other members answers", "reason", now.silence.Error())
	}
	d, err := decide(now)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errMisplaced, err)
	}
	switch d.step {
	case wait:
		return nil, d.why, nil
	case record:
		_, why, err := m.agree(ctx, *d.state)
		return nil, why, err
	case begin:
		return m.begin(ctx, now, d)
	case join:
		return m.join(ctx, now, d)
	default:
		m.cas = digestCAs(m.cfg.PeerTLS, m.cfg.ClientTLS)
		s, err := startServer(ctx, m.cfg, embed.ClusterStateFlagExisting, "", m.cfg.initialCluster())
		return s, "", err
	}
}

// look finds out all that a decision needs.
func (m *member) look(ctx context.Context) (situation, error) {
	now := situation{self: m.cfg.self(), initialCluster: m.cfg.initialCluster()}
	var err error
	if now.volume, err = readVolume(m.cfg.DataDir); err != nil {
		return now, err
	}
	if now.permit, _, err = readStarting(m.cfg.DataDir); err != nil {
		return now, err
	}
	asking, cancel := context.WithTimeout(ctx, m.cfg.Timing.Ask)
	defer cancel()
	now.state, now.unknown = m.cfg.Bootstrapped.Get(asking)
	if now.volume == nil && errors.Is(now.unknown, ErrRefused) {
		return now, now.unknown
	}
	now.view, now.silence = m.ask(ctx)
	return now, ctx.Err()
}

// begin starts as one of the cluster's first members. The permit is in the data directory before the
// others can see that it was taken: a crash in between leaves it good.
func (m *member) begin(ctx context.Context, now situation, d decision) (*server, string, error) {
	state := now.state
	if d.state != nil {
		state = *d.state
	}
	if err := writeStarting(m.cfg.DataDir, state.Permits[m.cfg.Name]); err != nil {
		return nil, "", err
	}
	if d.state != nil {
		if agreed, why, err := m.agree(ctx, state); !agreed {
			return nil, why, err
		}
	}
	klog.FromContext(ctx).Info("Starting as one of the cluster's first members", "member", m.cfg.Name, "cluster", state.ClusterID)
	m.cas = digestCAs(m.cfg.PeerTLS, m.cfg.ClientTLS)
	s, err := startServer(ctx, m.cfg, embed.ClusterStateFlagNew, state.Token, state.InitialCluster)
	return s, "", err
}

// join has the cluster accept this member, and starts as a learner, who cannot hurt the majority.
func (m *member) join(ctx context.Context, now situation, d decision) (*server, string, error) {
	initialCluster, err := m.admit(ctx, now.view, d.replaces)
	if err != nil {
		if errors.Is(err, errMisplaced) || ctx.Err() != nil {
			return nil, "", err
		}
		return nil, fmt.Sprintf("the cluster does not take this member in yet: %v", err), nil
	}
	if err := writeStarting(m.cfg.DataDir, joining); err != nil {
		return nil, "", err
	}
	klog.FromContext(ctx).Info("Joining the cluster", "member", m.cfg.Name, "cluster", now.view.clusterID, "replaces", len(d.replaces))
	m.cas = digestCAs(m.cfg.PeerTLS, m.cfg.ClientTLS)
	s, err := startServer(ctx, m.cfg, embed.ClusterStateFlagExisting, "", initialCluster)
	return s, "", err
}

// serve looks after etcd until ctx ends, etcd fails, or it has to be started again, and stops it.
func (m *member) serve(ctx context.Context, s *server) error {
	serving, end := context.WithCancelCause(ctx)
	defer end(nil)
	m.health.serving(s.raft())
	var parts errgroup.Group
	parts.Go(func() error {
		err := s.failure(serving)
		end(err)
		return err
	})
	parts.Go(func() error {
		err := m.settle(serving, s)
		if err == nil && serving.Err() == nil {
			err = (&upkeep{member: m, server: s}).run(serving)
		}
		if errors.Is(err, errRestart) {
			err = nil
			end(nil)
		}
		if err != nil {
			end(err)
		}
		return err
	})
	<-serving.Done()
	m.health.waiting("stopping")
	err := parts.Wait()
	if broken := (errBroken{}); errors.As(err, &broken) {
		return err
	}
	return errors.Join(err, s.stop(ctx))
}

// settle waits until the member is a full one in a cluster with a majority, and notes that. It fails
// with errRestart if other CAs come meanwhile: they may be what a majority lacks.
func (m *member) settle(ctx context.Context, s *server) error {
	for ready := false; !ready; {
		look := time.NewTimer(m.cfg.Timing.Upkeep)
		select {
		case <-s.raft().ReadyNotify():
			ready = true
		case <-look.C:
			if m.otherCAs() {
				return errRestart
			}
		case <-ctx.Done():
			ready = true
		}
		look.Stop()
	}
	if ctx.Err() != nil {
		return nil
	}
	for s.raft().IsLearner() {
		// It is refused until the leader finds that this member has caught up.
		if _, err := s.raft().PromoteMember(ctx, uint64(s.raft().MemberID())); err != nil {
			klog.FromContext(ctx).V(2).Info("Not promoted yet", "member", m.cfg.Name, "reason", err.Error())
		}
		if pause(ctx, m.cfg.Timing.Retry) != nil {
			return nil
		}
	}
	if err := settled(m.cfg.DataDir); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Serving as a member of the cluster", "member", m.cfg.Name,
		"id", s.raft().MemberID().String(), "cluster", s.raft().Cluster().ID().String())
	return nil
}

// agree writes the state that all members go by. Where that failed it says why it has to wait before it
// tries again, unless another member was faster: then there is something new to go by at once.
func (m *member) agree(ctx context.Context, state State) (agreed bool, why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	switch err := m.cfg.Bootstrapped.Set(ctx, state); {
	case err == nil:
		return true, "", nil
	case errors.Is(err, ErrRefused):
		return false, "", err
	case errors.Is(err, ErrChanged):
		return false, "", nil
	default:
		return false, fmt.Sprintf("what all members go by cannot be written: %v", err), nil
	}
}

// pause waits. Its error is that ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
