// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SelectionReason says why a candidate is or is not selected.
// +enum
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
// +enum
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
	metav1.TypeMeta `json:",inline"`
	// metadata is the name and namespace of the set. The resourceVersion is the
	// revision that the selection was computed at.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// selected are all selected clusters, the one that was selected first at the
	// front.
	// +listType=atomic
	// +optional
	Selected []SelectedCluster `json:"selected,omitempty"`
	// counts is the number of clusters by reason.
	// +optional
	Counts map[string]int32 `json:"counts,omitempty"`
	// candidates are the matching clusters by rank, or those with the reason that
	// was asked for, up to the limit.
	// +listType=atomic
	// +optional
	Candidates []SelectionCandidate `json:"candidates,omitempty"`
	// continue, given back as parameter continue, gets the candidates that follow.
	// Empty means that there are no more.
	// +optional
	Continue string `json:"continue,omitempty"`
	// persisted says whether the status of the set, which controllers act on, holds
	// this selection.
	// +optional
	Persisted bool `json:"persisted"`
}

// SelectedCluster is a cluster that a set selects.
type SelectedCluster struct {
	// apiVersion of the object that registers the cluster.
	APIVersion string `json:"apiVersion"`
	// kind of that object.
	Kind string `json:"kind"`
	// namespace of that object.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of that object.
	Name string `json:"name"`
	// state of the cluster.
	State ClusterState `json:"state"`
	// reason is Selected or Held.
	Reason SelectionReason `json:"reason"`
}

// SelectionCandidate is a cluster that a set could select.
type SelectionCandidate struct {
	// ref is the object that registers the cluster.
	Ref corev1.ObjectReference `json:"ref"`
	// state of the cluster.
	State ClusterState `json:"state"`
	// reason says why the cluster is or is not selected.
	Reason SelectionReason `json:"reason"`
	// rank is the position of the cluster among all candidates, from 1. Places are
	// filled by rank. Clusters that do not match have no rank.
	// +optional
	Rank int32 `json:"rank,omitempty"`
}

// +k8s:conversion-gen:explicit-from=net/url.Values
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SelectionOptions are the query parameters of subresource selection.
type SelectionOptions struct {
	metav1.TypeMeta `json:",inline"`

	// limit is the number of candidates to return at most. Unset means 100.
	// +optional
	Limit int64 `json:"limit,omitempty"`
	// continue is the token of an earlier answer, to get the candidates that follow.
	// +optional
	Continue string `json:"continue,omitempty"`
	// reason limits the candidates to those with this reason. Clusters that do not
	// match are returned only for reason NotMatching.
	// +optional
	Reason string `json:"reason,omitempty"`
	// resourceVersion "0" answers from what the server has at hand. Unset means the
	// most recent state.
	// +optional
	ResourceVersion string `json:"resourceVersion,omitempty"`
}
