// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-project/muster/test/fleet"
)

const (
	// driftObjects is how many objects the profile has.
	driftObjects = 100
	// driftPatience bounds one repair, and one deployment.
	driftPatience = 2 * time.Minute
	// diffPause is between two diffs: a user may ask for one in a second.
	diffPause = 1100 * time.Millisecond
)

// driftWork is a cluster with a profile of many objects.
type driftWork struct {
	fleet   *fleet.Fleet
	managed dynamic.Interface
	host    dynamic.Interface
	// muster reads past every cache of a typed client.
	muster kubernetes.Interface
}

// withDriftWork runs f on a fleet with a cluster.
func (b *bench) withDriftWork(ctx context.Context, name string, f func(context.Context, *driftWork) error) error {
	return b.withFleet(ctx, fleet.Options{Name: name, Managed: []string{"cluster1"}}, func(ctx context.Context, running *fleet.Fleet) error {
		w := &driftWork{fleet: running}
		hostConfig, err := running.Host.RESTConfig()
		if err != nil {
			return err
		}
		managedConfig, err := running.Managed("cluster1").RESTConfig()
		if err != nil {
			return err
		}
		hostConfig.QPS, managedConfig.QPS = -1, -1
		var hostErr, managedErr, musterErr error
		w.host, hostErr = dynamic.NewForConfig(hostConfig)
		w.managed, managedErr = dynamic.NewForConfig(managedConfig)
		w.muster, musterErr = kubernetes.NewForConfig(hostConfig)
		if err := errors.Join(hostErr, managedErr, musterErr); err != nil {
			return fmt.Errorf("making clients: %w", err)
		}
		if err := running.RegisterManaged(ctx, space, "cluster1", map[string]string{"bench": "drift"}); err != nil {
			return err
		}
		return f(ctx, w)
	})
}

func driftName(i int) string { return fmt.Sprintf("drift-%03d", i) }

