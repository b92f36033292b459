// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSet selects managed clusters of any namespace, and of those that match
// keeps a number active. Profiles deploy to the clusters that a set selects.
type ClusterSet struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which clusters match, and how many of them are selected.
	// +optional
	Spec ClusterSetSpec `json:"spec,omitempty,omitzero"`
	// status is the selection as last decided.
	// +optional
	Status ClusterSetStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSetList is a list of ClusterSets.
type ClusterSetList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the sets.
	Items []ClusterSet `json:"items"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Set selects managed clusters of its own namespace, and of those that match
// keeps a number active. Profiles of the namespace deploy to the clusters that a
// set selects.
type Set struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which clusters match, and how many of them are selected.
	// +optional
	Spec ClusterSetSpec `json:"spec,omitempty,omitzero"`
	// status is the selection as last decided.
	// +optional
	Status ClusterSetStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SetList is a list of Sets.
type SetList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the sets.
	Items []Set `json:"items"`
}

// ClusterSetSpec is the spec of a ClusterSet and of a Set. A cluster matches if
// the selector matches its labels or a reference names it.
type ClusterSetSpec struct {
	// clusterSelector matches clusters by their labels, in the syntax of kubectl get
	// --selector. An empty one matches none.
	// +optional
	ClusterSelector string `json:"clusterSelector,omitempty"`
	// clusterRefs name clusters that match whatever their labels.
	// +listType=atomic
	// +optional
	ClusterRefs []corev1.ObjectReference `json:"clusterRefs,omitempty"`
	// maxReplicas is how many of the matching clusters are selected at most. Zero,
	// or unset, selects none.
	// +optional
	MaxReplicas int32 `json:"maxReplicas,omitempty"`
}

// ClusterSetStatus is the status of a ClusterSet and of a Set. Who is a candidate,
// and why each one is or is not selected, is in subresource selection.
type ClusterSetStatus struct {
	// matchingClusterRefs are matching clusters that are ready, the first 500 by
	// rank.
	// +listType=atomic
	// +optional
	MatchingClusterRefs []corev1.ObjectReference `json:"matchingClusterRefs,omitempty"`
	// selectedClusterRefs are the selected clusters, the one that was selected first
	// at the front.
	// +listType=atomic
	// +optional
	SelectedClusterRefs []corev1.ObjectReference `json:"selectedClusterRefs,omitempty"`
	// matchingClusterCount is the number of all matching clusters that are ready.
	// +optional
	MatchingClusterCount int32 `json:"matchingClusterCount,omitempty"`
	// selectedClusterCount is the number of selected clusters.
	// +optional
	SelectedClusterCount int32 `json:"selectedClusterCount,omitempty"`
	// observedGeneration is the generation of the spec that the status is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are the states of the set, with the time of their last change.
	// +listType=map
	// +listMapKey=type
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}
