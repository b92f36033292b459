// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
)

// ShadowsDefinitions is the condition, on our own APIServices, which says that
// CustomResourceDefinitions of the same group are installed on the host. Their
// objects cannot be reached while Muster serves the group, and they would take
// the group over if our APIServices went. It is absent or False otherwise.
const ShadowsDefinitions apiregistration.APIServiceConditionType = "ShadowsCustomResourceDefinitions"

const (
	reasonInstalled = "DefinitionsInstalled"
	reasonNone      = "NoDefinitions"
)

var shadowedDefinitions = metrics.NewGaugeVec(&metrics.GaugeOpts{
	Namespace:      "muster",
	Name:           "shadowed_customresourcedefinitions",
	Help:           "CustomResourceDefinitions on the host whose group Muster serves, so that their objects cannot be reached.",
	StabilityLevel: metrics.ALPHA,
}, []string{"group"})

// RegisterMetrics makes this package's metrics visible. It may be called more
// than once.
func RegisterMetrics() {
	legacyregistry.Register(shadowedDefinitions)
}

func recordShadowed(groups, found []string) {
	for _, group := range groups {
		shadowedDefinitions.WithLabelValues(group).Set(float64(len(inGroup(found, group))))
	}
}

func inGroup(definitions []string, group string) []string {
	var in []string
	for _, name := range definitions {
		if strings.HasSuffix(name, "."+group) {
			in = append(in, name)
		}
	}
	return in
}

// shadowCondition is what the condition of an APIService of group should be,
// nil where it has none and needs none.
func shadowCondition(registration *apiregistration.APIService, found []string, now time.Time) *apiregistration.APIServiceCondition {
	mine := inGroup(found, registration.Spec.Group)
	current := helper.GetAPIServiceConditionByType(registration, ShadowsDefinitions)
	if len(mine) == 0 {
		if current == nil {
			return nil
		}
		return &apiregistration.APIServiceCondition{
			Type: ShadowsDefinitions, Status: apiregistration.ConditionFalse, Reason: reasonNone,
			LastTransitionTime: metav1.NewTime(now),
			Message:            "no CustomResourceDefinition of this group is installed",
		}
	}
	return &apiregistration.APIServiceCondition{
		Type: ShadowsDefinitions, Status: apiregistration.ConditionTrue, Reason: reasonInstalled,
		LastTransitionTime: metav1.NewTime(now),
		Message: fmt.Sprintf("%s: installed on the host but unreachable, because Muster serves this group; "+
			"delete them, or uninstall Muster if they are to be used", joined(mine)),
	}
}

// keepCondition writes the condition if it says anything new, and an event
// when it turns true.
func (w *registrationWatch) keepCondition(ctx context.Context, registration *apiregistration.APIService, found []string) error {
	wanted := shadowCondition(registration, found, time.Now())
	if wanted == nil {
		return nil
	}
	current := helper.GetAPIServiceConditionByType(registration, ShadowsDefinitions)
	if current != nil && current.Status == wanted.Status && current.Message == wanted.Message {
		return nil
	}
	updated := registration.DeepCopy()
	helper.SetAPIServiceCondition(updated, *wanted)
	if _, err := w.Aggregator.ApiregistrationV1().APIServices().UpdateStatus(ctx, updated, metav1.UpdateOptions{}); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("update the status of APIService %s: %w", registration.Name, err)
	}
	if wanted.Status != apiregistration.ConditionTrue {
		return nil
	}
	klog.FromContext(ctx).Info("CustomResourceDefinitions of a group that Muster serves are installed",
		"apiService", klog.KObj(registration), "definitions", inGroup(found, registration.Spec.Group))
	return w.warn(ctx, registration, wanted.Message)
}

// warn records an event about an APIService. Its name is made of what it says,
// so that three replicas leave one event.
func (w *registrationWatch) warn(ctx context.Context, registration *apiregistration.APIService, message string) error {
	now := metav1.Now()
	digest := sha256.Sum256([]byte(string(registration.UID) + message))
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s.%x", registration.Name, digest[:8]),
			// Where the events of cluster-scoped objects are looked for.
			Namespace: metav1.NamespaceDefault,
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: apiregistration.SchemeGroupVersion.String(), Kind: "APIService",
			Name: registration.Name, UID: registration.UID,
		},
		Type: corev1.EventTypeWarning, Reason: reasonInstalled, Message: message,
		Source: corev1.EventSource{Component: "muster"}, ReportingController: "muster",
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	_, err := w.Host.CoreV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("record an event about APIService %s: %w", registration.Name, err)
	}
	return nil
}
