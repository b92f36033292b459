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

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// failoverPair is two clusters, a ClusterSet that keeps one active, and a
// ClusterProfile with content for it, all named for the scope.
type failoverPair struct {
	*scope
	active, standby string
}

func newFailoverPair(t *testing.T) *failoverPair {
	t.Helper()
	s := newScope(t).breaks()
	for _, cluster := range []string{"cluster1", "cluster2"} {
		s.register(cluster, s.labels())
	}
	s.applySet()
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", "setRefs: ["+s.name+"]")
	p := &failoverPair{scope: s, active: s.awaitOneSelected(s.name)}
	p.standby = map[string]string{"cluster1": "cluster2", "cluster2": "cluster1"}[p.active]
	s.awaitContent(p.active, true, s.name)
	s.awaitProfile(s.name, "Ready", metav1.ConditionTrue, "")
	return p
}

// proxy changes how the way to a cluster behaves.
func (s *scope) proxy(cluster string, mode fleet.Mode) {
	s.Helper()
	if err := s.fleet.Managed(cluster).Proxy.Set(s.Context(), mode); err != nil {
		s.Fatal(err)
	}
}

// awaitReturn waits until a cluster that came back is a candidate again, and
// sees to it that it is none while it still has its content.
func (s *scope) awaitReturn(set, cluster, content string) {
	s.Helper()
	s.eventually(cluster+" is a candidate again", failoverSoon, func(ctx context.Context) error {
		candidate, err := s.candidate(ctx, set, cluster)
		if err != nil {
			return err
		}
		if candidate.Reason == libv1beta1.SelectionReturning {
			return fmt.Errorf("it is %s and Returning", candidate.State)
		}
		found, err := s.content(ctx, cluster, content)
		if err != nil {
			return err
		}
		if candidate.Reason != libv1beta1.SelectionStandby || found != nil {
			s.Fatalf("after its return %s is %s and %s, has its content: %t", cluster, candidate.State, candidate.Reason, found != nil)
		}
		return nil
	})
}

// A cluster that swallows everything is as dead as one that refuses.
func TestFailoverBlackHole(t *testing.T) {
	p := newFailoverPair(t)
	p.proxy(p.active, fleet.BlackHole)
	p.awaitSelected(p.name, p.standby)
	p.awaitContent(p.standby, true, p.name)
	if err := p.hasContent(p.active, true, p.name)(p.Context()); err != nil {
		t.Errorf("nobody can have withdrawn anything: %v", err)
	}
	p.proxy(p.active, fleet.Forward)
	p.awaitReturn(p.name, p.active, p.name)
	p.awaitSelected(p.name, p.standby)
	p.awaitNoSummary(p.name, p.active)
}

