// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/lib"
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
	Kind                  string
	Namespace             string
	Name                  string
	Path                  string
	RemoteURL             *RemoteURL
	DeploymentType        lib.DeploymentType
	Optional              bool
	Force                 bool
	SkipNamespaceCreation bool
	Tier                  int32
}

// RemoteURL is where manifests are fetched from.
type RemoteURL struct {
	URL                   string
	Interval              *metav1.Duration
	SecretRef             *lib.SecretReference
	InsecureSkipTLSVerify bool
	PlainHTTP             bool
	Template              bool
}

// KustomizationRemoteURL is where a kustomization is fetched from.
type KustomizationRemoteURL struct {
	URL                   string
	Interval              *metav1.Duration
	SecretRef             *lib.SecretReference
	InsecureSkipTLSVerify bool
	PlainHTTP             bool
}

// KustomizationRef names a source of a kustomization: an object by kind and name,
// or a URL.
type KustomizationRef struct {
	Kind                  string
	Namespace             string
	Name                  string
	Path                  string
	Components            []string
	RemoteURL             *KustomizationRemoteURL
	TargetNamespace       string
	DeploymentType        lib.DeploymentType
	Optional              bool
	Force                 bool
	SkipNamespaceCreation bool
	Tier                  int32
	Values                map[string]string
	ValuesFrom            []ValueFrom
}

// ValueFrom names a ConfigMap or Secret.
type ValueFrom struct {
	Kind      string
	Namespace string
	Name      string
	Optional  bool
}
