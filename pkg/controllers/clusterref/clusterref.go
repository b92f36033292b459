// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterref translates between the API's ways to name a SveltosCluster
// and the fleet's.
package clusterref

import (
	corev1 "k8s.io/api/core/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// Of is the fleet's name of a SveltosCluster.
func Of(namespace, name string) fleet.Ref {
	return fleet.Ref{
		Group:     libv1beta1.GroupName,
		Kind:      libv1beta1.KindSveltosCluster,
		Namespace: namespace,
		Name:      name,
	}
}

// OfSummary is the cluster that a summary is for.
func OfSummary(summary *configv1beta1.ClusterSummary) fleet.Ref {
	return Of(summary.Spec.ClusterNamespace, summary.Spec.ClusterName)
}

// Object is the reference that a status shows.
func Object(ref fleet.Ref) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: libv1beta1.SchemeGroupVersion.String(),
		Kind:       ref.Kind, Namespace: ref.Namespace, Name: ref.Name,
	}
}

// FromObjects are the distinct clusters that references name, in their order.
// The version in a reference says nothing about which cluster it is. Without a
// namespace a reference is to the given one.
func FromObjects(references []corev1.ObjectReference, namespace string) []fleet.Ref {
	refs := make([]fleet.Ref, 0, len(references))
	seen := make(map[fleet.Ref]bool, len(references))
	for _, reference := range references {
		ref := Of(reference.Namespace, reference.Name)
		if ref.Namespace == "" {
			ref.Namespace = namespace
		}
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	return refs
}
