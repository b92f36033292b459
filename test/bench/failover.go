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

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/test/fleet"
)

var (
	clusterResource   = schema.GroupVersionResource{Group: "lib.projectsveltos.io", Version: "v1beta1", Resource: "sveltosclusters"}
	setResource       = schema.GroupVersionResource{Group: "lib.projectsveltos.io", Version: "v1beta1", Resource: "clustersets"}
	summaryResource   = schema.GroupVersionResource{Group: "config.projectsveltos.io", Version: "v1beta1", Resource: "clustersummaries"}
	configMapResource = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

const (
	space   = "bench" // the namespace, and the name of everything in it
	payload = "bench-payload"

	// failoverPatience bounds one fail-over, and the return from it.
	failoverPatience = 3 * time.Minute
	// probePeriod is Muster's default. A fault comes anywhere in it.
	probePeriod = 5 * time.Second
)

// failoverManifests keep a ConfigMap on one of all clusters with label
// bench=failover.
const failoverManifests = `
apiVersion: v1
kind: ConfigMap
metadata: {name: bench, namespace: bench}
data:
  payload.yaml: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: bench-payload, namespace: default}
    data: {key: value}
---
apiVersion: lib.projectsveltos.io/v1beta1
kind: ClusterSet
metadata: {name: bench}
spec:
  clusterSelector: {matchLabels: {bench: failover}}
  maxReplicas: 1
---
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: bench}
spec:
  setRefs: [bench]
  policyRefs:
  - {kind: ConfigMap, namespace: bench, name: bench}
`

// failoverMode is a way for a cluster to fail, and how soon its work has to
// run elsewhere.
type failoverMode struct {
	name         string
	deployed     float64 // median, seconds
	deployedMost float64
	fault        func(context.Context, *fleet.ControlPlane) error
}

func failoverModes() []failoverMode {
	return []failoverMode{
		{"crash", 6, 9, func(ctx context.Context, c *fleet.ControlPlane) error { return c.Kill(ctx) }},
		{"blackhole", 12, 15, func(ctx context.Context, c *fleet.ControlPlane) error { return c.Proxy.Set(ctx, fleet.BlackHole) }},
	}
}

// measureFailover is G2.
func measureFailover(ctx context.Context, b *bench, report func(*Measure)) error {
	options := fleet.Options{Name: "g2", Managed: []string{"cluster1", "cluster2"}}
	return b.withFleet(ctx, options, func(ctx context.Context, f *fleet.Fleet) error {
		w, err := newFailoverWork(ctx, f)
		if err != nil {
			return err
		}
		for _, mode := range failoverModes() {
			var times []failoverTimes
			for run := range b.repeat(10) {
				t, err := w.failOver(ctx, mode)
				if err != nil {
					return fmt.Errorf("%s, run %d: %w", mode.name, run+1, err)
				}
				b.logf("%s, run %d: detected after %.2fs, selected after %.2fs, deployed after %.2fs",
					mode.name, run+1, t.detected, t.selected, t.deployed)
				times = append(times, t)
			}
			report(failoverMeasure(mode, times))
		}
		return nil
	})
}

// failoverTimes are seconds from just before the fault.
type failoverTimes struct{ detected, selected, deployed float64 }

func failoverMeasure(mode failoverMode, times []failoverTimes) *Measure {
	collect := func(of func(failoverTimes) float64) []float64 {
		var all []float64
		for _, t := range times {
			all = append(all, of(t))
		}
		return all
	}
	deployed := collect(func(t failoverTimes) float64 { return t.deployed })
	m := &Measure{Name: "G2"}
	return m.Text("mode", mode.name).
		Number("detected_s", median(collect(func(t failoverTimes) float64 { return t.detected })), 2).
		Number("selected_s", median(collect(func(t failoverTimes) float64 { return t.selected })), 2).
		AtMost("deployed_s", median(deployed), mode.deployed, 2).
		AtMost("deployed_max_s", slices.Max(deployed), mode.deployedMost, 2).
		// The longest step of any run: each has to be in time.
		AtMost("select_max_s", slices.Max(collect(func(t failoverTimes) float64 { return t.selected - t.detected })), 0.2, 3).
		AtMost("deploy_max_s", slices.Max(collect(func(t failoverTimes) float64 { return t.deployed - t.selected })), 1, 3).
		Number("runs", float64(len(times)), 0)
}

// failoverWork is a fleet with work on one of its two clusters.
type failoverWork struct {
	fleet    *fleet.Fleet
	observer *fleet.Observer
	clients  map[string]dynamic.Interface // by cluster, past the proxies
	host     dynamic.Interface
}

func newFailoverWork(ctx context.Context, f *fleet.Fleet) (*failoverWork, error) {
	w := &failoverWork{fleet: f, clients: map[string]dynamic.Interface{}}
	var err error
	if w.observer, err = f.Observer(); err != nil {
		return nil, err
	}
	for _, c := range append(f.Clusters(), f.Host) {
		config, err := c.RESTConfig()
		if err != nil {
			return nil, err
		}
		if w.clients[c.Name()], err = dynamic.NewForConfig(config); err != nil {
			return nil, fmt.Errorf("making a client of %s: %w", c.Name(), err)
		}
	}
	w.host = w.clients[f.Host.Name()]
	for _, c := range f.Clusters() {
		if err := f.RegisterManaged(ctx, space, c.Name(), map[string]string{"bench": "failover"}); err != nil {
			return nil, err
		}
	}
	if _, err := f.Host.Kubectl().Input(ctx, failoverManifests, "apply", "--server-side", "-f", "-"); err != nil {
		return nil, fmt.Errorf("putting work on a cluster: %w", err)
	}
	return w, nil
}

// failOver makes the active cluster fail and measures when the other one has
// its work.
func (w *failoverWork) failOver(ctx context.Context, mode failoverMode) (failoverTimes, error) {
	ctx, cancel := context.WithTimeout(ctx, failoverPatience)
	defer cancel()
	if err := w.fleet.Heal(ctx); err != nil {
		return failoverTimes{}, err
	}
	var from, to string
	err := fleet.Await(ctx, func(ctx context.Context) (err error) {
		from, to, err = w.settled(ctx)
		return err
	})
	if err != nil {
		return failoverTimes{}, fmt.Errorf("waiting until both clusters are ready and one has the work: %w", err)
	}
	return w.measure(ctx, mode, from, to)
}

// settled fails unless both clusters are ready and nothing is left to do. It
// returns the one that has the work and the other one.
func (w *failoverWork) settled(ctx context.Context) (active, standby string, err error) {
	selected, err := w.observer.Selected(ctx, space)
	if err != nil {
		return "", "", err
	}
	for _, c := range w.fleet.Clusters() {
		name := c.Name()
		ready, err := w.observer.ClusterReady(ctx, space, name)
		if err != nil {
			return "", "", err
		}
		if !ready {
			return "", "", fmt.Errorf("%s is not ready", name)
		}
		list, err := w.clients[name].Resource(configMapResource).Namespace("default").List(ctx, named(payload))
		if err != nil {
			return "", "", fmt.Errorf("looking for the work on %s: %w", name, err)
		}
		isSelected := slices.Contains(selected, space+"/"+name)
		if has := len(list.Items) > 0; has != isSelected {
			return "", "", fmt.Errorf("%s: selected %t, has the work %t", name, isSelected, has)
		}
		if isSelected {
			active = name
		} else {
			standby = name
		}
	}
	if active == "" || standby == "" {
		return "", "", fmt.Errorf("%q are selected, want one", selected)
	}
	// One that is still being withdrawn keeps its cluster from being selected.
	summaries, err := w.host.Resource(summaryResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", "", fmt.Errorf("listing ClusterSummaries: %w", err)
	}
	if len(summaries.Items) != 1 {
		return "", "", fmt.Errorf("%d ClusterSummaries, want one", len(summaries.Items))
	}
	return active, standby, nil
}

func named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()}
}

