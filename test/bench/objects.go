// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const (
	// objectSources are the ConfigMaps that the profile refers to, and objectsEach what
	// each of them holds.
	objectSources = 4
	objectsEach   = 500
	objectCount   = objectSources * objectsEach

	// Goals, per second of the server's CPU time.
	createGoal = 500
	noopGoal   = 800
	verifyGoal = 20_000

	// objectPatience bounds each deployment, and its end.
	objectPatience = 5 * time.Minute
	// objectSettling is for what a server writes after a pass.
	objectSettling = time.Second
	// touchPeriod is how often a source is touched, which makes another pass due.
	touchPeriod = 100 * time.Millisecond
)

// objectSummary is the ClusterSummary of profile "objects" on the cluster.
const objectSummary = "objects-sveltos-cluster1"

// objectWork is a cluster, and a profile with many objects.
type objectWork struct {
	*driftWork
	bench *bench
	// server reads the server's metrics.
	server *reader
	// touches counts what makes passes due.
	touches int
}

// measureObjects is the part of G4 with objects: how many a second of the server's CPU
// time creates, applies although nothing has changed, and finds unchanged without asking
// the cluster.
func measureObjects(ctx context.Context, b *bench, report func(*Measure)) error {
	return b.withDriftWork(ctx, "g4objects", func(ctx context.Context, w *driftWork) error {
		o, err := newObjectWork(ctx, b, w)
		if err != nil {
			return err
		}
		steps := []struct {
			what string
			goal float64
			do   func(context.Context) (float64, error)
		}{{"create", createGoal, o.create}, {"noop", noopGoal, o.reapply}, {"verify", verifyGoal, o.verify}}
		rates := map[string][]float64{}
		for run := range b.repeat(3) {
			for _, step := range steps {
				rate, err := step.do(ctx)
				if err != nil {
					return fmt.Errorf("%s, run %d: %w", step.what, run+1, err)
				}
				b.logf("G4: %s, run %d: %.0f objects per CPU-second", step.what, run+1, rate)
				rates[step.what] = append(rates[step.what], rate)
			}
			if err := o.remove(ctx); err != nil {
				return err
			}
		}
		for _, step := range steps {
			all := rates[step.what]
			m := &Measure{Name: "G4"}
			report(m.Text("what", step.what).AtLeast("per_cpu_s", median(all), step.goal, 0).
				Number("min_per_cpu_s", slices.Min(all), 0).Number("max_per_cpu_s", slices.Max(all), 0).
				Number("objects", objectCount, 0).Number("runs", float64(len(all)), 0))
		}
		return nil
	})
}

func newObjectWork(ctx context.Context, b *bench, w *driftWork) (*objectWork, error) {
	admin, err := w.fleet.Host.RESTConfig()
	if err != nil {
		return nil, err
	}
	config, err := directConfig(ctx, w.fleet, admin)
	if err != nil {
		return nil, err
	}
	server, err := newReader(config)
	if err != nil {
		return nil, err
	}
	for i := range objectSources {
		var content strings.Builder
		for n := range objectsEach {
			fmt.Fprintf(&content, "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: object-%d-%03d\n  namespace: default\n  labels: {app: bench}\ndata:\n  value: \"1\"\n  settings: |\n    level=info\n    replicas=3\n", i, n)
		}
		source := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": sourceOfObjects(i), "namespace": space},
			"data":     map[string]any{"objects.yaml": content.String()},
		}}
		if _, err := w.host.Resource(configMapResource).Namespace(space).Create(ctx, source, metav1.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("creating ConfigMap %s: %w", source.GetName(), err)
		}
	}
	return &objectWork{driftWork: w, bench: b, server: server}, nil
}

func sourceOfObjects(i int) string { return fmt.Sprintf("objects-%d", i) }

// create has all objects created.
func (o *objectWork) create(ctx context.Context) (float64, error) {
	var refs []any
	for i := range objectSources {
		refs = append(refs, map[string]any{"kind": "ConfigMap", "namespace": space, "name": sourceOfObjects(i)})
	}
	profile := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "config.projectsveltos.io/v1beta1", "kind": "ClusterProfile", "metadata": map[string]any{"name": "objects"},
		"spec": map[string]any{"clusterSelector": map[string]any{"matchLabels": map[string]any{"bench": "drift"}}, "policyRefs": refs},
	}}
	return o.each(ctx, "create", "applied", func(ctx context.Context) error {
		return o.deployed(ctx, func() error {
			_, err := o.host.Resource(profileResource).Create(ctx, profile, metav1.CreateOptions{})
			return err
		})
	})
}