// apply has the profile deploy objects with a value, and waits until it has them.
func (w *driftWork) apply(ctx context.Context, mode, value string) error {
	var manifest strings.Builder
	fmt.Fprintf(&manifest, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: drift, namespace: %s}\ndata:\n  content.yaml: |\n", space)
	for i := range driftObjects {
		fmt.Fprintf(&manifest, "    ---\n    {apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: default}, data: {value: %q}}\n", driftName(i), value)
	}
	fmt.Fprintf(&manifest, "---\napiVersion: config.projectsveltos.io/v1beta1\nkind: ClusterProfile\nmetadata: {name: drift}\nspec: {syncMode: %s, "+
		"clusterSelector: {matchLabels: {bench: drift}}, policyRefs: [{kind: ConfigMap, namespace: %s, name: drift}]}\n", mode, space)
	if _, err := w.fleet.Host.Kubectl().Input(ctx, manifest.String(), "apply", "--server-side", "-f", "-"); err != nil {
		return fmt.Errorf("applying the profile: %w", err)
	}
	want := map[string]string{"DryRun": "DryRun"}[mode]
	if want == "" {
		want = "Provisioned"
	}
	ctx, cancel := context.WithTimeout(ctx, driftPatience)
	defer cancel()
	return fleet.Await(ctx, func(ctx context.Context) error {
		profile, err := w.host.Resource(profileResource).Get(ctx, "drift", metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(profile.Object, "status", "conditions")
		if !slices.ContainsFunc(conditions, func(c any) bool {
			condition, _ := c.(map[string]any)
			return condition["type"] == "Ready" && condition["reason"] == want && condition["observedGeneration"] == profile.GetGeneration()
		}) {
			return fmt.Errorf("the profile is not %s: %v", want, conditions)
		}
		return nil
	})
}

// measureDrift is DRIFT: somebody changes one of the objects; when it is as it was.
func measureDrift(ctx context.Context, b *bench, report func(*Measure)) error {
	return b.withDriftWork(ctx, "drift", func(ctx context.Context, w *driftWork) error {
		if err := w.apply(ctx, "ContinuousWithDriftDetection", "1"); err != nil {
			return err
		}
		var times []float64
		for run := range b.repeat(30) {
			took, err := w.repair(ctx, driftName(run%driftObjects))
			if err != nil {
				return fmt.Errorf("run %d: %w", run+1, err)
			}
			times = append(times, milliseconds(took))
		}
		m := &Measure{Name: "DRIFT"}
		report(m.AtMost("repaired_ms", median(times), 200, 0).
			Number("repaired_max_ms", slices.Max(times), 0).Number("runs", float64(len(times)), 0))
		return nil
	})
}

// repair changes an object and waits until that is undone.
func (w *driftWork) repair(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, driftPatience)
	defer cancel()
	objects := w.managed.Resource(configMapResource).Namespace("default")
	events, err := watchOne(ctx, objects, name)
	if err != nil {
		return 0, fmt.Errorf("watching %s: %w", name, err)
	}
	defer events.Stop()
	began := time.Now()
	if _, err := objects.Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"value":"drifted"}}`), metav1.PatchOptions{FieldManager: "bench"}); err != nil {
		return 0, fmt.Errorf("changing %s: %w", name, err)
	}
	at, err := awaitEvent(ctx, events, func(o *unstructured.Unstructured) bool {
		value, _, _ := unstructured.NestedString(o.Object, "data", "value")
		return value == "1"
	})
	if err != nil {
		return 0, fmt.Errorf("waiting until %s is repaired: %w", name, err)
	}
	return at.Sub(began), nil
}

// measureDiff is DIFF: what a profile of many objects would change, where none and where
// all of them differ.
func measureDiff(ctx context.Context, b *bench, report func(*Measure)) error {
	return b.withDriftWork(ctx, "diff", func(ctx context.Context, w *driftWork) error {
		if err := w.apply(ctx, "Continuous", "1"); err != nil {
			return err
		}
		for _, what := range []struct {
			name, value string
			action      string
		}{{"same", "1", "No Action"}, {"changed", "2", "Update"}} {
			if err := w.apply(ctx, "DryRun", what.value); err != nil {
				return err
			}
			var times []float64
			for run := range b.repeat(30) {
				took, err := w.diff(ctx, what.action)
				if err != nil {
					return fmt.Errorf("%s, run %d: %w", what.name, run+1, err)
				}
				if run > 0 { // the first one makes the connection
					times = append(times, milliseconds(took))
				}
				if err := pause(ctx, diffPause); err != nil {
					return err
				}
			}
			m := &Measure{Name: "DIFF"}
			report(m.Text("objects", what.name).AtMost("p99_ms", quantile(times, 0.99), 300, 0).
				Number("p50_ms", median(times), 0).Number("runs", float64(len(times)), 0))
		}
		return nil
	})
}

// diff asks once, and checks that the answer is about all objects.
func (w *driftWork) diff(ctx context.Context, action string) (time.Duration, error) {
	began := time.Now()
	body, err := w.muster.Discovery().RESTClient().Get().
		AbsPath("/apis/config.projectsveltos.io/v1beta1/clusterprofiles/drift/diff").Param("cluster", space+"/cluster1").DoRaw(ctx)
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("asking for a diff: %w: %s", err, body)
	}
	var answer struct {
		Clusters []struct {
			FailureMessage string `json:"failureMessage"`
			Resources      []struct {
				Action string `json:"action"`
			} `json:"resources"`
		} `json:"clusters"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("reading a diff: %w", err)
	}
	n := 0
	for _, c := range answer.Clusters {
		if c.FailureMessage != "" {
			return 0, errors.New(c.FailureMessage)
		}
		for _, r := range c.Resources {
			if r.Action == action {
				n++
			}
		}
	}
	if n != driftObjects {
		return 0, fmt.Errorf("the diff has %q for %d objects, want %d: %.2000s", action, n, driftObjects, body)
	}
	return took, nil
}
