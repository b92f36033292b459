// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo shows a fail-over, start to end, on real control planes: two
// clusters, a ClusterSet that keeps one of them active, a chart on the active
// one. Its last line holds the times, counted from the kill and read from the
// APIs. Whatever does not go as it should ends it with an error.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster-project/muster/test/fleet"
)

const (
	// fleetName is that of the demo's fleet: another than those of `make up`.
	fleetName = "demo"
	// patience bounds the whole demo.
	patience = 10 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, patience)
	times, err := run(ctx)
	interrupted := errors.Is(ctx.Err(), context.Canceled)
	cancel()
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything that it started has ended")
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Printf("\nfailover %s\n", times)
}

// run starts a fleet, shows the scenario, and ends the fleet.
func run(ctx context.Context) (fleet.FailoverTimes, error) {
	var times fleet.FailoverTimes
	root, err := fleet.RepositoryRoot()
	if err != nil {
		return times, err
	}
	if err := os.Chdir(root); err != nil {
		return times, fmt.Errorf("entering the repository: %w", err)
	}
	dir, err := cleanDirectory()
	if err != nil {
		return times, err
	}
	heading("Starting a host cluster with Muster, and two clusters for it to manage")
	explain("Each is a real kube-apiserver on this machine.")
	f, err := fleet.Start(ctx, fleet.Options{
		Name: fleetName, Dir: dir, Managed: []string{"cluster1", "cluster2"},
		Logf: func(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) },
	})
	if err != nil {
		return times, err
	}
	times, err = show(ctx, f)
	if err != nil {
		err = fmt.Errorf("%w\nMuster's log ends:\n%s", err, f.Muster.LogTail())
		return times, errors.Join(err, f.Stop()) // its logs stay, for a closer look
	}
	heading("Ending everything that the demo started")
	return times, errors.Join(f.Stop(), os.RemoveAll(f.Dir()))
}

// cleanDirectory is the fleet's, without what a demo that failed left there.
func cleanDirectory() (string, error) {
	dir, err := fleet.DefaultDir(fleetName)
	if err != nil {
		return "", err
	}
	state, err := fleet.ReadState(dir)
	if err == nil && state.Running() {
		return "", fmt.Errorf("another demo runs in %s", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("removing what a former demo left: %w", err)
	}
	return dir, nil
}

func show(ctx context.Context, f *fleet.Fleet) (fleet.FailoverTimes, error) {
	observer, err := f.Observer()
	if err != nil {
		return fleet.FailoverTimes{}, err
	}
	d := &demo{fleet: f, observer: observer, kubectl: f.Host.Kubectl()}
	for _, step := range []func(context.Context) error{
		d.register, d.selectOne, d.deploy, d.upgrade, d.failOver, d.bringBack,
	} {
		if err := step(ctx); err != nil {
			return d.times, err
		}
	}
	return d.times, nil
}

// relative is a path as the reader of the demo would type it.
func relative(path string) string {
	if dir, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(dir, path); err == nil {
			return short
		}
	}
	return path
}
