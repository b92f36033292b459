// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FeatureID names one of the three kinds of content that a profile deploys.
// +enum
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
// +enum
type DeploymentType string

const (
	// DeploymentTypeLocal is the host cluster, where Muster is registered.
	DeploymentTypeLocal DeploymentType = "Local"
	// DeploymentTypeRemote is the managed cluster.
	DeploymentTypeRemote DeploymentType = "Remote"
)

// ClusterType is the API that a managed cluster is registered through.
// +enum
type ClusterType string

const (
	// ClusterTypeCapi is a Cluster API cluster.
	ClusterTypeCapi ClusterType = "Capi"
	// ClusterTypeSveltos is a SveltosCluster.
	ClusterTypeSveltos ClusterType = "Sveltos"
)

// LabelOperation compares a label with a value.
// +enum
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
	// key is the name of the label.
	Key string `json:"key"`
	// operation says how the label is compared with the value.
	Operation LabelOperation `json:"operation"`
	// value is what the label is compared with. Has and DoesNotHave ignore it.
	// +optional
	Value string `json:"value,omitempty"`
}

// CELRule is a named CEL expression.
type CELRule struct {
	// name identifies the rule in messages.
	Name string `json:"name"`
	// rule is a CEL expression of type bool. The object is in variable resource.
	Rule string `json:"rule"`
}

// ResourceSelector selects objects in a managed cluster.
type ResourceSelector struct {
	// group of the objects. Empty is the core group.
	Group string `json:"group"`
	// version of the objects.
	Version string `json:"version"`
	// kind of the objects.
	Kind string `json:"kind"`
	// namespace limits the objects to one namespace.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name limits the objects to those of exactly this name.
	// +optional
	Name string `json:"name,omitempty"`
	// labelFilters limit the objects by their labels. All have to hold.
	// +listType=atomic
	// +optional
	LabelFilters []LabelFilter `json:"labelFilters,omitempty"`
	// selector limits the objects by their labels.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// evaluate is a Lua script with a function evaluate, called once for each
	// object, which is in global obj. It returns a table with a bool matching and,
	// if it likes, a string message.
	// +optional
	Evaluate string `json:"evaluate,omitempty"`
	// evaluateCEL are CEL rules. An object matches if any of them is true.
	// +listType=atomic
	// +optional
	EvaluateCEL []CELRule `json:"evaluateCEL,omitempty"`
	// includeDeletingResources keeps objects that are being deleted.
	// +optional
	IncludeDeletingResources bool `json:"includeDeletingResources,omitempty"`
}

// SecretReference names a Secret.
type SecretReference struct {
	// name of the Secret.
	// +optional
	Name string `json:"name,omitempty"`
	// namespace of the Secret.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// ValidateHealth is a check that holds back, or fails, the deployment of a
// feature until it passes.
type ValidateHealth struct {
	// name identifies the check in messages.
	Name string `json:"name"`
	// featureID is the feature that the check belongs to.
	FeatureID FeatureID `json:"featureID"`
	// group of the objects to check.
	// +optional
	Group string `json:"group,omitempty"`
	// version of the objects to check.
	// +optional
	Version string `json:"version,omitempty"`
	// kind of the objects to check.
	// +optional
	Kind string `json:"kind,omitempty"`
	// namespace limits the objects to one namespace.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// labelFilters limit the objects by their labels. All have to hold.
	// +listType=atomic
	// +optional
	LabelFilters []LabelFilter `json:"labelFilters,omitempty"`
	// script is a Lua script with a function evaluate, called once for each
	// object, which is in global obj; results of metricQueries are in global
	// metrics. It returns a table with a bool healthy and a string message.
	// +optional
	Script string `json:"script,omitempty"`
	// evaluateCEL are CEL rules. An object is healthy if any of them is true.
	// +listType=atomic
	// +optional
	EvaluateCEL []CELRule `json:"evaluateCEL,omitempty"`
	// metricSource is where metricQueries are sent.
	// +optional
	MetricSource *MetricSource `json:"metricSource,omitempty"`
	// metricQueries are evaluated before the script, which finds each result
	// under the query's name.
	// +listType=atomic
	// +optional
	MetricQueries []MetricQuery `json:"metricQueries,omitempty"`
	// jobCheck runs a Job. The check passes when the Job succeeds.
	// +optional
	JobCheck *JobCheck `json:"jobCheck,omitempty"`
}

// MetricSource is an endpoint that speaks Prometheus' query API.
type MetricSource struct {
	// url of the endpoint, without the path of the query API.
	URL string `json:"url"`
	// path of the query API below the url.
	// +optional
	// +default="api/v1/query"
	Path string `json:"path,omitempty"`
	// secretRef names the Secret with the credentials for the endpoint.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`
}

// MetricQuery is one query to a metric source.
type MetricQuery struct {
	// name is what the result is called in the script.
	Name string `json:"name"`
	// query is a PromQL expression whose result is a scalar or a vector with one
	// element.
	Query string `json:"query"`
}

// JobCheck is a Job whose success is the result of a check.
type JobCheck struct {
	// jobRef names the object that holds the manifest of the Job.
	JobRef JobReference `json:"jobRef"`
	// timeout is how long the Job may take. The default is five minutes.
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// JobReference names the ConfigMap or Secret that holds the manifest of a Job.
type JobReference struct {
	// kind is ConfigMap or Secret.
	Kind string `json:"kind"`
	// namespace of the object.
	Namespace string `json:"namespace"`
	// name of the object.
	Name string `json:"name"`
}

// Patch changes rendered objects before they are applied.
type Patch struct {
	// patch is a strategic merge patch or a JSON patch (RFC 6902), as YAML or JSON.
	// It may be a template.
	Patch string `json:"patch"`
	// target selects the objects that are changed. Without it all are.
	// +optional
	Target *PatchSelector `json:"target,omitempty"`
}

// PatchSelector selects rendered objects. An empty field selects all.
type PatchSelector struct {
	// group of the objects.
	// +optional
	Group string `json:"group,omitempty"`
	// version of the objects.
	// +optional
	Version string `json:"version,omitempty"`
	// kind of the objects.
	// +optional
	Kind string `json:"kind,omitempty"`
	// namespace of the objects.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name is a regular expression that the objects' names match.
	// +optional
	Name string `json:"name,omitempty"`
	// labelSelector selects the objects by their labels, in the syntax of
	// kubectl get --selector.
	// +optional
	LabelSelector string `json:"labelSelector,omitempty"`
	// annotationSelector selects the objects by their annotations, in the same
	// syntax.
	// +optional
	AnnotationSelector string `json:"annotationSelector,omitempty"`
}

// DriftExclusion names fields of deployed objects that others may change.
type DriftExclusion struct {
	// paths are JSON pointers (RFC 6901) to the fields.
	// +listType=atomic
	Paths []string `json:"paths"`
	// target selects the objects. Without it all are selected.
	// +optional
	Target *PatchSelector `json:"target,omitempty"`
}

// ClusterStatus is the state of something in one managed cluster.
// +enum
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
	// cluster is the managed cluster.
	Cluster corev1.ObjectReference `json:"cluster"`
	// hash is of what was deployed.
	Hash []byte `json:"hash"`
	// status is the state in the cluster.
	// +optional
	Status ClusterStatus `json:"status,omitempty"`
	// failureMessage says what failed last.
	// +optional
	FailureMessage *string `json:"failureMessage,omitempty"`
}
