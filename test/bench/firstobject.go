// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// firstGoal is in milliseconds.
const firstGoal = 200

// measureFirstObject is the part of G4 about waiting: a profile is written, and a watch
// sees its object in the cluster.
func measureFirstObject(ctx context.Context, b *bench, report func(*Measure)) error {
	return b.withDriftWork(ctx, "g4first", func(ctx context.Context, w *driftWork) error {
		if _, err := awaitIdle(ctx, w.fleet.Muster.PID()); err != nil {
			return err
		}
		var times []float64
		for run := range b.repeat(30) {
			took, err := w.first(ctx, fmt.Sprintf("first-%d", run))
			if err != nil {
				return fmt.Errorf("run %d: %w", run+1, err)
			}
			b.logf("G4: first_object, run %d: %.0f ms", run+1, milliseconds(took))
			times = append(times, milliseconds(took))
		}
		m := &Measure{Name: "G4"}
		report(m.Text("what", "first_object").AtMost("median_ms", median(times), firstGoal, 0).
			Number("min_ms", slices.Min(times), 0).Number("max_ms", slices.Max(times), 0).Number("runs", float64(len(times)), 0))
		return nil
	})
}

// first deploys a new profile of one object, and takes it away again.
func (w *driftWork) first(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, driftPatience)
	defer cancel()
	source := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": space},
		"data": map[string]any{"object.yaml": fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: default}\ndata: {value: \"1\"}\n", name)},
	}}
	if _, err := w.host.Resource(configMapResource).Namespace(space).Create(ctx, source, metav1.CreateOptions{}); err != nil {
		return 0, fmt.Errorf("creating ConfigMap %s: %w", name, err)
	}
	// Not in step with anything that the server does periodically.
	if err := pause(ctx, time.Second+rand.N(time.Second)); err != nil {
		return 0, err
	}
	events, err := watchOne(ctx, w.managed.Resource(configMapResource).Namespace("default"), name)
	if err != nil {
		return 0, fmt.Errorf("watching ConfigMap %s: %w", name, err)
	}
	defer events.Stop()
	profile := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "config.projectsveltos.io/v1beta1", "kind": "ClusterProfile", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"clusterSelector": map[string]any{"matchLabels": map[string]any{"bench": "drift"}},
			"policyRefs":      []any{map[string]any{"kind": "ConfigMap", "namespace": space, "name": name}},
		},
	}}
	began := time.Now()
	if _, err := w.host.Resource(profileResource).Create(ctx, profile, metav1.CreateOptions{}); err != nil {
		return 0, fmt.Errorf("creating ClusterProfile %s: %w", name, err)
	}
	at, err := awaitEvent(ctx, events, func(*unstructured.Unstructured) bool { return true })
	if err != nil {
		return 0, fmt.Errorf("waiting for ConfigMap %s: %w", name, err)
	}
	_, err = w.fleet.Kubectl(ctx, "delete", "clusterprofile", name, "--wait=true")
	return at.Sub(began), err
}
