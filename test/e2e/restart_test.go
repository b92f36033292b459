// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// slowness is the delay of each piece of data, in each direction, on the way to
// a cluster while Muster is to be caught in the middle of something there.
const slowness = 50 * time.Millisecond

// moment is a point in a fail-over, as it can be seen from outside.
type moment struct {
	name string
	// reached fails until the moment has come. from is the cluster that died.
	reached func(f *rotation, from string) func(context.Context) error
}

// momentsOfFailover are those from the fault to the end of the deployment.
func momentsOfFailover() []moment {
	return []moment{
		{name: "the cluster died", reached: func(*rotation, string) func(context.Context) error {
			return func(context.Context) error { return nil }
		}},
		{name: "a probe has failed", reached: func(f *rotation, from string) func(context.Context) error {
			return func(ctx context.Context) error {
				cluster, err := f.muster.LibV1beta1().SveltosClusters(f.name).Get(ctx, from, metav1.GetOptions{})
				if err == nil && cluster.Status.ConnectionFailures == 0 {
					err = errors.New("none has")
				}
				return err
			}
		}},
		{name: "the cluster is not ready", reached: func(f *rotation, from string) func(context.Context) error {
			return func(ctx context.Context) error {
				ready, err := f.observer.ClusterReady(ctx, f.name, from)
				if err == nil && ready {
					err = errors.New("it is ready")
				}
				return err
			}
		}},
		{name: "another one is selected", reached: func(f *rotation, from string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := f.successor(ctx, from)
				return err
			}
		}},
		{name: "the profile has followed", reached: func(f *rotation, from string) func(context.Context) error {
			return func(ctx context.Context) error {
				to, err := f.successor(ctx, from)
				if err != nil {
					return err
				}
				summary, err := f.summary(ctx, f.name, to)
				if err == nil && summary == nil {
					err = errors.New("there is no summary")
				}
				return err
			}
		}},
		{name: "it is deployed", reached: func(f *rotation, from string) func(context.Context) error {
			return func(ctx context.Context) error {
				to, err := f.successor(ctx, from)
				if err != nil {
					return err
				}
				return f.hasContent(to, true, f.name)(ctx)
			}
		}},
	}
}

// momentsOfReturn are those from the end of the fault to the end of the
// withdrawal.
func momentsOfReturn() []moment {
	return []moment{
		{name: "the cluster came back", reached: func(*rotation, string) func(context.Context) error {
			return func(context.Context) error { return nil }
		}},
		{name: "it is ready again", reached: func(f *rotation, from string) func(context.Context) error {
			return func(ctx context.Context) error {
				ready, err := f.observer.ClusterReady(ctx, f.name, from)
				if err == nil && !ready {
					err = errors.New("it is not")
				}
				return err
			}
		}},
		{name: "its content is withdrawn", reached: func(f *rotation, from string) func(context.Context) error {
			return f.hasContent(from, false, f.name)
		}},
	}
}

// rotation is three clusters and a set that keeps one active. It fails over
// from one to the next, so that no fail-over has to wait for a return.
type rotation struct{ *scope }

// successor is the selected cluster, if it is not from.
func (f *rotation) successor(ctx context.Context, from string) (string, error) {
	for _, to := range clusterNames() {
		if to != from && f.observer.OnlySelected(ctx, f.name, f.name+"/"+to) == nil {
			return to, nil
		}
	}
	return "", fmt.Errorf("nothing but %s is selected", from)
}

// Whenever in a fail-over Muster dies, it ends the fail-over when it is back:
// one cluster selected, the content there, and nothing left where it was.
func TestMusterKilledDuringFailover(t *testing.T) {
	f := &rotation{newScope(t).breaks()}
	for _, cluster := range clusterNames() {
		f.register(cluster, f.labels())
	}
	f.applySet()
	f.applySource("content", f.name)
	f.applyProfile(f.name, "content", "setRefs: ["+f.name+"]")
	f.awaitContent(f.awaitOneSelected(f.name), true, f.name)
	returns := momentsOfReturn()
	for _, dies := range momentsOfFailover() {
		// A round has a return only as long as there are moments of one left.
		var returned *moment
		name := dies.name
		if len(returns) > 0 {
			returned, returns = &returns[0], returns[1:]
			name += ", and " + returned.name
		}
		t.Run(name, func(t *testing.T) {
			round := &rotation{&scope{T: t, environment: f.environment, name: f.name, began: time.Now()}}
			t.Cleanup(func() {
				if t.Failed() {
					round.report()
				}
			})
			round.failOver(dies, returned)
		})
		if t.Failed() {
			return // the rounds build on each other
		}
	}
	if len(returns) > 0 {
		t.Errorf("nothing was killed when %s", returns[0].name)
	}
}

