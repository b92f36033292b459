// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package doctor examines an installation of Muster from the host cluster's
// side, and says of each finding what to do about it. It changes nothing.
package doctor

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
)

// Level says how bad a finding is.
type Level string

const (
	// OK means that nothing is to be done.
	OK Level = "ok"
	// Warning means that something may go wrong later, or could not be examined.
	Warning Level = "warning"
	// Problem means that something does not work.
	Problem Level = "problem"
)

// Finding is one thing that was examined.
type Finding struct {
	// Check is what was examined, in a word.
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Message says what was found.
	Message string `json:"message"`
	// Action says what to do; empty where there is nothing to be done.
	Action string `json:"action,omitempty"`
}

// Doctor examines one installation. All fields are required.
type Doctor struct {
	Host       kubernetes.Interface
	Aggregator aggregatorclient.Interface
	Metadata   metadata.Interface
	// Namespace is where the installation lives, Service what its APIServices
	// lead to.
	Namespace, Service string
	// AskStorage returns what Muster answers to a question that needs its storage.
	AskStorage func(context.Context) error
	// HostTime returns the host's clock. Its error means that it cannot be told.
	HostTime func(context.Context) (time.Time, error)
	// Now is our own clock.
	Now func() time.Time
}

// selector finds what belongs to the installation.
const selector = "app.kubernetes.io/name=muster"

// Examine makes all checks, in the order in which findings explain each other.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	var findings []Finding
	for _, check := range []func(context.Context) []Finding{
		d.hostVersion, d.definitions, d.registrations, d.certificate, d.pods, d.rights, d.storage, d.leader, d.clocks,
	} {
		findings = append(findings, check(ctx)...)
	}
	return findings
}

// Worst is the worst level of findings.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Problem || f.Level == Warning && worst == OK {
			worst = f.Level
		}
	}
	return worst
}

func fine(check, format string, args ...any) []Finding {
	return []Finding{{Check: check, Level: OK, Message: fmt.Sprintf(format, args...)}}
}

func warning(check, message, action string) Finding {
	return Finding{Check: check, Level: Warning, Message: message, Action: action}
}

func problem(check, message, action string) Finding {
	return Finding{Check: check, Level: Problem, Message: message, Action: action}
}

// unknown is a check that could not be made.
func unknown(check, what string, err error) []Finding {
	return []Finding{warning(check, fmt.Sprintf("%s cannot be read: %v", what, err), "run this with the rights to read it, those of a cluster-admin for one")}
}

// ours says whether an APIService leads to the installation.
func (d *Doctor) ours(registration *apiregistration.APIService) bool {
	service := registration.Spec.Service
	return service != nil && service.Namespace == d.Namespace && service.Name == d.Service
}

func (d *Doctor) deployments(ctx context.Context) ([]appsv1.Deployment, error) {
	list, err := d.Host.AppsV1().Deployments(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// pods checks that servers run, are ready, and are of one version.
func (d *Doctor) pods(ctx context.Context) []Finding {
	const check = "pods"
	list, err := d.Host.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return unknown(check, "the Pods of Muster", err)
	}
	if len(list.Items) == 0 {
		return []Finding{warning(check, "no Pod in namespace "+d.Namespace+" has the label "+selector,
			"name the namespace with --namespace, or start the Deployment; a server outside of the cluster is not seen here")}
	}
	var findings []Finding
	running := 0
	images := map[string]string{}
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.Status.Phase == corev1.PodSucceeded {
			continue // a Job's, which has done its work
		}
		running++
		if !ready(pod) {
			findings = append(findings, problem(check, fmt.Sprintf("Pod %s is not ready", pod.Name),
				fmt.Sprintf("see kubectl -n %s describe pod %s, and its log", d.Namespace, pod.Name)))
		}
		for _, container := range pod.Spec.Containers {
			if container.Name == "muster" {
				images[container.Image] = pod.Name
			}
		}
	}
	if len(images) > 1 {
		findings = append(findings, warning(check, fmt.Sprintf("Pods run %d different images", len(images)),
			fmt.Sprintf("let the rollout end: kubectl -n %s rollout status deployment", d.Namespace)))
	}
	if len(findings) == 0 {
		return fine(check, "%d Pods are ready and of one version", running)
	}
	return findings
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