// measure watches all three steps at once, so that none is seen later because
// of another.
func (w *failoverWork) measure(ctx context.Context, mode failoverMode, from, to string) (times failoverTimes, err error) {
	var began time.Time
	group, ctx := errgroup.WithContext(ctx)
	started := make(chan struct{})
	step := func(what string, client dynamic.ResourceInterface, name string, into *float64, done func(*unstructured.Unstructured) bool) error {
		events, err := watchOne(ctx, client, name)
		if err != nil {
			return fmt.Errorf("watching whether %s: %w", what, err)
		}
		group.Go(func() error {
			defer events.Stop()
			at, err := awaitEvent(ctx, events, done)
			if err != nil {
				return fmt.Errorf("waiting until %s: %w", what, err)
			}
			<-started
			*into = at.Sub(began).Seconds()
			return nil
		})
		return nil
	}
	err = errors.Join(
		step(from+" is down", w.host.Resource(clusterResource).Namespace(space), from, &times.detected, notReady),
		step(to+" is selected", w.host.Resource(setResource), space, &times.selected, selectsOnly(to)),
		step(to+" has the work", w.clients[to].Resource(configMapResource).Namespace("default"), payload, &times.deployed,
			func(*unstructured.Unstructured) bool { return true }),
	)
	if err == nil {
		err = pause(ctx, rand.N(probePeriod))
	}
	began = time.Now()
	close(started)
	if err == nil {
		err = mode.fault(ctx, w.fleet.Managed(from))
	}
	if err != nil {
		group.Go(func() error { return err }) // ends the others
	}
	return times, group.Wait()
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watchOne watches an object from now on.
func watchOne(ctx context.Context, client dynamic.ResourceInterface, name string) (watch.Interface, error) {
	list, err := client.List(ctx, named(name))
	if err != nil {
		return nil, err
	}
	options := named(name)
	options.ResourceVersion = list.GetResourceVersion()
	return client.Watch(ctx, options)
}

// awaitEvent returns when it got the first object that is as wanted.
func awaitEvent(ctx context.Context, events watch.Interface, done func(*unstructured.Unstructured) bool) (time.Time, error) {
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case event, open := <-events.ResultChan():
			if !open {
				return time.Time{}, errors.New("the watch ended")
			}
			object, ok := event.Object.(*unstructured.Unstructured)
			if event.Type == watch.Error || !ok {
				return time.Time{}, fmt.Errorf("the watch failed: %v", event.Object)
			}
			if event.Type != watch.Deleted && done(object) {
				return time.Now(), nil
			}
		}
	}
}

func notReady(cluster *unstructured.Unstructured) bool {
	// The field is left out where it is false.
	ready, _, err := unstructured.NestedBool(cluster.Object, "status", "ready")
	return err == nil && !ready
}

func selectsOnly(name string) func(*unstructured.Unstructured) bool {
	return func(set *unstructured.Unstructured) bool {
		refs, _, err := unstructured.NestedSlice(set.Object, "status", "selectedClusterRefs")
		if err != nil || len(refs) != 1 {
			return false
		}
		ref, ok := refs[0].(map[string]any)
		return ok && ref["name"] == name
	}
}
