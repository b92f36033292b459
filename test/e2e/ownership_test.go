// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// rivals are profiles that deploy the same object to cluster1, each with its
// own name as the value.
func (s *scope) rival(name, more string) {
	s.Helper()
	s.applyRaw(source{name: name, data: documents(settings(s.name, name))})
	s.applyProfile(name, name, s.everywhere()+more)
}

// awaitConflict waits until a profile says who has what it wants.
func (s *scope) awaitConflict(profile, owner string) {
	s.Helper()
	says := []string{"ConfigMap", contentNamespace + "/" + s.name, "ClusterProfile " + owner}
	s.awaitFailure(profile, "cluster1", configv1beta1.ReasonConflict, says...)
	s.eventually("the profile has the condition", soon, func(ctx context.Context) error {
		found, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, profile, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return condition(found.Status.Conditions, configv1beta1.ConditionConflict, metav1.ConditionTrue, "")
	})
}

// TestOwnership: an object has one owner, whoever has the lower tier or came
// first. It changes hands without being deleted.
func TestOwnership(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	a, b, c := s.name+"-a", s.name+"-b", s.name+"-c"
	s.register("cluster1", s.labels())
	s.rival(a, "")
	s.provisioned(a)
	untouched := s.staysUntouched("cluster1", s.name)
	s.rival(b, "")
	s.awaitConflict(b, a)
	s.rival(c, "\n  tier: 200")
	s.awaitConflict(c, a)
	s.always("the owner keeps it", settle, s.hasValue("cluster1", s.name, a))
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}

	s.kubectl("patch", "clusterprofile", b, "--type=merge", "--patch", `{"spec":{"tier":50}}`)
	s.awaitValue("cluster1", s.name, b)
	s.provisioned(b)
	s.awaitConflict(a, b)

	// The owner goes: the first in line has it, and nothing is deleted between.
	s.kubectl("delete", "clusterprofile", b)
	s.awaitValue("cluster1", s.name, a)
	s.provisioned(a)
	s.kubectl("delete", "clusterprofile", a)
	s.awaitValue("cluster1", s.name, c)
	s.provisioned(c)
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}
	s.kubectl("delete", "clusterprofile", c)
	if err := s.hasContent("cluster1", false, s.name)(s.Context()); err != nil {
		t.Error(err)
	}
}

// TestObjectTwice: one profile that asks for an object twice is told so.
func TestObjectTwice(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.applyRaw(source{name: "one", data: documents(settings(s.name, "1"))})
	s.applyRaw(source{name: "two", data: documents(settings(s.name, "2"))})
	s.applyProfile(s.name, "one", "- {kind: ConfigMap, namespace: "+s.name+", name: two}\n  "+s.everywhere())
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonConflict, "ConfigMap", s.name, "of the same profile")
}

// writesOf are the writes to a managed cluster, as its audit log has them, of
// objects whose names begin so.
func (s *scope) writesOf(cluster, prefix string) ([]string, error) {
	events, err := s.fleet.Managed(cluster).AuditEvents(func(e *auditv1.Event) bool {
		return fleet.IsWrite(e) && e.ObjectRef != nil && strings.HasPrefix(e.ObjectRef.Name, prefix)
	})
	var writes []string
	for i := range events {
		writes = append(writes, fmt.Sprintf("%s %s of %s by %s", events[i].Verb, events[i].ObjectRef.Resource, events[i].ObjectRef.Name, events[i].UserAgent))
	}
	return writes, err
}

// TestNothingIsWrittenTwice: what is deployed as it should be is left alone,
// whatever else happens.
func TestNothingIsWrittenTwice(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	from := source{name: "content", data: documents(settings(s.name, "1"))}
	s.applyRaw(from)
	s.applyProfile(s.name, "content", s.everywhere())
	s.provisioned(s.name)
	before, err := s.writesOf("cluster1", s.name)
	if err != nil || len(before) == 0 || !strings.Contains(before[0], "muster") {
		t.Fatalf("the audit log has %q, %v; want an apply by muster", before, err)
	}
	// The same objects from other text, a profile that says the same, a cluster
	// with another label: work for Muster and none for the cluster.
	from.data = map[string]string{"other.yaml": "# a comment\n" + settings(s.name, "1")}
	s.applyRaw(from)
	s.kubectl("label", "clusterprofile", s.name, "new=label")
	s.kubectl("label", "sveltoscluster", "cluster1", "--namespace="+s.name, "new=label")
	s.kubectl("patch", "clusterprofile", s.name, "--type=merge", "--patch", `{"spec":{"stopMatchingBehavior":"LeavePolicies"}}`)
	s.provisioned(s.name)
	s.always("nothing is written", settle, func(context.Context) error {
		after, err := s.writesOf("cluster1", s.name)
		if err == nil && len(after) != len(before) {
			err = fmt.Errorf("written: %q", after[len(before):])
		}
		return err
	})
	// Unless a person asks for it.
	s.kubectl("muster", "redeploy", "cluster", "--namespace="+s.name, "--cluster=cluster1")
	s.eventually("it is applied once more", soon, func(context.Context) error {
		after, err := s.writesOf("cluster1", s.name)
		if err == nil && len(after) != len(before)+1 {
			err = fmt.Errorf("written: %q", after[len(before):])
		}
		return err
	})
	s.forgetContent("cluster1", s.name)
}

// TestRestartWritesNothing: a new process finds everything as it should be.
func TestRestartWritesNothing(t *testing.T) {
	s := newScope(t).breaks()
	s.register("cluster1", s.labels())
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", s.everywhere()+"\n  helmCharts: ["+chartEntry(s.chartRepository(), "settings", "1.0.0", s.name+"-chart", "")+"]")
	s.provisioned(s.name)
	before, err := s.writesOf("cluster1", "")
	if err != nil {
		t.Fatal(err)
	}
	profile, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(s.Context(), s.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.fleet.Muster.Stop(s.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.fleet.Muster.Start(s.Context()); err != nil {
		t.Fatal(err)
	}
	// A source that changes is deployed: by then it works.
	s.applySource("content", s.name, s.name+"-2")
	s.awaitContent("cluster1", true, s.name+"-2")
	after, err := s.writesOf("cluster1", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range after[len(before):] {
		if strings.Contains(write, "by muster") && !strings.Contains(write, " of "+s.name+"-2 ") {
			t.Errorf("after a restart: %s", write)
		}
	}
	again, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(s.Context(), s.name, metav1.GetOptions{})
	if err != nil || again.UID != profile.UID || again.Generation != profile.Generation {
		t.Errorf("the profile is another one: %s, %v", asJSON(again), errors.Join(err))
	}
}
