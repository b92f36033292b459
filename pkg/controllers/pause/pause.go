// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pause says whether something that users can pause is paused, and why.
package pause

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-project/muster/pkg/activewindow"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// Reason is why something is paused, and empty if it is not.
type Reason struct {
	// Word is one of the reasons of condition Paused.
	Word string
	// Text says it to people, as part of a sentence.
	Text string
}

// Paused reports whether there is a reason.
func (r Reason) Paused() bool { return r.Word != "" }

// OfCluster is why nothing is deployed to a cluster at this moment. An active window that
// cannot be read pauses: in doubt, what runs is left alone.
func OfCluster(cluster *libv1beta1.SveltosCluster, now time.Time) Reason {
	switch {
	case cluster.Spec.Paused:
		return Reason{libv1beta1.ReasonPausedBySpec, "the cluster is paused (spec.paused)"}
	case has(cluster, libv1beta1.AnnotationPaused):
		return Reason{libv1beta1.ReasonPausedByAnnotation, "the cluster is paused (annotation " + libv1beta1.AnnotationPaused + ")"}
	case cluster.Spec.ActiveWindow == nil:
		return Reason{}
	}
	window, err := activewindow.Parse(cluster.Spec.ActiveWindow.From, cluster.Spec.ActiveWindow.To)
	if err != nil {
		return Reason{libv1beta1.ReasonOutsideActiveWindow, "the cluster's active window cannot be read: " + err.Error()}
	}
	if state := window.At(now); !state.Active {
		return Reason{libv1beta1.ReasonOutsideActiveWindow, "the cluster is outside of its active window, which begins at " + state.Begins.Format(time.RFC3339)}
	}
	return Reason{}
}

// OfProfile is why a profile is not reconciled.
func OfProfile(profile client.Object) Reason {
	if has(profile, libv1beta1.AnnotationProfilePaused) {
		return Reason{libv1beta1.ReasonPausedByAnnotation, "the profile is paused (annotation " + libv1beta1.AnnotationProfilePaused + ")"}
	}
	return Reason{}
}

// OfSummary is why a summary is frozen whose cluster is not paused. profile is the one that
// it belongs to, nil if that is gone.
func OfSummary(summary, profile client.Object) Reason {
	if has(summary, libv1beta1.AnnotationPaused) {
		return Reason{libv1beta1.ReasonPausedByAnnotation, "this summary is paused (annotation " + libv1beta1.AnnotationPaused + ")"}
	}
	if profile == nil {
		return Reason{}
	}
	if has(profile, libv1beta1.AnnotationPaused) {
		return Reason{libv1beta1.ReasonPausedByAnnotation, "the profile is paused (annotation " + libv1beta1.AnnotationPaused + ")"}
	}
	return OfProfile(profile)
}

// has reports whether an annotation is there. Its value means nothing, as for Cluster API.
func has(object client.Object, annotation string) bool {
	_, found := object.GetAnnotations()[annotation]
	return found
}
