// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SelectionReason says why a candidate is or is not selected.
type SelectionReason string

const (
	// SelectionSelected is a selected cluster that is ready.
	SelectionSelected SelectionReason = "Selected"
	// SelectionHeld is a selected cluster that is not ready and that no ready
	// candidate can replace: it keeps its place and its content.
	SelectionHeld SelectionReason = "Held"
	// SelectionStandby is a ready candidate for which there is no place.
	SelectionStandby SelectionReason = "Standby"
	// SelectionNotReady is a matching cluster that is not ready.
	SelectionNotReady SelectionReason = "NotReady"
	// SelectionReturning is a matching cluster from which content of an earlier
	// selection is still being withdrawn.
	SelectionReturning SelectionReason = "Returning"
	// SelectionNotMatching is a cluster that the set does not match.
	SelectionNotMatching SelectionReason = "NotMatching"
)

// ClusterState is the state of a cluster as selection sees it.
type ClusterState string

const (
	// ClusterStateReady is a cluster that can be reached and passes its checks.
	ClusterStateReady ClusterState = "Ready"
	// ClusterStateNotReady is a cluster that has been ready and is not.
	ClusterStateNotReady ClusterState = "NotReady"
	// ClusterStateNeverReady is a cluster that has not been ready yet.
	ClusterStateNeverReady ClusterState = "NeverReady"
	// ClusterStateDeleting is a cluster whose registration is being deleted.
	ClusterStateDeleting ClusterState = "Deleting"
	// ClusterStateMissing is a cluster that is selected and no longer registered.
	ClusterStateMissing ClusterState = "Missing"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Selection is what a ClusterSet or Set selects, computed when it is read. It is
// subresource selection of both; nothing of it is stored.
type Selection struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Selected   []SelectedCluster
	Counts     map[string]int32
	Candidates []SelectionCandidate
	Continue   string
	Persisted  bool
}

// SelectedCluster is a cluster that a set selects.
type SelectedCluster struct {
	APIVersion string
	Kind       string
	Namespace  string
	Name       string
	State      ClusterState
	Reason     SelectionReason
}

// SelectionCandidate is a cluster that a set could select.
type SelectionCandidate struct {
	Ref    corev1.ObjectReference
	State  ClusterState
	Reason SelectionReason
	Rank   int32
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SelectionOptions are the query parameters of subresource selection.
type SelectionOptions struct {
	metav1.TypeMeta

	Limit           int64
	Continue        string
	Reason          string
	ResourceVersion string
}
