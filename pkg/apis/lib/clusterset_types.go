// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSet selects managed clusters of any namespace, and of those that match
// keeps a number active. Profiles deploy to the clusters that a set selects.
type ClusterSet struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ClusterSetSpec
	Status ClusterSetStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSetList is a list of ClusterSets.
type ClusterSetList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ClusterSet
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Set selects managed clusters of its own namespace, and of those that match
// keeps a number active. Profiles of the namespace deploy to the clusters that a
// set selects.
type Set struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ClusterSetSpec
	Status ClusterSetStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SetList is a list of Sets.
type SetList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []Set
}

// ClusterSetSpec is the spec of a ClusterSet and of a Set. A cluster matches if
// the selector matches its labels or a reference names it.
type ClusterSetSpec struct {
	ClusterSelector Selector
	ClusterRefs     []corev1.ObjectReference
	MaxReplicas     int32
}

// ClusterSetStatus is the status of a ClusterSet and of a Set. Who is a candidate,
// and why each one is or is not selected, is in subresource selection.
type ClusterSetStatus struct {
	MatchingClusterRefs  []corev1.ObjectReference
	SelectedClusterRefs  []corev1.ObjectReference
	MatchingClusterCount int32
	SelectedClusterCount int32
	ObservedGeneration   int64
	Conditions           []metav1.Condition
}
