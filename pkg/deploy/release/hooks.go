// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/utils/ptr"
)

// WatchUntilReady waits until the Jobs and Pods of a hook have ended well.
// Hooks of other kinds are ready when they exist.
func (c *client) WatchUntilReady(resources kube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	for _, info := range resources {
		var ended func(*unstructured.Unstructured) (bool, error)
		switch info.Mapping.GroupVersionKind.Kind {
		case "Job":
			ended = jobEnded
		case "Pod":
			ended = podEnded
		default:
			continue
		}
		if err := c.await(ctx, info, ended); err != nil {
			return fmt.Errorf("hook %s: %w%s", describe(info), c.overdue(err, timeout), c.lastWords(info))
		}
	}
	return nil
}

// jobEnded reports whether a Job has completed. One that is gone was deleted
// by somebody who had enough of it, or by its time to live.
func jobEnded(job *unstructured.Unstructured) (bool, error) {
	if job == nil {
		return true, nil
	}
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if !ok || condition["status"] != "True" {
			continue
		}
		switch condition["type"] {
		case "Complete":
			return true, nil
		case "Failed":
			return true, fmt.Errorf("the Job failed: %v", condition["reason"])
		}
	}
	return false, nil
}

// podEnded reports whether a Pod has succeeded.
func podEnded(pod *unstructured.Unstructured) (bool, error) {
	if pod == nil {
		return true, nil
	}
	switch phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase"); phase {
	case "Succeeded":
		return true, nil
	case "Failed":
		return true, errors.New("the Pod failed")
	}
	return false, nil
}

const (
	// wordsTimeout bounds the time that is spent on asking what a Pod has printed.
	wordsTimeout = 5 * time.Second
	// wordsLines and wordsBytes are how much of it an error carries, of each of at
	// most wordsContainers containers.
	wordsLines      = 5
	wordsBytes      = 512
	wordsContainers = 3
)

// lastWords are the last lines that the Pods of a hook have printed, to be added to an
// error; nothing where they can't be had.
func (c *client) lastWords(info *resource.Info) string {
	if c.clientset == nil || c.ctx.Err() != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(c.ctx, wordsTimeout)
	defer cancel()
	options := metav1.ListOptions{LabelSelector: "job-name=" + info.Name}
	if info.Mapping.GroupVersionKind.Kind == "Pod" {
		options = metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", info.Name).String()}
	}
	pods, err := c.clientset.CoreV1().Pods(info.Namespace).List(ctx, options)
	if err != nil {
		return ""
	}
	var words strings.Builder
	asked := 0
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			if asked++; asked > wordsContainers {
				return words.String()
			}
			printed, err := c.clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
				Container: container.Name, TailLines: ptr.To[int64](wordsLines),
			}).DoRaw(ctx)
			if text := strings.TrimSpace(string(printed)); err == nil && text != "" {
				fmt.Fprintf(&words, "; the last lines of Pod %s, container %s: %s", pod.Name, container.Name, lastBytes(text, wordsBytes))
			}
		}
	}
	return words.String()
}

// lastBytes is the end of a text.
func lastBytes(text string, most int) string {
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return strings.ToValidUTF8(text, "")
}
