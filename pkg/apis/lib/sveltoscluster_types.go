// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SveltosCluster registers a managed cluster. It is ready while Muster can reach
// the cluster and the cluster's checks pass.
type SveltosCluster struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   SveltosClusterSpec
	Status SveltosClusterStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SveltosClusterList is a list of SveltosClusters.
type SveltosClusterList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []SveltosCluster
}

// SveltosClusterSpec says how a managed cluster is reached and watched.
type SveltosClusterSpec struct {
	KubeconfigName              string
	KubeconfigKeyName           string
	WorkloadIdentity            *WorkloadIdentity
	Paused                      bool
	Data                        map[string]string
	TokenRequestRenewalOption   *TokenRequestRenewalOption
	ActiveWindow                *ActiveWindow
	ConsecutiveFailureThreshold int32
	ReadinessChecks             []ClusterCheck
	LivenessChecks              []ClusterCheck
	PullMode                    bool
}

// WorkloadIdentityProvider is a cloud provider.
type WorkloadIdentityProvider string

const (
	// WorkloadIdentityProviderAWS is Amazon Web Services.
	WorkloadIdentityProviderAWS WorkloadIdentityProvider = "AWS"
	// WorkloadIdentityProviderGCP is Google Cloud.
	WorkloadIdentityProviderGCP WorkloadIdentityProvider = "GCP"
	// WorkloadIdentityProviderAzure is Microsoft Azure.
	WorkloadIdentityProviderAzure WorkloadIdentityProvider = "Azure"
)

// WorkloadIdentity reaches a cluster without a stored secret.
type WorkloadIdentity struct {
	Provider    WorkloadIdentityProvider
	Endpoint    string
	CASecretRef *LocalSecretReference
	AWS         *AWSWorkloadIdentity
	GCP         *GCPWorkloadIdentity
	Azure       *AzureWorkloadIdentity
}

// LocalSecretReference names a Secret in the namespace of the referring object.
type LocalSecretReference struct {
	Name string
}

// AWSWorkloadIdentity identifies a cluster at Amazon Web Services.
type AWSWorkloadIdentity struct {
	ClusterName string
	Region      string
	RoleARN     string
}

// GCPWorkloadIdentity identifies a cluster at Google Cloud.
type GCPWorkloadIdentity struct {
	ProjectID   string
	Location    string
	ClusterName string
}

// AzureWorkloadIdentity identifies a cluster at Microsoft Azure.
type AzureWorkloadIdentity struct {
	TenantID       string
	ClientID       string
	SubscriptionID string
	ResourceGroup  string
	ClusterName    string
}

// TokenRequestRenewalOption renews the token in a kubeconfig.
type TokenRequestRenewalOption struct {
	RenewTokenRequestInterval metav1.Duration
	TokenDuration             *metav1.Duration
	SANamespace               string
	SAName                    string
	KubeconfigKeyName         string
}

// ActiveWindow is a repeated span of time, in UTC.
type ActiveWindow struct {
	From string
	To   string
}

// ClusterCheck is a check of a managed cluster by what is in it.
type ClusterCheck struct {
	Name              string
	ResourceSelectors []ResourceSelector
	Condition         string
}

// ConnectionStatus says whether a cluster can be reached.
type ConnectionStatus string

const (
	// ConnectionHealthy means that the last probes succeeded.
	ConnectionHealthy ConnectionStatus = "Healthy"
	// ConnectionDown means that as many probes failed as the threshold says.
	ConnectionDown ConnectionStatus = "Down"
)

// SveltosClusterStatus is what is known about a managed cluster. It is written
// when something changes, not when it is observed.
type SveltosClusterStatus struct {
	Ready                        bool
	ConnectionStatus             ConnectionStatus
	ConnectionFailures           int32
	Version                      string
	FailureMessage               *string
	LastReconciledTokenRequestAt string
	NextPause                    *metav1.Time
	NextUnpause                  *metav1.Time
	ActiveWindowHash             []byte
	AgentLastReportTime          *metav1.Time
	ClusterID                    string
	ObservedGeneration           int64
	Conditions                   []metav1.Condition
}
