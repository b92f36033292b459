// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/test/fleet"
)

const (
	// slowClusters is how many clusters the profile matches; the last one hangs.
	slowClusters = 50
	// slowRounds is how often all of them are deployed to in each half of a pair.
	slowRounds = 30
	// slowPatience bounds one round.
	slowPatience = 2 * time.Minute
	// slowPoll is how often the clusters are asked what they have: it is the same in
	// both halves, and a moment that they note themselves is what counts.
	slowPoll = 20 * time.Millisecond

	medianShiftGoal = 10 // percent
	tailShiftGoal   = 25
)

// slowWork is a profile on many clusters.
type slowWork struct {
	host dynamic.Interface
	fake *reader
	hung string
	// round numbers what is deployed.
	round int
}

// measureSlowCluster is the part of G4 about clusters that hang: how much later the others
// get what is deployed to all.
func measureSlowCluster(ctx context.Context, b *bench, report func(*Measure)) error {
	return b.withFleet(ctx, fleet.Options{Name: "g4slow"}, func(ctx context.Context, f *fleet.Fleet) (err error) {
		fake, err := startFakeClusters(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, fake.stop()) }()
		w, err := newSlowWork(ctx, f, fake)
		if err != nil {
			return err
		}
		var medians, tails, normalMedians, normalTails []float64
		for pair := range b.repeat(5) {
			normal, hanging, err := w.pair(ctx, pair%2 == 1)
			if err != nil {
				return fmt.Errorf("pair %d: %w", pair+1, err)
			}
			b.logf("G4: slow_cluster, pair %d: median %.0f and %.0f ms, 99th percentile %.0f and %.0f ms", pair+1,
				median(normal), median(hanging), quantile(normal, 0.99), quantile(hanging, 0.99))
			medians = append(medians, 100*(median(hanging)/median(normal)-1))
			tails = append(tails, 100*(quantile(hanging, 0.99)/quantile(normal, 0.99)-1))
			normalMedians, normalTails = append(normalMedians, median(normal)), append(normalTails, quantile(normal, 0.99))
		}
		m := &Measure{Name: "G4"}
		report(m.Text("what", "slow_cluster").
			AtMost("median_shift_pct", median(medians), medianShiftGoal, 1).AtMost("p99_shift_pct", median(tails), tailShiftGoal, 1).
			Number("median_ms", median(normalMedians), 0).Number("p99_ms", median(normalTails), 0).
			Number("clusters", slowClusters, 0).Number("pairs", float64(len(medians)), 0))
		return nil
	})
}

func newSlowWork(ctx context.Context, f *fleet.Fleet, fake *fakeClusters) (*slowWork, error) {
	if err := registerFakes(ctx, f, fake, slowClusters); err != nil {
		return nil, err
	}
	config, err := f.Host.RESTConfig()
	if err != nil {
		return nil, err
	}
	w := &slowWork{hung: clusterName(slowClusters - 1)}
	if w.host, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("making a client of the host: %w", err)
	}
	if w.fake, err = newBareReader(fake.endpoint); err != nil {
		return nil, err
	}
	manifest := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: slow, namespace: %[1]s}\ndata: {object.yaml: %[2]q}\n---\n"+
		"apiVersion: config.projectsveltos.io/v1beta1\nkind: ClusterProfile\nmetadata: {name: slow}\n"+
		"spec: {clusterSelector: {matchLabels: {env: prod}}, policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: slow}]}\n", space, slowObject(0))
	if _, err := f.Host.Kubectl().Input(ctx, manifest, "apply", "--server-side", "-f", "-"); err != nil {
		return nil, fmt.Errorf("applying the profile: %w", err)
	}
	_, err = w.await(ctx, slowValue(0), slowClusters)
	return w, err
}

func slowValue(round int) string { return fmt.Sprintf("round-%d", round) }

func slowObject(round int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: slow, namespace: default}\ndata: {value: %s}\n", slowValue(round))
}

// pair measures both halves, the one with the cluster that hangs first or last.
func (w *slowWork) pair(ctx context.Context, hangingFirst bool) (normal, hanging []float64, err error) {
	for _, hangs := range []bool{hangingFirst, !hangingFirst} {
		into := &normal
		if hangs {
			into = &hanging
		}
		if *into, err = w.half(ctx, hangs); err != nil {
			return nil, nil, err
		}
	}
	return normal, hanging, nil
}

// half returns how long, in milliseconds, each deployment took to each of the clusters
// that do not hang.
func (w *slowWork) half(ctx context.Context, hangs bool) (times []float64, err error) {
	if err := w.hang(ctx, hangs); err != nil {
		return nil, err
	}
	if hangs {
		// What was deployed before it hung is answered, and what comes next is not.
		defer func() { err = errors.Join(err, w.recover(ctx)) }()
	}
	for range slowRounds {
		if err := pause(ctx, 100*time.Millisecond+rand.N(200*time.Millisecond)); err != nil {
			return nil, err
		}
		began, err := w.deploy(ctx)
		if err != nil {
			return nil, err
		}
		arrived, err := w.await(ctx, slowValue(w.round), slowClusters-1)
		if err != nil {
			return nil, err
		}
		for _, at := range arrived {
			times = append(times, milliseconds(time.Unix(0, at).Sub(began)))
		}
	}
	return times, nil
}

// recover lets the cluster answer again, and waits until it has what the others have.
func (w *slowWork) recover(ctx context.Context) error {
	if err := w.hang(ctx, false); err != nil {
		return err
	}
	if _, err := w.deploy(ctx); err != nil {
		return err
	}
	_, err := w.await(ctx, slowValue(w.round), slowClusters)
	return err
}

func (w *slowWork) hang(ctx context.Context, on bool) error {
	_, err := w.fake.get(ctx, fmt.Sprintf("%s?cluster=%s&on=%t", fakeHang, w.hung, on))
	return err
}

// deploy changes what all clusters are to have, and returns when it began to.
func (w *slowWork) deploy(ctx context.Context) (time.Time, error) {
	w.round++
	patch, err := json.Marshal(map[string]any{"data": map[string]any{"object.yaml": slowObject(w.round)}})
	if err != nil {
		return time.Time{}, fmt.Errorf("encoding a patch: %w", err)
	}
	began := time.Now()
	_, err = w.host.Resource(configMapResource).Namespace(space).Patch(ctx, "slow", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return began, fmt.Errorf("changing the source: %w", err)
	}
	return began, nil
}

// await waits until so many clusters have a value, and says when they got it. The one that
// may hang does not count unless all are meant.
func (w *slowWork) await(ctx context.Context, value string, clusters int) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, slowPatience)
	defer cancel()
	for {
		arrived, err := w.arrived(ctx, value)
		if err != nil {
			return nil, err
		}
		if clusters < slowClusters {
			delete(arrived, w.hung)
		}
		if len(arrived) >= clusters {
			return arrived, nil
		}
		if err := pause(ctx, slowPoll); err != nil {
			return nil, fmt.Errorf("%d of %d clusters have %s: %w", len(arrived), clusters, value, err)
		}
	}
}

func (w *slowWork) arrived(ctx context.Context, value string) (map[string]int64, error) {
	body, err := w.fake.get(ctx, fakeArrived+"?value="+url.QueryEscape(value))
	if err != nil {
		return nil, err
	}
	var arrived map[string]int64
	if err := json.Unmarshal(body, &arrived); err != nil {
		return nil, fmt.Errorf("reading when %s arrived: %w", value, err)
	}
	return arrived, nil
}
