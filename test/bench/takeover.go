// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/test/fleet"
)

var (
	leaseResource   = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	profileResource = schema.GroupVersionResource{Group: "config.projectsveltos.io", Version: "v1beta1", Resource: "clusterprofiles"}
)

const (
	// haReplicas is how many servers run where one takes over from another.
	haReplicas = 3
	// leaseName is that of the Lease that replicas contend for.
	leaseName = "muster"
	// takeoverPatience bounds one takeover, and the return of whom it was from.
	takeoverPatience = 2 * time.Minute
	// retryPeriod is the shipped one: a follower looks at the Lease so often, and
	// a leader renews it so often. A fault comes anywhere in it.
	retryPeriod = 500 * time.Millisecond
)

// takeoverMode is a way for a leader to end, and how soon the controllers of
// another one have to work.
type takeoverMode struct {
	name string
	goal float64 // seconds, for the 99th percentile
	// strike returns when the leader was told to end. What it has started ends
	// with ctx.
	strike func(ctx context.Context, leader *fleet.Server) error
}

func takeoverModes() []takeoverMode {
	return []takeoverMode{
		{"sigkill", 8, func(_ context.Context, leader *fleet.Server) error { return leader.Kill() }},
		{"sigterm", 1.5, func(ctx context.Context, leader *fleet.Server) error {
			// When ctx is done the rest of the shutdown, in which the server waits
			// until nobody sends it requests any more, is cut short.
			go func() { _ = leader.Stop(ctx) }()
			return nil
		}},
	}
}

// measureTakeover is the part of G7 with several replicas.
func measureTakeover(ctx context.Context, b *bench, report func(*Measure)) error {
	return b.withFleet(ctx, fleet.Options{Name: "takeover", Replicas: haReplicas}, func(ctx context.Context, f *fleet.Fleet) error {
		w, err := newTakeoverWork(f)
		if err != nil {
			return err
		}
		for _, mode := range takeoverModes() {
			var times []takeoverTimes
			for run := range b.repeat(20) {
				t, err := w.takeOver(ctx, mode, run)
				if err != nil {
					return fmt.Errorf("%s, run %d: %w", mode.name, run+1, err)
				}
				b.logf("%s, run %d: another one had the lease after %.2fs, and has reconciled after %.2fs", mode.name, run+1, t.lease, t.reconciled)
				times = append(times, t)
			}
			report(takeoverMeasure(mode, times))
		}
		return nil
	})
}

// takeoverTimes are seconds from just before the fault.
type takeoverTimes struct{ lease, reconciled float64 }

func takeoverMeasure(mode takeoverMode, times []takeoverTimes) *Measure {
	var leases, all []float64
	for _, t := range times {
		leases, all = append(leases, t.lease), append(all, t.reconciled)
	}
	m := &Measure{Name: "G7"}
	return m.Text("event", mode.name).
		AtMost("takeover_s", quantile(all, 0.99), mode.goal, 2).
		Number("takeover_p50_s", median(all), 2).
		Number("takeover_max_s", slices.Max(all), 2).
		Number("lease_p50_s", median(leases), 2).
		Number("runs", float64(len(times)), 0)
}

// takeoverWork is a fleet whose leader ends again and again.
type takeoverWork struct {
	fleet *fleet.Fleet
	host  dynamic.Interface
	// replicas have clients past the host, which must not matter here.
	replicas map[*fleet.Server]dynamic.Interface
}

func newTakeoverWork(f *fleet.Fleet) (*takeoverWork, error) {
	w := &takeoverWork{fleet: f, replicas: map[*fleet.Server]dynamic.Interface{}}
	config, err := f.Host.RESTConfig()
	if err != nil {
		return nil, err
	}
	if w.host, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("making a client of the host: %w", err)
	}
	for _, replica := range f.Muster.Replicas() {
		config, err := f.Muster.ReplicaConfig(replica)
		if err != nil {
			return nil, err
		}
		config.WarningHandler = rest.NoWarnings{} // a profile that deploys nothing draws some
		if w.replicas[replica], err = dynamic.NewForConfig(config); err != nil {
			return nil, fmt.Errorf("making a client of %s: %w", replica.Name(), err)
		}
	}
	return w, nil
}