// reapply has all objects applied once more, as they are.
func (o *objectWork) reapply(ctx context.Context) (float64, error) {
	return o.each(ctx, "noop", "applied", func(ctx context.Context) error {
		return o.deployed(ctx, func() error {
			o.touches++
			patch := fmt.Sprintf(`{"metadata":{"annotations":{"projectsveltos.io/retrigger":"%d"}}}`, o.touches)
			_, err := o.host.Resource(profileResource).Patch(ctx, "objects", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			return err
		})
	})
}

// verify touches sources, whose contents stay what they are, and makes sure that the
// cluster was not asked.
func (o *objectWork) verify(ctx context.Context) (float64, error) {
	began := time.Now()
	rate, err := o.each(ctx, "verify", "unchanged", func(ctx context.Context) error {
		for end := time.Now().Add(o.bench.window / 2); time.Now().Before(end); {
			o.touches++
			patch := fmt.Sprintf(`{"metadata":{"annotations":{"bench":"%d"}}}`, o.touches)
			sources := o.host.Resource(configMapResource).Namespace(space)
			if _, err := sources.Patch(ctx, sourceOfObjects(o.touches%objectSources), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				return fmt.Errorf("touching a source: %w", err)
			}
			if err := pause(ctx, touchPeriod); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	asked, err := o.fleet.Managed("cluster1").AuditEvents(func(event *auditv1.Event) bool {
		return event.ObjectRef != nil && event.ObjectRef.Resource == "configmaps" &&
			strings.HasPrefix(event.UserAgent, "muster/") && event.RequestReceivedTimestamp.After(began.Add(objectSettling))
	})
	if err == nil && len(asked) > 0 {
		err = fmt.Errorf("the cluster was asked %d times for what has not changed, first %s %s", len(asked), asked[0].Verb, asked[0].RequestURI)
	}
	return rate, err
}

// remove takes everything away again.
func (o *objectWork) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, objectPatience)
	defer cancel()
	if _, err := o.fleet.Kubectl(ctx, "delete", "clusterprofile", "objects", "--wait=true"); err != nil {
		return fmt.Errorf("removing the profile: %w", err)
	}
	return nil
}

// deployed calls trigger, and returns when everything was applied after that.
func (o *objectWork) deployed(ctx context.Context, trigger func() error) error {
	ctx, cancel := context.WithTimeout(ctx, objectPatience)
	defer cancel()
	summaries := o.host.Resource(summaryResource).Namespace(space)
	before := ""
	if found, err := summaries.Get(ctx, objectSummary, metav1.GetOptions{}); err == nil {
		_, before = deployment(found)
	}
	events, err := watchOne(ctx, summaries, objectSummary)
	if err != nil {
		return fmt.Errorf("watching ClusterSummary %s: %w", objectSummary, err)
	}
	defer events.Stop()
	if err := trigger(); err != nil {
		return err
	}
	_, err = awaitEvent(ctx, events, func(summary *unstructured.Unstructured) bool {
		status, applied := deployment(summary)
		return status == "Provisioned" && applied != before
	})
	if err != nil {
		return fmt.Errorf("waiting until everything is applied: %w", err)
	}
	return nil
}

// deployment is the state of a summary's only list, and when something of it was applied.
func deployment(summary *unstructured.Unstructured) (status, applied string) {
	features, _, _ := unstructured.NestedSlice(summary.Object, "status", "featureSummaries")
	if len(features) == 0 {
		return "", ""
	}
	feature, _ := features[0].(map[string]any)
	status, _ = feature["status"].(string)
	applied, _ = feature["lastAppliedTime"].(string)
	return status, applied
}

// each does something, and returns how many objects had an outcome for each second of the
// server's CPU time. All that the server does meanwhile is in it, its etcd included.
func (o *objectWork) each(ctx context.Context, what, outcome string, do func(context.Context) error) (float64, error) {
	pid := o.fleet.Muster.PID()
	if _, err := awaitIdle(ctx, pid); err != nil {
		return 0, err
	}
	counted, err := o.count(ctx, outcome)
	if err != nil {
		return 0, err
	}
	used, err := cpuSeconds(pid)
	if err != nil {
		return 0, err
	}
	profiled := o.bench.profiling(ctx, o.fleet, "g4-"+what, o.bench.window/2)
	err = errors.Join(do(ctx), pause(ctx, objectSettling))
	now, cpuErr := cpuSeconds(pid)
	if err := errors.Join(err, cpuErr, profiled()); err != nil {
		return 0, err
	}
	after, err := o.count(ctx, outcome)
	if err != nil {
		return 0, err
	}
	if after-counted < objectCount {
		return 0, fmt.Errorf("%.0f objects were %s, want %d at least", after-counted, outcome, objectCount)
	}
	return (after - counted) / (now - used), nil
}

// count reads how many objects have had an outcome since the server began.
func (o *objectWork) count(ctx context.Context, outcome string) (float64, error) {
	metrics, err := o.server.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	prefix := fmt.Sprintf("muster_deploy_objects_total{outcome=%q} ", outcome)
	for line := range strings.Lines(string(metrics)) {
		if text, found := strings.CutPrefix(line, prefix); found {
			return strconv.ParseFloat(strings.TrimSpace(text), 64)
		}
	}
	return 0, nil // nothing was counted yet
}
