// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/health"
)

// gateOf is a check that passes while a ConfigMap in the managed cluster has a state.
func (s *scope) gateOf(name, state string) string {
	return fmt.Sprintf(`{name: %[1]s, featureID: Resources, version: v1, kind: ConfigMap, namespace: %[3]s,
    labelFilters: [{key: scope, operation: Equal, value: %[2]s}],
    script: "function evaluate(obj) return {healthy = obj.metadata.name ~= '%[1]s' or obj.data.state == '%[4]s', message = 'it is ' .. obj.data.state} end"}`,
		name, s.name, contentNamespace, state)
}

// awaitWaiting waits until a profile is not deployed to a cluster, or not withdrawn from
// it, for this reason, with this in the message.
func (s *scope) awaitWaiting(profile, cluster, reason, says string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s waits on %s: %s", profile, cluster, reason), deploySoon, func(ctx context.Context) error {
		summary, err := s.summary(ctx, profile, cluster)
		if err != nil || summary == nil {
			return errors.Join(errors.New("there is no summary"), err)
		}
		if err := condition(summary.Status.Conditions, configv1beta1.ConditionReady, metav1.ConditionFalse, reason); err != nil {
			return err
		}
		return saysAll("the condition", meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady).Message, []string{says})
	})
}

// TestOrder: a prerequisite that matches nothing goes first where its dependant goes, with
// its checks, and last when both are deleted, after theirs.
func TestOrder(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	app, database := s.name+"-app", s.name+"-database"
	s.register("cluster1", s.labels())
	s.applyRaw(source{name: "app", data: documents(settings(app, "1"))})
	s.applyRaw(source{name: "database", data: documents(settings(database, "1"))})
	s.applyProfile(app, "app", fmt.Sprintf("dependsOn: [%s]\n  preDeleteChecks: [%s]\n  %s", database, s.gateOf(s.name, "empty"), s.everywhere()))
	s.awaitWaiting(app, "cluster1", configv1beta1.ReasonWaitingForPrerequisites, "there is no such ClusterProfile")
	s.awaitProfile(app, configv1beta1.ConditionDependenciesResolved, metav1.ConditionFalse, configv1beta1.ReasonDependencyMissing)

	s.setState("cluster1", s.name, "starting")
	s.applyProfile(database, "database", fmt.Sprintf("validateHealths: [%s]", s.gateOf(s.name, "running")))
	s.awaitWaiting(database, "cluster1", configv1beta1.ReasonWaitingForChecks, "it is starting")
	s.awaitContent("cluster1", true, database)
	s.always("what depends on it waits", settle, s.hasContent("cluster1", false, app))
	s.setState("cluster1", s.name, "running")
	s.provisioned(database)
	s.provisioned(app)
	s.kubectl("muster", "diff", database) // which matches cluster1 through what depends on it

	s.applyFails("would make the profile depend on itself", fmt.Sprintf(`
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %s}
spec: {dependsOn: [%s]}
`, database, app))

	s.kubectl("delete", "clusterprofile", database, app, "--wait=false")
	s.awaitWaiting(app, "cluster1", configv1beta1.ReasonWithdrawing, "it is running")
	s.awaitWaiting(database, "cluster1", configv1beta1.ReasonWithdrawing, app)
	s.always("nothing is withdrawn", settle, s.hasContent("cluster1", true, app, database))
	s.setState("cluster1", s.name, "empty")
	s.awaitNoSummary(app, "cluster1")
	s.awaitNoSummary(database, "cluster1")
	s.awaitContent("cluster1", false, app, database)
}

// TestPreDeployChecks: nothing of a list is applied or pruned before its checks pass.
func TestPreDeployChecks(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	a, b := s.name+"-a", s.name+"-b"
	s.register("cluster1", s.labels())
	s.applyRaw(source{name: "content", data: documents(settings(a, "1"))})
	s.setState("cluster1", s.name, "shut")
	s.applyProfile(s.name, "content", fmt.Sprintf("preDeployChecks: [%s]\n  %s", s.gateOf(s.name, "open"), s.everywhere()))
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonChecksFailed, "it is shut")
	if err := s.hasContent("cluster1", false, a)(s.Context()); err != nil {
		t.Error(err)
	}
	s.setState("cluster1", s.name, "open")
	s.provisioned(s.name)
	s.awaitContent("cluster1", true, a)
	s.setState("cluster1", s.name, "shut")
	s.applyRaw(source{name: "content", data: documents(settings(b, "1"))})
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonChecksFailed, "it is shut")
	if err := errors.Join(s.hasContent("cluster1", true, a)(s.Context()), s.hasContent("cluster1", false, b)(s.Context())); err != nil {
		t.Error(err)
	}
	s.setState("cluster1", s.name, "open")
	s.awaitContent("cluster1", true, b)
	s.awaitContent("cluster1", false, a)

	// A Job has to succeed, and is gone then.
	s.applyRaw(source{name: "job", data: documents(fmt.Sprintf("{apiVersion: batch/v1, kind: Job, metadata: {namespace: %s, name: %s}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: job}]}}}}\n", contentNamespace, s.name))})
	s.applyRaw(source{name: "content", data: documents(settings(b, "2"))})
	s.applyProfile(s.name, "content", fmt.Sprintf("preDeployChecks: [{name: job, featureID: Resources, jobCheck: {jobRef: {kind: ConfigMap, namespace: %[1]s, name: job}}}]\n  extraLabels: {checked: by-a-job}\n  %[2]s", s.name, s.everywhere()))
	s.finishJob("cluster1", func() {
		if content, err := s.content(s.Context(), "cluster1", b); err != nil || content == nil || content.Labels["checked"] != "" {
			t.Errorf("while the Job runs there is %s, %v", asJSON(content), err)
		}
	})
	s.provisioned(s.name)
	s.awaitValue("cluster1", b, "2")
}

