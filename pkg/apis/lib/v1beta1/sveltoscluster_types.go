// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SveltosCluster registers a managed cluster. It is ready while Muster can reach
// the cluster and the cluster's checks pass.
type SveltosCluster struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata. The labels are what selectors of sets
	// and profiles match.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how the cluster is reached and watched.
	// +optional
	Spec SveltosClusterSpec `json:"spec,omitempty,omitzero"`
	// status is what is known about the cluster.
	// +optional
	Status SveltosClusterStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SveltosClusterList is a list of SveltosClusters.
type SveltosClusterList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the clusters.
	Items []SveltosCluster `json:"items"`
}

// SveltosClusterSpec says how a managed cluster is reached and watched.
type SveltosClusterSpec struct {
	// kubeconfigName is the name of the Secret, in the namespace of this object,
	// that holds the cluster's kubeconfig. Unset means the name of this object
	// followed by -sveltos-kubeconfig.
	// +optional
	KubeconfigName string `json:"kubeconfigName,omitempty"`
	// kubeconfigKeyName is the key of the kubeconfig in that Secret. Unset means
	// any key, for a Secret that has one.
	// +optional
	KubeconfigKeyName string `json:"kubeconfigKeyName,omitempty"`
	// workloadIdentity reaches the cluster with the identity of this server at a
	// cloud provider in place of a kubeconfig. It excludes kubeconfigName.
	// +optional
	WorkloadIdentity *WorkloadIdentity `json:"workloadIdentity,omitempty"`
	// paused stops all deployment to the cluster. The cluster is still probed and
	// still matches selectors.
	// +optional
	Paused bool `json:"paused,omitempty"`
	// data is free data for templates, which find it in .Cluster.spec.data.
	// +optional
	Data map[string]string `json:"data,omitempty"`
	// tokenRequestRenewalOption renews the token in the kubeconfig regularly.
	// +optional
	TokenRequestRenewalOption *TokenRequestRenewalOption `json:"tokenRequestRenewalOption,omitempty"`
	// activeWindow is when the cluster is not paused.
	// +optional
	ActiveWindow *ActiveWindow `json:"activeWindow,omitempty"`
	// consecutiveFailureThreshold is the number of probes that fail in a row before
	// the cluster counts as down. Zero means 3.
	// +optional
	// +default=3
	ConsecutiveFailureThreshold int32 `json:"consecutiveFailureThreshold,omitempty"`
	// readinessChecks have to pass before the cluster becomes ready.
	// +listType=map
	// +listMapKey=name
	// +optional
	ReadinessChecks []ClusterCheck `json:"readinessChecks,omitempty"`
	// livenessChecks have to pass for the cluster to stay healthy.
	// +listType=map
	// +listMapKey=name
	// +optional
	LivenessChecks []ClusterCheck `json:"livenessChecks,omitempty"`
	// pullMode means that an agent in the managed cluster fetches what to deploy.
	// It cannot be changed.
	// +optional
	PullMode bool `json:"pullMode,omitempty"`
}

// WorkloadIdentityProvider is a cloud provider.
// +enum
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
	// provider is the cloud provider. The block of the same name has to be set.
	Provider WorkloadIdentityProvider `json:"provider"`
	// endpoint is the URL of the cluster's API server.
	Endpoint string `json:"endpoint"`
	// caSecretRef names the Secret, in the namespace of the cluster's object, that
	// holds the certificate authority of the API server.
	// +optional
	CASecretRef *LocalSecretReference `json:"caSecretRef,omitempty"`
	// aws identifies a cluster at Amazon Web Services.
	// +optional
	AWS *AWSWorkloadIdentity `json:"aws,omitempty"`
	// gcp identifies a cluster at Google Cloud.
	// +optional
	GCP *GCPWorkloadIdentity `json:"gcp,omitempty"`
	// azure identifies a cluster at Microsoft Azure.
	// +optional
	Azure *AzureWorkloadIdentity `json:"azure,omitempty"`
}

// LocalSecretReference names a Secret in the namespace of the referring object.
type LocalSecretReference struct {
	// name of the Secret.
	Name string `json:"name"`
}

// AWSWorkloadIdentity identifies a cluster at Amazon Web Services.
type AWSWorkloadIdentity struct {
	// clusterName is the name of the EKS cluster.
	ClusterName string `json:"clusterName"`
	// region of the cluster.
	// +optional
	Region string `json:"region,omitempty"`
	// roleARN is the role to assume.
	// +optional
	RoleARN string `json:"roleARN,omitempty"`
}

