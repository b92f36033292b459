// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ProfileHistory is what a ClusterProfile or Profile has been and where it was
// deployed, read from what was recorded then. It is subresource history of both.
type ProfileHistory struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the name and namespace of the profile.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// revisions are the specs and contents that the profile had, the latest first.
	// +listType=atomic
	// +optional
	Revisions []ProfileRevision `json:"revisions,omitempty"`
}

// ProfileRevision is a spec that a profile had, with the contents that were
// deployed with it.
type ProfileRevision struct {
	// number counts the revisions of the profile from 1.
	Number int64 `json:"number"`
	// name is the name of the stored spec, which ClusterSummaries refer to. Revisions
	// that differ in nothing but contents may share it.
	Name string `json:"name"`
	// time is when the profile came to be so.
	Time metav1.Time `json:"time"`
	// author is the field manager that wrote the spec, as far as it is known.
	// +optional
	Author string `json:"author,omitempty"`
	// cause says what made the revision: Spec, Contents or Rollback.
	// +optional
	Cause string `json:"cause,omitempty"`
	// contentsOf is the number of the revision whose contents are deployed, if it is
	// a rollback.
	// +optional
	ContentsOf int64 `json:"contentsOf,omitempty"`
	// state is Deployed, Deploying, Failed or Superseded.
	// +optional
	State string `json:"state,omitempty"`
	// spec is the profile's spec. It is given where one revision is asked for.
	// +optional
	Spec *ProfileSpec `json:"spec,omitempty"`
	// sources are what was deployed from.
	// +listType=atomic
	// +optional
	Sources []RevisionSource `json:"sources,omitempty"`
	// clusters are those that the revision was deployed to, or was tried to be.
	// +listType=atomic
	// +optional
	Clusters []RevisionCluster `json:"clusters,omitempty"`
	// obstacles say why the contents of the revision cannot be deployed again. They
	// are given where one revision is asked for.
	// +listType=atomic
	// +optional
	Obstacles []string `json:"obstacles,omitempty"`
}

// RevisionSource is something on the host, or at a URL, that was deployed from.
type RevisionSource struct {
	// kind is ConfigMap, Secret, URL or one of Flux's sources. Of an object that templates
	// see it is the apiVersion and the kind, as in apps/v1/Deployment.
	Kind string `json:"kind"`
	// namespace of the object.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the object, or the URL without what is secret in it. That of a source of
	// Flux has the path behind it of which the contents were deployed.
	Name string `json:"name"`
	// digest of the contents. A Secret has none: it would help to guess what is in it.
	// +optional
	Digest string `json:"digest,omitempty"`
}

// RevisionCluster is how the deployment of a revision to a cluster ended.
type RevisionCluster struct {
	// cluster is the managed cluster.
	Cluster corev1.ObjectReference `json:"cluster"`
	// time is when it ended.
	Time metav1.Time `json:"time"`
	// state is Deployed, Deploying or Failed.
	State string `json:"state"`
	// message says what went wrong.
	// +optional
	Message string `json:"message,omitempty"`
}

// +k8s:conversion-gen:explicit-from=net/url.Values
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ProfileHistoryOptions are the query parameters of subresource history.
type ProfileHistoryOptions struct {
	metav1.TypeMeta `json:",inline"`

	// revision is the number of the one revision that is asked for. 0 means all,
	// without their specs and obstacles.
	// +optional
	Revision int64 `json:"revision,omitempty"`
}
