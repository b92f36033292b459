// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// jobCluster is a cluster in which each Job comes to an end as soon as it is made.
func jobCluster(t *testing.T, condition string) *fake.FakeDynamicClient {
	t.Helper()
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{jobs: "JobList"})
	client.PrependReactor("create", "jobs", func(action clienttesting.Action) (bool, runtime.Object, error) {
		job := action.(clienttesting.CreateAction).GetObject().(*unstructured.Unstructured)
		if condition != "" {
			conditions := []any{map[string]any{"type": condition, "status": "True", "message": "it says why"}}
			if err := unstructured.SetNestedSlice(job.Object, conditions, "status", "conditions"); err != nil {
				t.Error(err)
			}
		}
		return false, nil, nil
	})
	return client
}

func manifest(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	return object
}

const smoke = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"smoke","namespace":"tests"},"spec":{"template":{}}}`

func jobEnvironment(t *testing.T, client *fake.FakeDynamicClient, text string) Environment {
	return Environment{Client: &fleet.Client{Dynamic: client}, Owner: "u", Job: func(context.Context, libv1beta1.JobReference) (*unstructured.Unstructured, error) {
		return manifest(t, text), nil
	}}
}

func jobCheck(timeout time.Duration) libv1beta1.ValidateHealth {
	return libv1beta1.ValidateHealth{Name: "smoke", FeatureID: libv1beta1.FeatureHelm, JobCheck: &libv1beta1.JobCheck{Timeout: &metav1.Duration{Duration: timeout}}}
}

func created(client *fake.FakeDynamicClient) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, action := range client.Actions() {
		if create, ok := action.(clienttesting.CreateAction); ok {
			out = append(out, create.GetObject().(*unstructured.Unstructured))
		}
	}
	return out
}

func TestAJobThatSucceedsPassesAndIsRemoved(t *testing.T) {
	client := jobCluster(t, "Complete")
	checks, err := Compile([]libv1beta1.ValidateHealth{jobCheck(time.Minute)}, false)
	if err != nil {
		t.Fatal(err)
	}
	env := jobEnvironment(t, client, smoke)
	for range 2 { // it runs once
		if failures := checks.Run(t.Context(), env); len(failures) > 0 {
			t.Fatal(failures)
		}
	}
	made := created(client)
	if len(made) != 1 {
		t.Fatalf("%d Jobs were made, want one", len(made))
	}
	job := made[0]
	if !strings.HasPrefix(job.GetName(), "smoke-") || job.GetNamespace() != "tests" || job.GetLabels()[LabelCheck] != mark("u", "smoke") {
		t.Errorf("the Job is %v", job.Object["metadata"])
	}
	for field, want := range map[string]int64{"activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": jobRemains} {
		if got, _, _ := unstructured.NestedInt64(job.Object, "spec", field); got != want {
			t.Errorf("%s is %d, want %d", field, got, want)
		}
	}
	left, err := client.Resource(jobs).Namespace("tests").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("%d Jobs are left, %v", len(left.Items), err)
	}
}

func TestAJobThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		condition, manifest string
		timeout             time.Duration
		want                string
	}{
		"by itself":  {"Failed", smoke, time.Minute, "Job tests/smoke failed: it says why"},
		"by no end":  {"", smoke, time.Millisecond, "Job tests/smoke did not succeed within 1ms"},
		"of no kind": {"", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"smoke"}}`, time.Minute, "it holds a Pod of v1"},
	} {
		t.Run(name, func(t *testing.T) {
			client := jobCluster(t, tc.condition)
			checks, err := Compile([]libv1beta1.ValidateHealth{jobCheck(tc.timeout)}, false)
			if err != nil {
				t.Fatal(err)
			}
			env := jobEnvironment(t, client, tc.manifest)
			failures := checks.Run(t.Context(), env)
			if len(failures) != 1 || !strings.Contains(failures[0].Message, tc.want) {
				t.Fatalf("%v, want %q", failures, tc.want)
			}
			before := len(created(client))
			if again := checks.Run(t.Context(), env); len(again) != 1 || len(created(client)) != before {
				t.Errorf("it ran again at once: %v", again)
			}
			checks.checks[0].job.again = time.Time{}
			checks.Run(t.Context(), env)
			if before > 0 && len(created(client)) != 2*before {
				t.Error("it did not run again later")
			}
		})
	}
}

// A Job that a process has left which was killed is removed before the next one runs.
func TestALeftoverJobIsRemoved(t *testing.T) {
	client := jobCluster(t, "Complete")
	old := manifest(t, smoke)
	old.SetName("smoke-old")
	old.SetLabels(map[string]string{LabelCheck: mark("u", "smoke")})
	if _, err := client.Resource(jobs).Namespace("tests").Create(t.Context(), old, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	other := manifest(t, smoke)
	other.SetLabels(map[string]string{LabelCheck: mark("u", "another")})
	if _, err := client.Resource(jobs).Namespace("tests").Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	checks, err := Compile([]libv1beta1.ValidateHealth{jobCheck(time.Minute)}, false)
	if err != nil {
		t.Fatal(err)
	}
	if failures := checks.Run(t.Context(), jobEnvironment(t, client, smoke)); len(failures) > 0 {
		t.Fatal(failures)
	}
	left, err := client.Resource(jobs).Namespace("tests").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 1 || left.Items[0].GetName() != "smoke" {
		t.Errorf("left are %v, %v; want the other check's alone", left.Items, err)
	}
}

func TestFinished(t *testing.T) {
	if _, err := finished(nil); !errors.As(err, new(*jobError)) {
		t.Errorf("a Job that was deleted: %v", err)
	}
	if done, err := finished(&unstructured.Unstructured{}); done || err != nil {
		t.Errorf("a Job that has just begun: %t, %v", done, err)
	}
}

// The name of a run is one, wherever the manifest's is cut.
func TestNamesOfRuns(t *testing.T) {
	for _, name := range []string{strings.Repeat("a", maxJobName-1) + ".b", strings.Repeat("a", maxJobName-2) + "-.b", "smoke"} {
		object := manifest(t, smoke)
		object.SetName(name)
		job, err := prepareJob(object, "mark", time.Minute)
		if err != nil || len(validation.IsDNS1123Subdomain(job.GetName())) > 0 {
			t.Errorf("%s becomes %s, %v", name, job.GetName(), err)
		}
	}
}
