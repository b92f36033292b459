// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Diff is what applying a profile now would change. It is computed when it is read.
type Diff struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Clusters []ClusterDiff
}

// ClusterDiff is what applying a profile now would change in one managed cluster.
type ClusterDiff struct {
	Cluster        corev1.ObjectReference
	Releases       []ReleaseReport
	Resources      []ResourceReport
	Warnings       []string
	FailureMessage string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// DiffOptions are the query parameters of subresource diff.
type DiffOptions struct {
	metav1.TypeMeta

	Cluster string
}
