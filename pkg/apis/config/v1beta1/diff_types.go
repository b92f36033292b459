// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Diff is what applying a profile now would change: subresource diff of ClusterProfiles
// and Profiles. It is computed when it is read, by dry runs, and changes nothing.
type Diff struct {
	metav1.TypeMeta `json:",inline"`
	// metadata has the name and namespace of the profile.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// clusters are those that the profile matches or has deployed something to, or the
	// one that was asked for.
	// +listType=atomic
	Clusters []ClusterDiff `json:"clusters"`
}

// ClusterDiff is what applying a profile now would change in one managed cluster.
type ClusterDiff struct {
	// cluster is the managed cluster.
	Cluster corev1.ObjectReference `json:"cluster"`
	// releases are those that the profile asks for or has deployed, in the order of
	// deployment, those that would be removed last.
	// +listType=atomic
	// +optional
	Releases []ReleaseReport `json:"releases,omitempty"`
	// resources are the objects that the profile asks for or has deployed, those of
	// releases included, in the order of deployment, those that would be removed last.
	// The message of an object that would change is a unified diff, in which the values
	// of Secrets are masked.
	// +listType=atomic
	// +optional
	Resources []ResourceReport `json:"resources,omitempty"`
	// warnings are what the API server of the cluster and its admission webhooks warn of.
	// +listType=atomic
	// +optional
	Warnings []string `json:"warnings,omitempty"`
	// failureMessage says why not everything is known: a source that cannot be read, a
	// cluster that does not answer.
	// +optional
	FailureMessage string `json:"failureMessage,omitempty"`
}

// +k8s:conversion-gen:explicit-from=net/url.Values
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// DiffOptions are the query parameters of subresource diff.
type DiffOptions struct {
	metav1.TypeMeta `json:",inline"`

	// cluster limits the answer to one cluster, as in namespace/name.
	// +optional
	Cluster string `json:"cluster,omitempty"`
}
