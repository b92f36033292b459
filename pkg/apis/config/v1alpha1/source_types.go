// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	lib "github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
)

// Kinds of objects that hold manifests, values or patches.
const (
	// SourceKindConfigMap is a ConfigMap of the host cluster.
	SourceKindConfigMap = "ConfigMap"
	// SourceKindSecret is a Secret of the host cluster.
	SourceKindSecret = "Secret"
	// SourceKindGitRepository is a Flux source.
	SourceKindGitRepository = "GitRepository"
	// SourceKindOCIRepository is a Flux source.
	SourceKindOCIRepository = "OCIRepository"
	// SourceKindBucket is a Flux source.
	SourceKindBucket = "Bucket"
)

// PolicyRef names a source of manifests: an object by kind and name, or a URL.
type PolicyRef struct {
	// kind is ConfigMap, Secret, GitRepository, OCIRepository or Bucket.
	// +optional
	Kind string `json:"kind,omitempty"`
	// namespace of the object; may be a template. Unset means the cluster's.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the object; may be a template.
	// +optional
	Name string `json:"name,omitempty"`
	// path is the directory in a Flux source; may be a template.
	// +optional
	Path string `json:"path,omitempty"`
	// remoteURL is where the manifests are fetched from. It excludes kind and name.
	// +optional
	RemoteURL *RemoteURL `json:"remoteURL,omitempty"`
	// deploymentType says into which cluster the manifests go.
	// +optional
	// +default="Remote"
	DeploymentType lib.DeploymentType `json:"deploymentType,omitempty"`
	// optional means that the source may be missing.
	// +optional
	Optional bool `json:"optional,omitempty"`
	// force deletes objects and creates them anew where the cluster refuses to change
	// them, for an immutable field for example.
	// +optional
	Force bool `json:"force,omitempty"`
	// skipNamespaceCreation does not create namespaces that objects need.
	// +optional
	SkipNamespaceCreation bool `json:"skipNamespaceCreation,omitempty"`
	// tier decides between references of the profile that deploy the same object: the
	// lower one wins.
	// +optional
	// +default=100
	Tier int32 `json:"tier,omitempty"`
}

// RemoteURL is where manifests are fetched from.
type RemoteURL struct {
	// url starts with http://, https:// or oci://.
	URL string `json:"url"`
	// interval is the time between two fetches. The default is five minutes.
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// secretRef names the Secret with the credentials: keys token, or username and
	// password, and caFile.
	// +optional
	SecretRef *lib.SecretReference `json:"secretRef,omitempty"`
	// insecureSkipTLSVerify accepts any certificate of the server.
	// +optional
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty"`
	// plainHTTP talks to an OCI registry without TLS.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`
	// template means that the content is a template.
	// +optional
	Template bool `json:"template,omitempty"`
}

// KustomizationRemoteURL is where a kustomization is fetched from.
type KustomizationRemoteURL struct {
	// url starts with http://, https:// or oci://.
	URL string `json:"url"`
	// interval is the time between two fetches. The default is five minutes.
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// secretRef names the Secret with the credentials: keys token, or username and
	// password, and caFile.
	// +optional
	SecretRef *lib.SecretReference `json:"secretRef,omitempty"`
	// insecureSkipTLSVerify accepts any certificate of the server.
	// +optional
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty"`
	// plainHTTP talks to an OCI registry without TLS.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`
}

// KustomizationRef names a source of a kustomization: an object by kind and name,
// or a URL.
type KustomizationRef struct {
	// kind is ConfigMap, Secret, GitRepository, OCIRepository or Bucket.
	// +optional
	Kind string `json:"kind,omitempty"`
	// namespace of the object; may be a template. Unset means the cluster's.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the object; may be a template.
	// +optional
	Name string `json:"name,omitempty"`
	// path is the directory of the kustomization; may be a template.
	// +optional
	Path string `json:"path,omitempty"`
	// components are directories of components that are added; may be templates.
	// +listType=atomic
	// +optional
	Components []string `json:"components,omitempty"`
	// remoteURL is where the source is fetched from. It excludes kind and name.
	// +optional
	RemoteURL *KustomizationRemoteURL `json:"remoteURL,omitempty"`
	// targetNamespace is the namespace of the objects, whatever the kustomization
	// says.
	// +optional
	TargetNamespace string `json:"targetNamespace,omitempty"`
	// deploymentType says into which cluster the objects go.
	// +optional
	// +default="Remote"
	DeploymentType lib.DeploymentType `json:"deploymentType,omitempty"`
	// optional means that the source may be missing.
	// +optional
	Optional bool `json:"optional,omitempty"`
	// force deletes objects and creates them anew where the cluster refuses to change
	// them, for an immutable field for example.
	// +optional
	Force bool `json:"force,omitempty"`
	// skipNamespaceCreation does not create namespaces that objects need.
	// +optional
	SkipNamespaceCreation bool `json:"skipNamespaceCreation,omitempty"`
	// tier decides between references of the profile that deploy the same object: the
	// lower one wins.
	// +optional
	// +default=100
	Tier int32 `json:"tier,omitempty"`
	// values are for templates in the source.
	// +optional
	Values map[string]string `json:"values,omitempty"`
	// valuesFrom are ConfigMaps and Secrets with more values.
	// +listType=atomic
	// +optional
	ValuesFrom []ValueFrom `json:"valuesFrom,omitempty"`
}

// ValueFrom names a ConfigMap or Secret.
type ValueFrom struct {
	// kind is ConfigMap or Secret.
	Kind string `json:"kind"`
	// namespace of the object; may be a template. Unset means the cluster's.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the object; may be a template.
	Name string `json:"name"`
	// optional means that the object may be missing.
	// +optional
	Optional bool `json:"optional,omitempty"`
}