// When no healthy cluster can take over, everything stays where it is.
func TestBothClustersDown(t *testing.T) {
	p := newFailoverPair(t)
	// The standby first: the active one must not have anywhere to go.
	p.proxy(p.standby, fleet.Refuse)
	p.awaitReady(p.standby, false)
	p.proxy(p.active, fleet.Refuse)
	p.awaitReady(p.active, false)
	p.awaitReason(p.name, p.active, libv1beta1.SelectionHeld)
	p.always("everything stays", 5*time.Second, func(ctx context.Context) error {
		set, err := p.muster.LibV1beta1().ClusterSets().Get(ctx, p.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		summary, err := p.summary(ctx, p.name, p.active)
		if err != nil {
			return err
		}
		if summary == nil || summary.Spec.Withdraw || summary.DeletionTimestamp != nil {
			return fmt.Errorf("the summary of the Held cluster is %s", asJSON(summary))
		}
		if len(set.Status.MatchingClusterRefs) != 0 {
			return fmt.Errorf("clusters match that are not ready: %s", asJSON(set.Status))
		}
		return errors.Join(
			condition(set.Status.Conditions, "Ready", metav1.ConditionFalse, libv1beta1.ReasonHoldingUnready),
			p.observer.OnlySelected(ctx, p.name, p.name+"/"+p.active),
			p.hasContent(p.active, true, p.name)(ctx),
			p.hasContent(p.standby, false, p.name)(ctx),
		)
	})
	// A healthy cluster replaces the Held one, though that was first.
	p.proxy(p.standby, fleet.Forward)
	p.awaitSelected(p.name, p.standby)
	p.awaitContent(p.standby, true, p.name)
	p.proxy(p.active, fleet.Forward)
	p.awaitReturn(p.name, p.active, p.name)
}

// What carries the name of a dead cluster but is another one is nobody's to
// clean up, neither by a withdrawal that was waiting nor by pruning.
func TestAnotherClusterBehindTheSameName(t *testing.T) {
	p := newFailoverPair(t)
	dead := p.active
	// A second profile stays on the cluster, whichever it is, and will have one
	// thing less to deploy.
	p.kubectl("label", "sveltoscluster", dead, "--namespace="+p.name, "pruned="+p.name)
	kept, dropped, once := p.name+"-kept", p.name+"-dropped", p.name+"-once"
	p.applySource("more", kept, dropped)
	p.applyProfile(kept, "more", "clusterSelector: {matchLabels: {pruned: "+p.name+"}}")
	// A third deploys once, which is once to each of the two.
	p.applySource("once", once)
	p.applyProfile(once, "once", "clusterSelector: {matchLabels: {pruned: "+p.name+"}}\n  syncMode: OneTime")
	p.awaitContent(dead, true, kept, dropped, once)
	p.awaitProfile(once, "Ready", metav1.ConditionTrue, "")

	if err := p.fleet.Managed(dead).Kill(p.Context()); err != nil {
		t.Fatal(err)
	}
	p.awaitSelected(p.name, p.standby)
	p.applySource("more", kept)
	p.awaitReason(p.name, dead, libv1beta1.SelectionReturning)
	if err := p.fleet.Managed(dead).Replace(p.Context()); err != nil {
		t.Fatal(err)
	}
	// It counts as ready after 10 s at the earliest. Somebody works there.
	theirs := map[string]string{}
	for _, name := range []string{p.name, dropped} {
		theirs[name] = p.createTheirs(dead, name)
	}
	p.awaitReady(dead, true)
	p.eventually("the change of identity is reported", soon, func(ctx context.Context) error {
		cluster, err := p.muster.LibV1beta1().SveltosClusters(p.name).Get(ctx, dead, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return condition(cluster.Status.Conditions, libv1beta1.ConditionIdentityChanged, metav1.ConditionTrue, libv1beta1.ReasonOtherCluster)
	})
	p.awaitReason(p.name, dead, libv1beta1.SelectionStandby)
	p.awaitContent(dead, true, kept, once)
	p.awaitProfile(kept, "Ready", metav1.ConditionTrue, "")
	p.awaitProfile(once, "Ready", metav1.ConditionTrue, "")
	for name, uid := range theirs {
		found, err := p.content(p.Context(), dead, name)
		if err != nil || found == nil || string(found.UID) != uid || found.Data["by"] != "somebody" {
			t.Errorf("%s, which is somebody else's, is now %s, %v", name, asJSON(found), err)
		}
	}
	p.awaitSelected(p.name, p.standby)
}

// createTheirs makes content that is not Muster's, past the proxy, and returns
// its UID.
func (s *scope) createTheirs(cluster, name string) string {
	s.Helper()
	kubectl := s.fleet.Managed(cluster).Kubectl()
	s.later(func(ctx context.Context) error {
		_, err := kubectl.Run(ctx, "delete", "configmap", name, "--namespace="+contentNamespace, "--ignore-not-found")
		return err
	})
	result, err := kubectl.Run(s.Context(), "create", "configmap", name, "--namespace="+contentNamespace,
		"--from-literal=by=somebody", "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		s.Fatal(err)
	}
	return result.Stdout
}