// finishJob waits for the Job of a check, has it succeed, and waits until it is gone.
func (s *scope) finishJob(cluster string, before func()) {
	s.Helper()
	jobs := s.managed[cluster].BatchV1().Jobs(contentNamespace)
	ours := func(ctx context.Context) ([]batchv1.Job, error) {
		list, err := jobs.List(ctx, metav1.ListOptions{LabelSelector: health.LabelCheck})
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(list.Items, func(j batchv1.Job) bool { return !strings.HasPrefix(j.Name, s.name+"-") }), nil
	}
	s.eventually("the Job of the check is there", deploySoon, func(ctx context.Context) error {
		found, err := ours(ctx)
		if err != nil || len(found) != 1 {
			return fmt.Errorf("there are %d, %w", len(found), err)
		}
		before()
		now := metav1.Now()
		status := &found[0].Status
		status.StartTime, status.CompletionTime, status.Succeeded = &now, &now, 1
		for _, condition := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
			status.Conditions = append(status.Conditions, batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: now})
		}
		_, err = jobs.UpdateStatus(ctx, &found[0], metav1.UpdateOptions{})
		return err
	})
	s.eventually("the Job of the check is gone", deploySoon, func(ctx context.Context) error {
		found, err := ours(ctx)
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("%s is there", found[0].Name)
		}
		return err
	})
}

// TestMaxUpdate: a revision goes to the next cluster when the one before has all of it.
func TestMaxUpdate(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	clusters := []string{"cluster1", "cluster2", "cluster3"}
	for _, cluster := range clusters {
		s.register(cluster, s.labels())
		s.setState(cluster, s.name, "1")
	}
	s.applyRaw(source{name: "content", data: documents(settings(s.name+"x", "1"))})
	profile := func(value string) {
		s.applyProfile(s.name, "content", fmt.Sprintf("maxUpdate: 1\n  validateHealths: [%s]\n  extraLabels: {revision: '%s'}\n  %s", s.gateOf(s.name, value), value, s.everywhere()))
	}
	has := func(revision string, want ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			var found []string
			for _, cluster := range clusters {
				content, err := s.content(ctx, cluster, s.name+"x")
				if err != nil {
					return err
				}
				if content != nil && content.Labels["revision"] == revision {
					found = append(found, cluster)
				}
			}
			if strings.Join(found, " ") != strings.Join(want, " ") {
				return fmt.Errorf("revision %s is on %q, want %q", revision, found, want)
			}
			return nil
		}
	}
	profile("1")
	s.provisioned(s.name)
	profile("2")
	for i := range clusters {
		s.eventually("it is on so many clusters", deploySoon, has("2", clusters[:i+1]...))
		s.always("it is on no more", settle/2, has("2", clusters[:i+1]...))
		updating, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(s.Context(), s.name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if status := updating.Status; len(status.UpdatingClusters.Clusters) != 1 || len(status.UpdatedClusters.Clusters) != i || len(status.UpdatedClusters.Hash) == 0 {
			t.Errorf("with %d done the status is %s", i, asJSON(status))
		}
		s.setState(clusters[i], s.name, "2")
	}
	s.provisioned(s.name)
}

// TestPauses: profile, summary and cluster can be paused, and a cluster is outside of its
// window.
func TestPauses(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	value := 0
	write := func() string {
		value++
		s.applyRaw(source{name: "content", data: documents(settings(s.name, fmt.Sprint(value)))})
		return fmt.Sprint(value)
	}
	first := write()
	s.applyProfile(s.name, "content", s.everywhere())
	s.awaitValue("cluster1", s.name, first)
	summary := "clustersummary/" + s.name + "-sveltos-cluster1"
	for _, pause := range []struct {
		name    string
		on, off []string
	}{
		{
			"the profile",
			[]string{"annotate", "clusterprofile", s.name, libv1beta1.AnnotationProfilePaused + "=true"},
			[]string{"annotate", "clusterprofile", s.name, libv1beta1.AnnotationProfilePaused + "-"},
		},
		{
			"the summary",
			[]string{"annotate", summary, "--namespace=" + s.name, libv1beta1.AnnotationPaused + "=true"},
			[]string{"annotate", summary, "--namespace=" + s.name, libv1beta1.AnnotationPaused + "-"},
		},
		{
			"the window",
			[]string{"patch", "sveltoscluster", "cluster1", "--namespace=" + s.name, "--type=merge", `--patch={"spec":{"activeWindow":{"from":"0 0 29 2 *","to":"1 0 29 2 *"}}}`},
			[]string{"patch", "sveltoscluster", "cluster1", "--namespace=" + s.name, "--type=merge", `--patch={"spec":{"activeWindow":{"from":"0 0 * * *","to":"0 0 29 2 *"}}}`},
		},
	} {
		s.kubectl(pause.on...)
		s.eventually(pause.name+" is paused", soon, func(ctx context.Context) error {
			found, err := s.summary(ctx, s.name, "cluster1")
			if err != nil || found == nil || !found.Status.ReconciliationSuspended {
				return fmt.Errorf("%s, %w", asJSON(found), err)
			}
			return nil
		})
		before, next := fmt.Sprint(value), write()
		s.always("what runs is left alone", settle/2, s.hasValue("cluster1", s.name, before))
		s.kubectl(pause.off...)
		s.awaitValue("cluster1", s.name, next)
	}
	cluster, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(s.Context(), "cluster1", metav1.GetOptions{})
	if err != nil || cluster.Status.NextPause == nil || cluster.Status.NextUnpause == nil || cluster.Spec.Paused {
		t.Errorf("the cluster is %s, %v", asJSON(cluster), err)
	}
}
