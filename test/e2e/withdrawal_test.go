// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// settle is how long something that must not happen is waited for: several
// times what it takes to happen.
const settle = 5 * time.Second

// staysUntouched is a check that a managed cluster has this very object, not one
// that was made again.
func (s *scope) staysUntouched(cluster, name string) func(context.Context) error {
	s.Helper()
	before, err := s.content(s.Context(), cluster, name)
	if err != nil || before == nil {
		s.Fatalf("reading %s in %s: %v, %v", name, cluster, before, err)
	}
	return func(ctx context.Context) error {
		now, err := s.content(ctx, cluster, name)
		if err != nil {
			return err
		}
		if now == nil || now.UID != before.UID || now.DeletionTimestamp != nil {
			return fmt.Errorf("%s was %s and is %s", name, asJSON(before), asJSON(now))
		}
		return nil
	}
}

// A summary is Muster's note about a profile on a cluster. To delete it is not
// to withdraw the profile.
func TestSummaryDeletedByHand(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", "clusterSelector: {matchLabels: {scope: "+s.name+"}}")
	s.awaitProfile(s.name, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	untouched := s.staysUntouched("cluster1", s.name)
	deleted, err := s.summary(s.Context(), s.name, "cluster1")
	if err != nil || deleted == nil {
		t.Fatal(deleted, err)
	}
	s.kubectl("delete", "clustersummary", deleted.Name, "--namespace="+s.name)
	s.eventually("it is made again", deploySoon, func(ctx context.Context) error {
		again, err := s.summary(ctx, s.name, "cluster1")
		if err != nil {
			return err
		}
		if again == nil || again.UID == deleted.UID {
			return fmt.Errorf("the summary is %s", asJSON(again))
		}
		return condition(again.Status.Conditions, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	})
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}
	s.kubectl("delete", "clusterprofile", s.name)
	if err := s.hasContent("cluster1", false, s.name)(s.Context()); err != nil {
		t.Errorf("the new summary does not know what the old one deployed: %v", err)
	}
}

// A set that is gone leaves its last clusters to the profiles that name it.
func TestSetDeletedWhileAProfileUsesIt(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for _, cluster := range clusterNames() {
		s.register(cluster, s.labels())
	}
	s.applySet()
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", "setRefs: ["+s.name+"]")
	s.awaitProfile(s.name, configv1beta1.ConditionSetsResolved, metav1.ConditionTrue, "")
	active := s.awaitOneSelected(s.name)
	s.awaitContent(active, true, s.name)
	untouched := s.staysUntouched(active, s.name)
	s.kubectl("delete", "clusterset", s.name)
	s.awaitProfile(s.name, configv1beta1.ConditionSetsResolved, metav1.ConditionFalse, configv1beta1.ReasonSetMissing)
	s.always("the last cluster keeps its content", settle, func(ctx context.Context) error {
		profile, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if matching := profile.Status.MatchingClusters; len(matching) != 1 || matching[0].Name != active {
			return fmt.Errorf("the profile matches %s", asJSON(matching))
		}
		return untouched(ctx)
	})
	// With the reference, the claim ends too.
	s.kubectl("patch", "clusterprofile", s.name, "--type=merge", "--patch", `{"spec":{"setRefs":null}}`)
	s.awaitContent(active, false, s.name)
	s.awaitProfile(s.name, configv1beta1.ConditionSetsResolved, metav1.ConditionTrue, "")
}

// A profile that is deleted takes its content along, from everywhere, and waits
// for that.
func TestProfileDeleted(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for _, cluster := range clusterNames() {
		s.register(cluster, s.labels())
	}
	s.applySource("content", s.name, s.name+"-2")
	s.applyProfile(s.name, "content", "clusterSelector: {matchLabels: {scope: "+s.name+"}}")
	s.awaitProfile(s.name, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	for _, cluster := range clusterNames() {
		s.awaitContent(cluster, true, s.name, s.name+"-2")
	}
	// kubectl waits until the finalizers are gone.
	s.kubectl("delete", "clusterprofile", s.name)
	for _, cluster := range clusterNames() {
		if err := s.hasContent(cluster, false, s.name)(s.Context()); err != nil {
			t.Error(err)
		}
		if err := s.hasContent(cluster, false, s.name+"-2")(s.Context()); err != nil {
			t.Error(err)
		}
	}
	summaries, err := s.muster.ConfigV1beta1().ClusterSummaries(s.name).List(s.Context(), metav1.ListOptions{})
	if err != nil || len(summaries.Items) != 0 {
		t.Errorf("summaries that are left: %s, %v", asJSON(summaries.Items), err)
	}
}

// Deregistering a cluster leaves in it what was deployed. Registered again, it
// is taken over as it is.
func TestClusterDeregistered(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", "clusterSelector: {matchLabels: {scope: "+s.name+"}}")
	s.awaitProfile(s.name, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	untouched := s.staysUntouched("cluster1", s.name)
	// A finalizer, as of a deletion in the foreground, keeps the registration for a while.
	finalizers := func(list string) {
		s.kubectl("patch", "sveltoscluster", "cluster1", "--namespace="+s.name, "--type=merge", "--patch", `{"metadata":{"finalizers":`+list+`}}`)
	}
	finalizers(`["example.com/keeps"]`)
	s.kubectl("delete", "sveltoscluster", "cluster1", "--namespace="+s.name, "--wait=false")
	s.awaitNoSummary(s.name, "cluster1")
	s.kubectl("muster", "deregister", "cluster", "--namespace="+s.name, "--cluster=cluster1")
	finalizers("null")
	s.eventually("the registration and everything about it is gone", soon, func(ctx context.Context) error {
		_, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(ctx, "cluster1", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the registration is there: %w", err)
		}
		summary, err := s.summary(ctx, s.name, "cluster1")
		if err == nil && summary != nil {
			err = fmt.Errorf("the summary is %s", asJSON(summary))
		}
		return err
	})
	s.awaitProfile(s.name, "Ready", metav1.ConditionFalse, configv1beta1.ReasonNoMatchingClusters)
	s.always("what was deployed stays", settle, untouched)

	s.register("cluster1", s.labels())
	s.awaitProfile(s.name, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	if err := untouched(s.Context()); err != nil {
		t.Errorf("after a new registration: %v", err)
	}
	s.kubectl("delete", "clusterprofile", s.name)
	if err := s.hasContent("cluster1", false, s.name)(s.Context()); err != nil {
		t.Errorf("what was taken over is not withdrawn: %v", err)
	}
}

// A cluster that is gone for good keeps a withdrawal waiting, until its
// registration goes too.
func TestWithdrawalEndsWithTheRegistration(t *testing.T) {
	p := newFailoverPair(t)
	if err := p.fleet.Managed(p.active).Kill(p.Context()); err != nil {
		t.Fatal(err)
	}
	p.awaitSelected(p.name, p.standby)
	p.awaitContent(p.standby, true, p.name)
	p.kubectl("delete", "clusterprofile", p.name, "--wait=false")
	p.awaitContent(p.standby, false, p.name)
	p.always("the profile waits for the dead cluster", settle, func(ctx context.Context) error {
		profile, err := p.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, p.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if profile.DeletionTimestamp == nil || len(profile.Finalizers) == 0 {
			return errors.New("it is not being deleted, or nothing keeps it: " + asJSON(profile.ObjectMeta))
		}
		return nil
	})
	p.kubectl("delete", "sveltoscluster", p.active, "--namespace="+p.name)
	p.eventually("the profile is gone", soon, func(ctx context.Context) error {
		profile, err := p.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, p.name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %s, %w", asJSON(profile.ObjectMeta), err)
		}
		return nil
	})
	if err := p.fleet.Heal(p.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.hasContent(p.active, true, p.name)(p.Context()); err != nil {
		t.Errorf("it was withdrawn from a cluster that nobody asked to have cleaned: %v", err)
	}
	if err := p.managed[p.active].CoreV1().ConfigMaps(contentNamespace).Delete(p.Context(), p.name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
