// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FeatureID names one of the three kinds of content that a profile deploys.
type FeatureID string

const (
	// FeatureResources is content of policyRefs.
	FeatureResources FeatureID = "Resources"
	// FeatureHelm is content of helmCharts.
	FeatureHelm FeatureID = "Helm"
	// FeatureKustomize is content of kustomizationRefs.
	FeatureKustomize FeatureID = "Kustomize"
)

// DeploymentType says into which cluster content goes.
type DeploymentType string

const (
	// DeploymentTypeLocal is the host cluster, where Muster is registered.
	DeploymentTypeLocal DeploymentType = "Local"
	// DeploymentTypeRemote is the managed cluster.
	DeploymentTypeRemote DeploymentType = "Remote"
)

// ClusterType is the API that a managed cluster is registered through.
type ClusterType string

const (
	// ClusterTypeCapi is a Cluster API cluster.
	ClusterTypeCapi ClusterType = "Capi"
	// ClusterTypeSveltos is a SveltosCluster.
	ClusterTypeSveltos ClusterType = "Sveltos"
)

// LabelOperation compares a label with a value.
type LabelOperation string

const (
	// LabelOperationEqual holds if the label has the value.
	LabelOperationEqual LabelOperation = "Equal"
	// LabelOperationDifferent holds if the label does not have the value.
	LabelOperationDifferent LabelOperation = "Different"
	// LabelOperationHas holds if the label is there, whatever its value.
	LabelOperationHas LabelOperation = "Has"
	// LabelOperationDoesNotHave holds if the label is not there.
	LabelOperationDoesNotHave LabelOperation = "DoesNotHave"
)

// LabelFilter is one condition on an object's labels.
type LabelFilter struct {
	Key       string
	Operation LabelOperation
	Value     string
}

// CELRule is a named CEL expression.
type CELRule struct {
	Name string
	Rule string
}

// ResourceSelector selects objects in a managed cluster.
type ResourceSelector struct {
	Group                    string
	Version                  string
	Kind                     string
	Namespace                string
	Name                     string
	LabelFilters             []LabelFilter
	Selector                 *metav1.LabelSelector
	Evaluate                 string
	EvaluateCEL              []CELRule
	IncludeDeletingResources bool
}

// SecretReference names a Secret.
type SecretReference struct {
	Name      string
	Namespace string
}

// ValidateHealth is a check that holds back, or fails, the deployment of a
// feature until it passes.
type ValidateHealth struct {
	Name          string
	FeatureID     FeatureID
	Group         string
	Version       string
	Kind          string
	Namespace     string
	LabelFilters  []LabelFilter
	Script        string
	EvaluateCEL   []CELRule
	MetricSource  *MetricSource
	MetricQueries []MetricQuery
	JobCheck      *JobCheck
}

// MetricSource is an endpoint that speaks Prometheus' query API.
type MetricSource struct {
	URL       string
	Path      string
	SecretRef *SecretReference
}

// MetricQuery is one query to a metric source.
type MetricQuery struct {
	Name  string
	Query string
}

// JobCheck is a Job whose success is the result of a check.
type JobCheck struct {
	JobRef  JobReference
	Timeout *metav1.Duration
}

// JobReference names the ConfigMap or Secret that holds the manifest of a Job.
type JobReference struct {
	Kind      string
	Namespace string
	Name      string
}

// Patch changes rendered objects before they are applied.
type Patch struct {
	Patch  string
	Target *PatchSelector
}

// PatchSelector selects rendered objects. An empty field selects all.
type PatchSelector struct {
	Group              string
	Version            string
	Kind               string
	Namespace          string
	Name               string
	LabelSelector      string
	AnnotationSelector string
}

// DriftExclusion names fields of deployed objects that others may change.
type DriftExclusion struct {
	Paths  []string
	Target *PatchSelector
}

// ClusterStatus is the state of something in one managed cluster.
type ClusterStatus string

const (
	// ClusterStatusProvisioning means that deployment has begun and not ended.
	ClusterStatusProvisioning ClusterStatus = "Provisioning"
	// ClusterStatusProvisioned means that everything is deployed.
	ClusterStatusProvisioned ClusterStatus = "Provisioned"
	// ClusterStatusFailed means that deployment failed and is tried again.
	ClusterStatusFailed ClusterStatus = "Failed"
	// ClusterStatusFailedNonRetriable means that deployment failed and waits for a
	// change.
	ClusterStatusFailedNonRetriable ClusterStatus = "FailedNonRetriable"
	// ClusterStatusRemoving means that withdrawal has begun and not ended.
	ClusterStatusRemoving ClusterStatus = "Removing"
	// ClusterStatusRemoved means that everything is withdrawn.
	ClusterStatusRemoved ClusterStatus = "Removed"
)

// ClusterInfo is the state of something in one managed cluster, by cluster.
type ClusterInfo struct {
	Cluster        corev1.ObjectReference
	Hash           []byte
	Status         ClusterStatus
	FailureMessage *string
}