// GCPWorkloadIdentity identifies a cluster at Google Cloud.
type GCPWorkloadIdentity struct {
	// projectID is the project of the cluster.
	ProjectID string `json:"projectID"`
	// location is the region or zone of the cluster.
	Location string `json:"location"`
	// clusterName is the name of the GKE cluster.
	ClusterName string `json:"clusterName"`
}

// AzureWorkloadIdentity identifies a cluster at Microsoft Azure.
type AzureWorkloadIdentity struct {
	// tenantID is the Entra tenant.
	TenantID string `json:"tenantID"`
	// clientID is the application whose identity is used.
	ClientID string `json:"clientID"`
	// subscriptionID is the subscription of the cluster.
	// +optional
	SubscriptionID string `json:"subscriptionID,omitempty"`
	// resourceGroup of the cluster.
	// +optional
	ResourceGroup string `json:"resourceGroup,omitempty"`
	// clusterName is the name of the AKS cluster.
	// +optional
	ClusterName string `json:"clusterName,omitempty"`
}

// TokenRequestRenewalOption renews the token in a kubeconfig.
type TokenRequestRenewalOption struct {
	// renewTokenRequestInterval is the time between two renewals.
	RenewTokenRequestInterval metav1.Duration `json:"renewTokenRequestInterval"`
	// tokenDuration is how long a token is valid. Unset means half an hour longer
	// than the interval.
	// +optional
	TokenDuration *metav1.Duration `json:"tokenDuration,omitempty"`
	// saNamespace is the namespace of the ServiceAccount, in the managed cluster,
	// that the token is for.
	// +optional
	SANamespace string `json:"saNamespace,omitempty"`
	// saName is the name of that ServiceAccount.
	// +optional
	SAName string `json:"saName,omitempty"`
	// kubeconfigKeyName is the key in the kubeconfig Secret that the renewed
	// kubeconfig is written to.
	// +optional
	KubeconfigKeyName string `json:"kubeconfigKeyName,omitempty"`
}

// ActiveWindow is a repeated span of time, in UTC.
type ActiveWindow struct {
	// from is when the window opens, in cron format.
	From string `json:"from"`
	// to is when the window closes, in cron format.
	To string `json:"to"`
}

// ClusterCheck is a check of a managed cluster by what is in it.
type ClusterCheck struct {
	// name identifies the check.
	Name string `json:"name"`
	// resourceSelectors select the objects that the condition is given.
	// +listType=atomic
	ResourceSelectors []ResourceSelector `json:"resourceSelectors"`
	// condition is a Lua script with a function evaluate, called once with the
	// selected objects in global resources. It returns a table with a bool pass and
	// a string message.
	Condition string `json:"condition"`
}

// ConnectionStatus says whether a cluster can be reached.
// +enum
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
	// ready is true while the cluster can be reached and its checks pass.
	// +optional
	Ready bool `json:"ready,omitempty"`
	// connectionStatus says whether the cluster can be reached.
	// +optional
	ConnectionStatus ConnectionStatus `json:"connectionStatus,omitempty"`
	// connectionFailures is the number of probes that failed in a row, up to the
	// threshold.
	// +optional
	ConnectionFailures int32 `json:"connectionFailures,omitempty"`
	// version is the Kubernetes version of the cluster, as in v1.37.0.
	// +optional
	Version string `json:"version,omitempty"`
	// failureMessage says why the cluster is not ready.
	// +optional
	FailureMessage *string `json:"failureMessage,omitempty"`
	// lastReconciledTokenRequestAt is when the token was renewed last, in RFC 3339.
	// +optional
	LastReconciledTokenRequestAt string `json:"lastReconciledTokenRequestAt,omitempty"`
	// nextPause is when the active window closes.
	// +optional
	NextPause *metav1.Time `json:"nextPause,omitempty"`
	// nextUnpause is when the active window opens.
	// +optional
	NextUnpause *metav1.Time `json:"nextUnpause,omitempty"`
	// activeWindowHash is of the window that nextPause and nextUnpause were computed
	// from.
	// +optional
	ActiveWindowHash []byte `json:"activeWindowHash,omitempty"`
	// agentLastReportTime is when the agent of a cluster in pull mode reported last.
	// +optional
	AgentLastReportTime *metav1.Time `json:"agentLastReportTime,omitempty"`
	// clusterID is the UID of the cluster's namespace kube-system: who the cluster
	// is, whatever its address or name.
	// +optional
	ClusterID string `json:"clusterID,omitempty"`
	// observedGeneration is the generation of the spec that the status is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are the states of the cluster, with the time of their last change.
	// +listType=map
	// +listMapKey=type
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}
