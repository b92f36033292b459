// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-project/muster/test/fleet"
)

// profiling takes a CPU profile of the server for a time, if that is asked for.
// The returned function waits for its end.
func (b *bench) profiling(ctx context.Context, f *fleet.Fleet, name string, window time.Duration) (wait func() error) {
	if b.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	seconds := max(1, int(window.Seconds()))
	go func() { done <- b.takeProfile(ctx, f, name, fmt.Sprintf("profile?seconds=%d", seconds)) }()
	return func() error { return <-done }
}

// heap writes what the server has on its heap, if profiles are asked for.
func (b *bench) heap(ctx context.Context, f *fleet.Fleet, name string) error {
	if b.profile == "" {
		return nil
	}
	return b.takeProfile(ctx, f, name, "heap?gc=1")
}

// takeProfile writes what the server answers at a path of net/http/pprof.
func (b *bench) takeProfile(ctx context.Context, f *fleet.Fleet, name, source string) error {
	admin, err := f.Host.RESTConfig()
	if err != nil {
		return err
	}
	config, err := directConfig(ctx, f, admin)
	if err != nil {
		return err
	}
	r, err := newReader(config)
	if err != nil {
		return err
	}
	data, err := r.get(ctx, "/debug/pprof/"+source)
	if err != nil {
		return fmt.Errorf("taking a profile: %w", err)
	}
	if err := os.MkdirAll(b.profile, 0o755); err != nil {
		return fmt.Errorf("making the directory of the profiles: %w", err)
	}
	path := filepath.Join(b.profile, name+".pprof")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	b.logf("wrote %s", path)
	return nil
}