// takeOver ends the leader and brings it back.
func (w *takeoverWork) takeOver(ctx context.Context, mode takeoverMode, run int) (times takeoverTimes, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeoverPatience)
	defer cancel()
	var leader *fleet.Server
	if err := fleet.Await(ctx, func(ctx context.Context) (err error) {
		leader, err = w.fleet.Muster.Leader(ctx)
		return err
	}); err != nil {
		return times, fmt.Errorf("waiting for a leader: %w", err)
	}
	name := fmt.Sprintf("%s-%02d", mode.name, run)
	ending, end := context.WithCancel(ctx)
	times, err = w.measure(ctx, leader, name, func() error { return mode.strike(ending, leader) })
	end()
	if err != nil {
		return times, err
	}
	return times, w.restore(ctx, leader, name)
}

// measure strikes, and watches who has the Lease. A profile that is made when
// another replica has it can be nobody else's to reconcile: it gets a finalizer
// before anything is done for it.
func (w *takeoverWork) measure(ctx context.Context, leader *fleet.Server, name string, strike func() error) (times takeoverTimes, err error) {
	survivor := w.survivor(leader)
	profiles := w.replicas[survivor].Resource(profileResource)
	leases := w.host.Resource(leaseResource).Namespace(fleet.Namespace)
	lease, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return times, fmt.Errorf("reading the lease: %w", err)
	}
	held, err := watchOne(ctx, leases, leaseName)
	if err != nil {
		return times, fmt.Errorf("watching the lease: %w", err)
	}
	defer held.Stop()
	reconciled, err := watchOne(ctx, profiles, name)
	if err != nil {
		return times, fmt.Errorf("watching the profile at %s: %w", survivor.Name(), err)
	}
	defer reconciled.Stop()
	if err := pause(ctx, rand.N(2*retryPeriod)); err != nil {
		return times, err
	}

	began := time.Now()
	if err := strike(); err != nil {
		return times, err
	}
	at, err := awaitEvent(ctx, held, heldByAnother(lease))
	if err != nil {
		return times, fmt.Errorf("waiting until another replica has the lease: %w", err)
	}
	times.lease = at.Sub(began).Seconds()
	if _, err := profiles.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": profileResource.GroupVersion().String(), "kind": "ClusterProfile",
		"metadata": map[string]any{"name": name},
	}}, metav1.CreateOptions{}); err != nil {
		return times, fmt.Errorf("making a profile at %s: %w", survivor.Name(), err)
	}
	at, err = awaitEvent(ctx, reconciled, func(profile *unstructured.Unstructured) bool { return len(profile.GetFinalizers()) > 0 })
	if err != nil {
		return times, fmt.Errorf("waiting until the new leader reconciles: %w", err)
	}
	times.reconciled = at.Sub(began).Seconds()
	return times, nil
}

// survivor is one of the replicas that stay.
func (w *takeoverWork) survivor(leader *fleet.Server) *fleet.Server {
	others := slices.DeleteFunc(w.fleet.Muster.Replicas(), func(s *fleet.Server) bool { return s == leader })
	return others[rand.IntN(len(others))]
}

// heldByAnother wants another holder than the one that a Lease names.
func heldByAnother(before *unstructured.Unstructured) func(*unstructured.Unstructured) bool {
	holder := func(lease *unstructured.Unstructured) string {
		name, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
		return name
	}
	former := holder(before)
	return func(lease *unstructured.Unstructured) bool {
		now := holder(lease)
		return now != "" && now != former
	}
}

// restore brings the former leader back and removes the profile.
func (w *takeoverWork) restore(ctx context.Context, former *fleet.Server, name string) error {
	if err := fleet.Await(ctx, func(context.Context) error {
		if former.Running() {
			return errors.New(former.Name() + " still runs")
		}
		return nil
	}); err != nil {
		return err
	}
	if err := former.Start(ctx); err != nil {
		return err
	}
	survivor := w.survivor(former)
	if err := w.replicas[survivor].Resource(profileResource).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting the profile at %s: %w", survivor.Name(), err)
	}
	return nil
}
