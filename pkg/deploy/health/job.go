// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/deploy/live"
)

const (
	// LabelCheck is on the Jobs that run for checks; its value is of the check.
	LabelCheck = "muster.projectsveltos.io/check"
	// defaultJobTimeout is how long a Job may run unless its check says so.
	defaultJobTimeout = 5 * time.Minute
	// jobRetry is the pause before a Job that failed runs again.
	jobRetry = 30 * time.Second
	// jobRemains is how long the cluster keeps a Job that nobody could clean up, in
	// seconds.
	jobRemains = 600
	// cleanTimeout bounds the deletion of a Job.
	cleanTimeout = 10 * time.Second
	// maxJobName leaves room in 63 bytes for what Kubernetes and this add to it.
	maxJobName = 40
)

var jobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}

// jobState is what a check remembers of its Job.
type jobState struct {
	passed  bool
	message string
	again   time.Time // when it may run again after it failed
}

// runJob runs the Job of a check, until it has succeeded once, and returns why it did not.
func (c *check) runJob(ctx context.Context, env Environment, now func() time.Time) string {
	if c.job.passed || now().Before(c.job.again) {
		return c.job.message
	}
	err := c.tryJob(ctx, env)
	if ctx.Err() != nil {
		return "it was interrupted"
	}
	c.job = jobState{passed: err == nil}
	if err != nil {
		c.job.message, c.job.again = err.Error(), now().Add(jobRetry)
	}
	return c.job.message
}

func (c *check) tryJob(ctx context.Context, env Environment) error {
	manifest, err := env.Job(ctx, c.JobCheck.JobRef)
	if err != nil {
		return fmt.Errorf("jobCheck: %w", err)
	}
	timeout := defaultJobTimeout
	if c.JobCheck.Timeout != nil {
		timeout = c.JobCheck.Timeout.Duration
	}
	job, err := prepareJob(manifest, mark(env.Owner, c.Name), timeout)
	if err != nil {
		return fmt.Errorf("jobCheck: %w", err)
	}
	client := env.Client.Dynamic.Resource(jobs).Namespace(job.GetNamespace())
	if err := clean(ctx, client, mark(env.Owner, c.Name)); err != nil {
		return fmt.Errorf("jobCheck: removing what is left of its last Job in namespace %s: %s", job.GetNamespace(), explain(err))
	}
	name := job.GetNamespace() + "/" + manifest.GetName()
	if _, err := client.Create(ctx, job, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("jobCheck: creating Job %s: %s", name, explain(err))
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
		defer cancel()
		_ = clean(last, client, mark(env.Owner, c.Name)) // the next run, or the cluster, tries again
	}()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = live.Await(limited, client, job.GetName(), finished)
	switch {
	case err == nil:
		return nil
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		return fmt.Errorf("jobCheck: Job %s did not succeed within %s", name, timeout)
	case errors.As(err, new(*jobError)):
		return fmt.Errorf("jobCheck: Job %s %w", name, err)
	}
	return fmt.Errorf("jobCheck: watching Job %s: %s", name, explain(err))
}

// prepareJob makes the Job of one run: its name is like no other's, and the cluster ends
// and removes it if nobody else does.
func prepareJob(manifest *unstructured.Unstructured, mark string, timeout time.Duration) (*unstructured.Unstructured, error) {
	if gvk := manifest.GroupVersionKind(); gvk != jobs.GroupVersion().WithKind("Job") {
		return nil, fmt.Errorf("it holds a %s of %s, it has to hold a Job of batch/v1", gvk.Kind, gvk.GroupVersion())
	}
	job := manifest.DeepCopy()
	name := manifest.GetName()
	// No part of a name ends in a dash.
	job.SetName(strings.TrimRight(name[:min(len(name), maxJobName)], "-.") + "-" + rand.String(8))
	if job.GetNamespace() == "" {
		job.SetNamespace(metav1.NamespaceDefault)
	}
	labels := job.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[LabelCheck] = mark
	job.SetLabels(labels)
	for field, value := range map[string]int64{"activeDeadlineSeconds": int64(timeout.Seconds()), "ttlSecondsAfterFinished": jobRemains} {
		if _, set, err := unstructured.NestedFieldNoCopy(job.Object, "spec", field); err != nil || set {
			continue
		}
		if err := unstructured.SetNestedField(job.Object, value, "spec", field); err != nil {
			return nil, errors.New("its spec is no mapping")
		}
	}
	return job, nil
}

// mark is the value of LabelCheck.
func mark(owner, check string) string {
	sum := sha256.Sum256([]byte(owner + "\n" + check))
	return hex.EncodeToString(sum[:12])
}

// clean deletes all Jobs of a check, and their Pods.
func clean(ctx context.Context, client dynamic.ResourceInterface, mark string) error {
	left, err := client.List(ctx, metav1.ListOptions{LabelSelector: LabelCheck + "=" + mark})
	if err != nil {
		return err
	}
	for i := range left.Items {
		err := client.Delete(ctx, left.Items[i].GetName(), metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: ptr.To(left.Items[i].GetUID())},
			PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// jobError is a Job that came to another end than success.
type jobError struct{ what string }

func (e *jobError) Error() string { return e.what }

// finished reports whether a Job has succeeded.
func finished(job *unstructured.Unstructured) (bool, error) {
	if job == nil {
		return false, &jobError{"was deleted before it had ended"}
	}
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if !ok || condition["status"] != "True" {
			continue
		}
		switch condition["type"] {
		case "Complete", "SuccessCriteriaMet":
			return true, nil
		case "Failed":
			return false, &jobError{fmt.Sprintf("failed: %v", condition["message"])}
		}
	}
	return false, nil
}