// failOver makes the active cluster fail and kills Muster at one moment of what
// follows, and, if there is one, at another of the return.
func (f *rotation) failOver(dies moment, returned *moment) {
	from := f.awaitOneSelected(f.name)
	f.eventually("a cluster stands by", failoverSoon, func(ctx context.Context) error {
		for _, cluster := range clusterNames() {
			if f.hasReason(f.name, cluster, libv1beta1.SelectionStandby)(ctx) == nil {
				return nil
			}
		}
		return errors.New("none does")
	})
	for _, cluster := range clusterNames() {
		f.fleet.Managed(cluster).Proxy.Delay(slowness)
	}
	f.proxy(from, fleet.Refuse)
	f.killMusterWhen(dies, from)
	var to string
	f.eventually("another cluster is selected", failoverSoon, func(ctx context.Context) (err error) {
		to, err = f.successor(ctx, from)
		return err
	})
	f.awaitContent(to, true, f.name)
	if err := f.hasContent(from, true, f.name)(f.Context()); err != nil {
		f.Errorf("nobody can have withdrawn anything: %v", err)
	}
	f.proxy(from, fleet.Forward)
	if returned != nil {
		f.killMusterWhen(*returned, from)
		f.awaitReturn(f.name, from, f.name)
	}
	for _, cluster := range clusterNames() {
		f.fleet.Managed(cluster).Proxy.Delay(0)
	}
	f.awaitSelected(f.name, to) // and nothing else, whatever came back
}

// killMusterWhen kills Muster at that moment and starts it again.
func (f *rotation) killMusterWhen(m moment, from string) {
	f.Helper()
	f.eventually(m.name, failoverSoon, m.reached(f, from))
	f.restartMuster()
}

// restartMuster kills Muster and starts it again on its data.
func (s *scope) restartMuster() {
	s.Helper()
	if err := s.fleet.Muster.Kill(); err != nil {
		s.Fatal(err)
	}
	if err := s.fleet.Muster.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
}

// Helm leaves a release pending when its process dies. Muster's next term does
// what was begun all the same, in either direction.
func TestMusterKilledWhileHelmWorks(t *testing.T) {
	s := newScope(t).breaks()
	s.register("cluster1", s.labels())
	cluster := s.fleet.Managed("cluster1")
	s.later(func(ctx context.Context) error {
		_, err := cluster.Kubectl().Run(ctx, "delete", "namespace", s.name, "--ignore-not-found", "--wait=false")
		return err
	})
	cluster.Proxy.Delay(slowness)
	s.apply(fmt.Sprintf(`
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %[1]s}
spec:
  clusterSelector: {matchLabels: {scope: %[1]s}}
  helmCharts:
  - {chartName: kyverno/kyverno, chartVersion: v3.3.3, helmChartAction: Install, releaseName: chart, releaseNamespace: %[1]s, repositoryName: kyverno, repositoryURL: "https://kyverno.github.io/kyverno/"}
`, s.name))
	s.awaitRelease("cluster1", s.name, "pending-install")
	s.restartMuster()
	s.awaitRelease("cluster1", s.name, "deployed")
	s.awaitProfile(s.name, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned)

	s.kubectl("delete", "clusterprofile", s.name, "--wait=false")
	s.awaitRelease("cluster1", s.name, "uninstalling")
	s.restartMuster()
	cluster.Proxy.Delay(0)
	s.awaitRelease("cluster1", s.name, "")
	s.awaitNoSummary(s.name, "cluster1")
	// Hooks are not asked for: Helm leaves them.
	result, err := cluster.Kubectl().Run(s.Context(), "get", "deployments,services,serviceaccounts,clusterroles,clusterpolicies.kyverno.io",
		"--namespace="+s.name, "--selector=app.kubernetes.io/instance=chart", "-o", "name")
	if err != nil || result.Stdout != "" {
		t.Errorf("of the release is left: %s%v", result.Stdout, err)
	}
}

// awaitRelease waits until the one release in a namespace of a managed cluster
// has this status in Helm's storage; there is none if it is empty.
func (s *scope) awaitRelease(cluster, namespace, status string) {
	s.Helper()
	s.eventually(fmt.Sprintf("the release is %q", status), deploySoon, func(ctx context.Context) error {
		secrets, err := s.managed[cluster].CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
		if err != nil {
			return err
		}
		var statuses []string
		for _, secret := range secrets.Items {
			if secret.Labels["status"] == status {
				return nil
			}
			statuses = append(statuses, secret.Labels["status"])
		}
		if status == "" && len(statuses) == 0 {
			return nil
		}
		return fmt.Errorf("it is %q", statuses)
	})
}
