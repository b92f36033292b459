// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// lockFile marks a directory as a fleet's, and is locked while it runs.
const lockFile = "lock"

// Fleet is a running host, its managed control planes and Muster.
type Fleet struct {
	// Host is the cluster that Muster is registered in.
	Host *ControlPlane
	// Muster is nil under Options.WithoutMuster.
	Muster *Muster
	// Charts serves the charts of the tests.
	Charts *Charts

	options Options
	dir     string
	lock    *os.File
	ledger  *ledger
	etcd    *etcd
	managed []*ControlPlane

	mu    sync.Mutex
	ports []*port
}

// Start starts a fleet and returns when everything in it is ready; with
// Muster that means that its API answers through the host. ctx bounds the
// start; the fleet itself runs until Stop. The error of a start that failed
// names the part that did and shows the end of its log; everything started is
// ended, and the directory is left for a closer look.
func Start(ctx context.Context, options Options) (_ *Fleet, err error) {
	options, err = options.complete()
	if err != nil {
		return nil, err
	}
	f := &Fleet{options: options, dir: options.Dir}
	if err := f.claim(); err != nil {
		if f.lock != nil {
			err = errors.Join(err, f.lock.Close())
		}
		return nil, fmt.Errorf("starting fleet %s: %w", options.Name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting fleet %s: %w", options.Name, err), f.Stop())
		}
	}()
	if err := f.prepare(); err != nil {
		return nil, err
	}
	if err := f.run(ctx); err != nil {
		return nil, err
	}
	return f, f.ledger.update(func(state *State) { state.Ready = true })
}

// claim makes the directory, takes its lock, which one fleet at a time holds,
// and clears what an earlier fleet left. A directory that holds anything else
// is refused.
func (f *Fleet) claim() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("making its directory: %w", err)
	}
	path := filepath.Join(f.dir, lockFile)
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("reading its directory: %w", err)
	}
	if _, err := os.Stat(path); err != nil && len(entries) > 0 {
		return fmt.Errorf("%s holds something else than a fleet: give it an empty directory", f.dir)
	}
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening its lock: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return fmt.Errorf("another fleet runs in %s: %w", f.dir, err)
	}
	f.lock = lock
	return f.sweep(entries)
}

// sweep ends what a fleet whose owner was killed left running, and removes
// what any earlier fleet left behind: its data does not fit new keys.
func (f *Fleet) sweep(entries []os.DirEntry) error {
	if state, err := ReadState(f.dir); err == nil {
		for _, p := range state.Processes {
			p.signal(syscall.SIGKILL)
		}
	}
	for _, entry := range entries {
		if entry.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(f.dir, entry.Name())); err != nil {
			return fmt.Errorf("clearing its directory: %w", err)
		}
	}
	return nil
}

// prepare makes everything that needs no process: directories, ports, keys.
func (f *Fleet) prepare() error {
	owner, err := identify(os.Getpid())
	if err != nil {
		return fmt.Errorf("identifying this process: %w", err)
	}
	f.ledger = &ledger{dir: f.dir, state: State{Name: f.options.Name, Owner: owner}}
	if f.etcd, err = newEtcd(f.options.Bin, f.dir); err != nil {
		return err
	}
	if f.Host, err = newControlPlane(f, hostName, false, true); err != nil {
		return err
	}
	for _, name := range f.options.Managed {
		c, err := newControlPlane(f, name, true, f.options.ManagedControllers)
		if err != nil {
			return err
		}
		f.managed = append(f.managed, c)
	}
	charts, err := f.reserve()
	if err != nil {
		return err
	}
	if f.Charts, err = newCharts(charts); err != nil {
		return err
	}
	if !f.options.WithoutMuster {
		if f.Muster, err = newMuster(f); err != nil {
			return err
		}
	}
	return f.ledger.update(f.describe)
}

// describe fills in what never changes.
func (f *Fleet) describe(state *State) {
	state.Kubeconfig = f.Host.KubeconfigFile()
	state.Charts = f.Charts.URL()
	for _, c := range f.managed {
		state.Managed = append(state.Managed, ClusterState{Name: c.name, Kubeconfig: c.KubeconfigFile()})
	}
}

// run starts the processes: etcd, then every control plane at once, and
// Muster as soon as the host is there.
func (f *Fleet) run(ctx context.Context) error {
	if err := f.Charts.start(ctx); err != nil {
		return err
	}
	if err := f.timed("etcd", func() error { return f.etcd.start(ctx, f.ledger) }); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range f.managed {
		group.Go(func() error {
			return f.timed(c.name, func() error { return c.start(ctx) })
		})
	}
	group.Go(func() error {
		if err := f.timed(hostName, func() error { return f.Host.start(ctx) }); err != nil || f.Muster == nil {
			return err
		}
		return f.timed("muster", func() error { return f.Muster.install(ctx) })
	})
	return group.Wait()
}

func (f *Fleet) timed(part string, start func() error) error {
	began := time.Now()
	if err := start(); err != nil {
		return err
	}
	f.options.Logf("%s is ready after %.1fs", part, time.Since(began).Seconds())
	return nil
}

// reserve takes a port that is the fleet's until its end.
func (f *Fleet) reserve() (*port, error) {
	p, err := reservePort()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports = append(f.ports, p)
	return p, nil
}

// Dir holds everything that the fleet writes.
func (f *Fleet) Dir() string { return f.dir }

// Managed is the managed control plane of that name. It panics if there is
// none: the caller named them itself.
func (f *Fleet) Managed(name string) *ControlPlane {
	i := slices.IndexFunc(f.managed, func(c *ControlPlane) bool { return c.name == name })
	if i < 0 {
		panic(fmt.Sprintf("fleet %s has no managed cluster %q", f.options.Name, name))
	}
	return f.managed[i]
}

// Clusters are all managed control planes, in the order of Options.Managed.
func (f *Fleet) Clusters() []*ControlPlane { return slices.Clone(f.managed) }

// Kubectl is kubectl against the host, as administrator.
func (f *Fleet) Kubectl(ctx context.Context, args ...string) (Result, error) {
	return f.Host.Kubectl().Run(ctx, args...)
}

// Heal brings everything back that a test killed, paused, refused, delayed or
// black-holed. Objects are left as they are.
func (f *Fleet) Heal(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range f.managed {
		group.Go(func() error { return c.heal(ctx) })
	}
	group.Go(func() error {
		if err := f.Host.heal(ctx); err != nil || f.Muster == nil {
			return err
		}
		return f.Muster.heal(ctx)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("healing fleet %s: %w", f.options.Name, err)
	}
	return nil
}

// Stop ends everything that the fleet started. It leaves the directory, for
// its logs; the caller removes it.
func (f *Fleet) Stop() error {
	if f.Muster != nil {
		f.Muster.shutdown()
	}
	if f.Host != nil {
		f.Host.stop()
	}
	for _, c := range f.managed {
		c.stop()
	}
	if f.etcd != nil {
		f.etcd.stop()
	}
	var failed []error
	if f.Charts != nil {
		failed = append(failed, f.Charts.stop())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.ports {
		p.release()
	}
	f.ports = nil
	if err := os.Remove(filepath.Join(f.dir, stateFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		failed = append(failed, fmt.Errorf("removing the fleet's state: %w", err))
	}
	// Closing the file releases the lock.
	if err := f.lock.Close(); err != nil && !errors.Is(err, syscall.EBADF) && !errors.Is(err, os.ErrClosed) {
		failed = append(failed, fmt.Errorf("releasing the fleet's lock: %w", err))
	}
	return errors.Join(failed...)
}
