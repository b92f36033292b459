// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy/health"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/render/remote"
)

const (
	// firstLook and lastLook are the shortest and the longest pause before checks that
	// failed are made again although nothing that is watched has changed: metrics are not.
	firstLook = time.Second
	lastLook  = 30 * time.Second
	// breath is the pause between a change and the checks that it causes; it grows with
	// each time to longBreath, so that an object that changes all the time cannot keep a
	// cluster busy.
	breath     = 50 * time.Millisecond
	longBreath = 2 * time.Second
)

// RunChecks makes the profiles' checks until ctx ends.
func (r *Reconciler) RunChecks(ctx context.Context) error { return r.gates.Run(ctx) }

// ask returns what a list of checks has come to for what token names, and has it made.
func (r *Reconciler) ask(f *flow, m moment, token string, specs []libv1beta1.ValidateHealth) (judgement, bool) {
	key := gateKey{client.ObjectKeyFromObject(f.summary), m}
	summary, cluster := f.summary, f.cluster // this reconciliation's own, and not written to
	return r.gates.ask(key, token, func(ctx context.Context) {
		checks, err := health.Compile(specs, m == beforeWithdrawal || m == afterWithdrawal)
		if err != nil {
			r.told(key, token, []health.Failure{{Feature: specs[0].FeatureID, Check: specs[0].Name, Message: err.Error()}})
			return
		}
		ref := clusterref.OfSummary(summary)
		as := identityOf(summary)
		connect := func(ctx context.Context) (*fleet.Client, error) { return r.Clusters.Client(ctx, ref, as) }
		owner, err := ownerOf(summary)
		if err != nil {
			return // the profile's controller gives it one, and it is looked at anew
		}
		reader, err := r.readerOf(as)
		if err != nil {
			r.told(key, token, checks.Fail(err.Error()))
			return
		}
		b := &requestBuilder{
			host: reader, renderer: r.Renderer, fetcher: r.Fetcher, now: r.Now, namespace: cluster.Namespace, tenant: owner.Namespace,
			reads: func(sourceRef) {},
		}
		if b.data, err = templateData(cluster); err != nil {
			return
		}
		env := health.Environment{Lua: r.Scripts, Query: b.queryMetric, Job: b.jobManifest, Owner: string(summary.UID)}
		r.keepChecking(ctx, key, token, checks, env, connect)
	})
}

// keepChecking makes checks until all have passed: whenever what they look at changes, and
// now and then.
func (r *Reconciler) keepChecking(ctx context.Context, key gateKey, token string, checks *health.Checks, env health.Environment, connect func(context.Context) (*fleet.Client, error)) {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	defer func() { cancel(); <-watched }()
	changed := make(chan struct{}, 1)
	go func() {
		defer close(watched)
		checks.Watch(ctx, connect, func() {
			select {
			case changed <- struct{}{}:
			default: // it is known already
			}
		})
	}()
	look, rest := firstLook, breath
	for {
		failures := r.makeChecks(ctx, checks, env, connect)
		if ctx.Err() != nil {
			return
		}
		r.told(key, token, failures)
		if len(failures) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(look):
			look = min(2*look, lastLook)
			continue
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
			rest = min(rest+breath, longBreath)
		}
	}
}

// makeChecks makes all checks once.
func (r *Reconciler) makeChecks(ctx context.Context, checks *health.Checks, env health.Environment, connect func(context.Context) (*fleet.Client, error)) []health.Failure {
	connection, err := connect(ctx)
	if err == nil {
		// A Job may be made: no former leader makes one as well.
		err = connection.Fence(ctx)
	}
	if err != nil {
		return checks.Fail("the cluster cannot be reached")
	}
	env.Client = connection
	return checks.Run(ctx, env)
}

// told notes what checks have come to, and wakes whoever waits for it.
func (r *Reconciler) told(key gateKey, token string, failures []health.Failure) {
	news, better := r.gates.report(key, token, failures, r.Now())
	if !news {
		return
	}
	if key.moment == beforeDeployment && better {
		// A pass that they kept something back from is due again.
		r.memory.retry(key.summary)
	}
	r.Trigger.Trigger(reconcile.Request{NamespacedName: key.summary})
}

// retry makes a summary due whose last job failed.
func (m *memory) retry(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.summaries[name]; known != nil && known.outcome != nil && known.outcome.failed() {
		known.dirty = true
	}
}

// validated notes that what the last job left has passed its checks.
func (m *memory) validated(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.summaries[name]; known != nil && known.outcome != nil {
		passed := *known.outcome // others hold the old one
		passed.validated = true
		known.outcome = &passed
	}
}

// queryMetric asks a metric source for one number.
func (b *requestBuilder) queryMetric(ctx context.Context, source *libv1beta1.MetricSource, query string) (float64, error) {
	target, err := health.MetricURL(source, query)
	if err != nil {
		return 0, err
	}
	from := remote.Source{URL: target}
	if source.SecretRef != nil {
		if from.Credentials, err = b.credentials(ctx, *source.SecretRef); err != nil {
			return 0, fmt.Errorf("metricSource.secretRef: %w", err)
		}
	}
	answer, err := b.fetcher.Query(ctx, from, health.MaxMetricAnswer)
	if err != nil {
		return 0, err
	}
	return health.ParseMetric(answer)
}

var errNotOneJob = errors.New("it has to hold the manifest of one Job, and nothing else")

// jobManifest reads the manifest of a check's Job.
func (b *requestBuilder) jobManifest(ctx context.Context, ref libv1beta1.JobReference) (*unstructured.Unstructured, error) {
	source, err := b.fetch(ctx, reference{path: "jobCheck.jobRef", kind: ref.Kind, namespace: ref.Namespace, name: ref.Name})
	if err != nil {
		return nil, err
	}
	objects, err := b.renderer.Objects(ctx, *source, b.data)
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("%s %s/%s: %w", source.Kind, source.Namespace, source.Name, errNotOneJob)
	}
	return objects[0].DeepCopy(), nil
}
