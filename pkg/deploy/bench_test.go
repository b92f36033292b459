// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// shelf is an inventory.Backend in memory that can be made to fail.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
	writes int
	// fail says whether a write, counted from 1, fails. It is not stored then.
	fail func(write int, key string) error
}

func newShelf() *shelf { return &shelf{values: map[string][]byte{}} }

func (s *shelf) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.values[key]
	return value, ok, ctx.Err()
}

func (s *shelf) Put(ctx context.Context, key string, value []byte) error {
	return s.write(ctx, key, func() { s.values[key] = value })
}

func (s *shelf) Delete(ctx context.Context, key string) error {
	return s.write(ctx, key, func() { delete(s.values, key) })
}

func (s *shelf) write(ctx context.Context, key string, do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fail != nil {
		if err := s.fail(s.writes, key); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	do()
	return nil
}

func (s *shelf) List(ctx context.Context, prefix string, visit func(string, []byte) error) error {
	s.mu.Lock()
	values := maps.Clone(s.values)
	s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if err := visit(key, values[key]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// chartLog is a Charts that deploys nothing and says what it was asked for.
type chartLog struct {
	mu    sync.Mutex
	calls []string
	// fail is the error for a call, by "load NAME", "deploy NAME" or "uninstall NAME".
	fail map[string]error
	hook func(call string)
	// uninstalls are the settings of the uninstallations.
	uninstalls []release.UninstallSettings
}

func (c *chartLog) call(what, name string) error {
	c.mu.Lock()
	c.calls = append(c.calls, what+" "+name)
	err, hook := c.fail[what+" "+name], c.hook
	c.mu.Unlock()
	if hook != nil {
		hook(what + " " + name)
	}
	return err
}

func (c *chartLog) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.calls
	c.calls = nil
	return taken
}

func (c *chartLog) LoadChart(_ context.Context, ref release.ChartRef) (*release.Chart, error) {
	if err := c.call("load", ref.ChartName); err != nil {
		return nil, err
	}
	return &release.Chart{Ref: ref, Name: ref.ChartName, Version: ref.Version}, nil
}

func (c *chartLog) Deploy(_ context.Context, _ release.Cluster, r release.Release) (release.Outcome, error) {
	if err := c.call("deploy", r.Name); err != nil {
		return release.Outcome{}, err
	}
	return release.Outcome{Action: release.Installed, Chart: r.Chart.Name, Version: r.Chart.Version, Revision: 1}, nil
}

func (c *chartLog) Uninstall(_ context.Context, _ release.Cluster, _, name string, settings release.UninstallSettings) error {
	c.mu.Lock()
	c.uninstalls = append(c.uninstalls, settings)
	c.mu.Unlock()
	return c.call("uninstall", name)
}

// bench is a deployer with everything around it.
type bench struct {
	t        testing.TB
	wire     *wire
	shelf    *shelf
	charts   *chartLog
	cluster  Cluster
	deployer *Deployer
	// profiles are those that exist.
	profiles map[string]bool
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, wire: newWire(), shelf: newShelf(), charts: &chartLog{fail: map[string]error{}}, profiles: map[string]bool{}}
	b.cluster = newCluster(t, b.wire)
	b.wire.put("/api/v1/namespaces/apps", parse(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: apps}\n"))
	b.restart()
	return b
}

// restart gives the bench a new deployer: what the old one had in memory is
// lost.
func (b *bench) restart() {
	b.deployer = New(Options{
		Inventory: inventory.NewStore(b.shelf),
		Charts:    b.charts,
		OwnerExists: func(_ context.Context, owner inventory.OwnerKey) (bool, error) {
			return b.profiles[owner.Name], nil
		},
		GoneTimeout: 1, // don't wait
	})
}

func (b *bench) record(owner inventory.Owner) *inventory.Record {
	b.t.Helper()
	r, err := inventory.NewStore(b.shelf).Get(context.Background(), b.cluster.Ref, owner.Key())
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}
