// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/test/fleet"
)

// chartResources are those of the chart's objects.
func chartResources() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Version: "v1", Resource: "serviceaccounts"},
		{Version: "v1", Resource: "secrets"},
		{Version: "v1", Resource: "configmaps"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
		{Group: "chaos.example.org", Version: "v1", Resource: "colors"},
	}
}

// revision is one of the release's, as its record's labels have it.
type revision struct {
	number int
	status string
}

// releaseState is all that a cluster has of the release, hooks apart from what
// stays.
type releaseState struct {
	revisions []revision
	objects   []unstructured.Unstructured
	hooks     map[string]batchv1.Job
}

// last is the newest revision; the zero one if there is none.
func (s releaseState) last() revision {
	if len(s.revisions) == 0 {
		return revision{}
	}
	return s.revisions[len(s.revisions)-1]
}

// release reads what a cluster has.
func (e *environment) release(ctx context.Context, cluster string) (releaseState, error) {
	state := releaseState{hooks: map[string]batchv1.Job{}}
	records, err := e.managed[cluster].CoreV1().Secrets(chartNamespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=" + chartRelease})
	if err != nil {
		return state, err
	}
	for _, record := range records.Items {
		number, err := strconv.Atoi(record.Labels["version"])
		if err != nil {
			return state, fmt.Errorf("record %s: %w", record.Name, err)
		}
		state.revisions = append(state.revisions, revision{number, record.Labels["status"]})
	}
	slices.SortFunc(state.revisions, func(a, b revision) int { return a.number - b.number })
	jobs, err := e.managed[cluster].BatchV1().Jobs(chartNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return state, err
	}
	for _, job := range jobs.Items {
		state.hooks[job.Name] = job
	}
	for _, resource := range chartResources() {
		list, err := e.dynamic[cluster].Resource(resource).Namespace(chartNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=Helm"})
		if apierrors.IsNotFound(err) {
			continue // before the chart's CRD
		}
		if err != nil {
			return state, err
		}
		state.objects = append(state.objects, list.Items...)
	}
	return state, nil
}

// wanted is a release as a profile asks for it.
type wanted struct{ version, color string }

// objects are those that it consists of, by kind and name.
func (w wanted) objects() []string {
	var names []string
	for _, kind := range []string{"ServiceAccount", "Secret", "ConfigMap", "Role", "Color"} {
		for _, object := range []string{"one", "two", "only-" + w.version} {
			names = append(names, kind+" "+chartRelease+"-"+object)
		}
	}
	slices.Sort(names)
	return names
}

// deployedOn is a check that a cluster has the release, all of it, and nothing
// that an attempt before it has left; another cluster has nothing.
func (e *environment) deployedOn(cluster string, want wanted) func(context.Context) error {
	return func(ctx context.Context) error {
		state, err := e.release(ctx, cluster)
		if err != nil {
			return err
		}
		if err := want.check(state); err != nil {
			return fmt.Errorf("%s: %w", cluster, err)
		}
		for other := range e.managed {
			if other == cluster {
				continue
			}
			if err := e.withdrawnFrom(other)(ctx); err != nil {
				return err
			}
		}
		if err := e.provisioned(ctx, cluster); err != nil {
			return err
		}
		return e.helmSees(ctx, cluster, want, state.last().number)
	}
}

// check compares what is there with what should be.
func (w wanted) check(state releaseState) error {
	for i, r := range state.revisions {
		isLast := i == len(state.revisions)-1
		if (r.status == "deployed") != isLast || strings.HasPrefix(r.status, "pending") {
			return fmt.Errorf("revisions are %v", state.revisions)
		}
	}
	var found []string
	for _, object := range state.objects {
		found = append(found, object.GetKind()+" "+object.GetName())
		if color := object.GetAnnotations()["color"]; color != w.color {
			return fmt.Errorf("%s is %s, want %s", object.GetName(), color, w.color)
		}
		if spec, ok := object.Object["spec"].(map[string]any); object.GetKind() == "Color" &&
			(!ok || len(spec) != 2 || spec["color"] != w.color || spec[w.color] != true) {
			return fmt.Errorf("%s has spec %v, want that of %s", object.GetName(), spec, w.color)
		}
	}
	if slices.Sort(found); !slices.Equal(found, w.objects()) {
		return fmt.Errorf("objects are %q, want %q; revisions are %v", found, w.objects(), state.revisions)
	}
	if _, ok := state.hooks[hookAfter]; ok {
		return fmt.Errorf("%s is left over", hookAfter)
	}
	return nil
}

// withdrawnFrom is a check that a cluster has nothing of the release, but for the
// CRD, and the hook that Helm leaves.
func (e *environment) withdrawnFrom(cluster string) func(context.Context) error {
	return func(ctx context.Context) error {
		state, err := e.release(ctx, cluster)
		if err != nil {
			return err
		}
		if _, ok := state.hooks[hookAfter]; ok || len(state.revisions) > 0 || len(state.objects) > 0 {
			var left []string
			for _, object := range state.objects {
				left = append(left, object.GetKind()+" "+object.GetName())
			}
			return fmt.Errorf("%s has revisions %v, hook left: %t, objects %q", cluster, state.revisions, ok, left)
		}
		return nil
	}
}

// provisioned checks what Muster says of the profile's charts.
func (e *environment) provisioned(ctx context.Context, cluster string) error {
	client, err := e.anyReplica()
	if err != nil {
		return err
	}
	summaries, err := client.ConfigV1beta1().ClusterSummaries("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, summary := range summaries.Items {
		owner := metav1.GetControllerOf(&summary)
		if owner == nil || owner.Name != chartProfile || summary.Spec.ClusterName != cluster {
			continue
		}
		for _, feature := range summary.Status.FeatureSummaries {
			if feature.Status != "Provisioned" {
				return fmt.Errorf("summary %s: %s is %s", summary.Name, feature.FeatureID, feature.Status)
			}
		}
		return nil
	}
	return fmt.Errorf("profile %s has no summary for %s", chartProfile, cluster)
}

// helmSees checks what upstream's helm says of the release.
func (e *environment) helmSees(ctx context.Context, cluster string, want wanted, number int) error {
	var listed []struct{ Name, Chart, Status, Revision string }
	if err := e.helm(ctx, cluster, &listed, "list", "--all", "--namespace="+chartNamespace); err != nil {
		return err
	}
	if len(listed) != 1 || listed[0].Name != chartRelease || listed[0].Chart != "steps-"+want.version ||
		listed[0].Status != "deployed" || listed[0].Revision != strconv.Itoa(number) {
		return fmt.Errorf("helm list says %v, want revision %d of %v", listed, number, want)
	}
	var status struct {
		Version int
		Info    struct{ Status string }
		Config  map[string]any
	}
	if err := e.helm(ctx, cluster, &status, "status", chartRelease, "--namespace="+chartNamespace); err != nil {
		return err
	}
	if status.Version != number || status.Info.Status != "deployed" || status.Config["color"] != want.color {
		return fmt.Errorf("helm status says %v, want revision %d of %v", status, number, want)
	}
	return nil
}

// helm runs upstream's helm, and reads what it prints.
func (e *environment) helm(ctx context.Context, cluster string, into any, args ...string) error {
	root, err := fleet.RepositoryRoot()
	if err != nil {
		return err
	}
	args = append(args, "--output=json", "--kubeconfig="+e.fleet.Managed(cluster).DirectKubeconfigFile())
	out, err := exec.CommandContext(ctx, filepath.Join(root, "bin", "helm"), args...).Output()
	if err != nil {
		return fmt.Errorf("helm %s: %w", args[0], err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("helm %s: %w", args[0], err)
	}
	return nil
}

// finish makes a hook's Job one that has completed: no controller runs here.
func finish(job *batchv1.Job) {
	now := metav1.Now()
	job.Status.StartTime, job.Status.CompletionTime, job.Status.Succeeded = &now, &now, 1
	for _, condition := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: now, LastProbeTime: now,
		})
	}
}
