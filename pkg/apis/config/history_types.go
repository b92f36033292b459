// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ProfileHistory is what a ClusterProfile or Profile has been and where it was
// deployed. It is subresource history of both.
type ProfileHistory struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Revisions []ProfileRevision
}

// ProfileRevision is a spec that a profile had, with the contents that were
// deployed with it.
type ProfileRevision struct {
	Number     int64
	Name       string
	Time       metav1.Time
	Author     string
	Cause      string
	ContentsOf int64
	State      string
	Spec       *ProfileSpec
	Sources    []RevisionSource
	Clusters   []RevisionCluster
	Obstacles  []string
}

// RevisionSource is something that was deployed from.
type RevisionSource struct {
	Kind      string
	Namespace string
	Name      string
	Digest    string
}

// RevisionCluster is how the deployment of a revision to a cluster ended.
type RevisionCluster struct {
	Cluster corev1.ObjectReference
	Time    metav1.Time
	State   string
	Message string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ProfileHistoryOptions are the query parameters of subresource history.
type ProfileHistoryOptions struct {
	metav1.TypeMeta

	Revision int64
}
