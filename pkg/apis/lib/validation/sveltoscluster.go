// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/apis/unsupported"
)

const (
	// maxFailureThreshold is far beyond what anybody waits for.
	maxFailureThreshold = 1000
	// maxDataSize is what all keys and values of spec.data may have together, in
	// bytes.
	maxDataSize = 256 << 10
)

var clusterTable = unsupported.Table[lib.SveltosClusterSpec]{
	{
		Path: "workloadIdentity", Reason: "a cluster is reached with a kubeconfig",
		Value: func(s *lib.SveltosClusterSpec) any { return s.WorkloadIdentity },
	},
	{
		Path: "tokenRequestRenewalOption", Reason: "tokens are not renewed; a kubeconfig Secret that is replaced takes effect at once",
		Value: func(s *lib.SveltosClusterSpec) any { return s.TokenRequestRenewalOption },
	},
	{
		Path: "pullMode", Reason: "Muster connects to a cluster; no agent in it does",
		Value: func(s *lib.SveltosClusterSpec) any { return s.PullMode },
	},
}

var clusterMetaTable = unsupported.Table[metav1.ObjectMeta]{
	AnnotationRefused(v1beta1.AnnotationShard, "clusters are not sharded; one Muster serves them all"),
	AnnotationRefused(v1beta1.AnnotationDriftDetectionConfig, "there is no agent in the cluster to configure"),
	AnnotationRefused(v1beta1.AnnotationSveltosAgentConfig, "there is no agent in the cluster to configure"),
	AnnotationRefused(v1beta1.AnnotationSveltosApplierConfig, "there is no agent in the cluster to configure"),
}

// ValidateSveltosCluster checks a cluster that is being created.
func ValidateSveltosCluster(cluster *lib.SveltosCluster) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&cluster.ObjectMeta, true, ValidateLabelledName, field.NewPath("metadata"))
	return append(errs, validateSveltosCluster(cluster)...)
}

// ValidateSveltosClusterUpdate checks a cluster that is being changed.
func ValidateSveltosClusterUpdate(cluster, old *lib.SveltosCluster) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&cluster.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, Ratchet(validateSveltosCluster(cluster), validateSveltosCluster(old))...)
}

// ValidateSveltosClusterStatusUpdate checks a cluster whose status is being changed.
func ValidateSveltosClusterStatusUpdate(cluster, old *lib.SveltosCluster) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&cluster.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	path := field.NewPath("status")
	return append(errs, Ratchet(validateClusterStatus(&cluster.Status, path), validateClusterStatus(&old.Status, path))...)
}

func validateSveltosCluster(cluster *lib.SveltosCluster) field.ErrorList {
	errs := clusterMetaTable.Validate(&cluster.ObjectMeta, field.NewPath("metadata"))
	errs = append(errs, validateSwitch(&cluster.ObjectMeta, v1beta1.AnnotationFence)...)
	return append(errs, validateClusterSpec(&cluster.Spec, field.NewPath("spec"))...)
}

func validateClusterSpec(spec *lib.SveltosClusterSpec, path *field.Path) field.ErrorList {
	errs := clusterTable.Validate(spec, path)
	if name := spec.KubeconfigName; name != "" {
		errs = append(errs, Invalid(path.Child("kubeconfigName"), name, apivalidation.NameIsDNSSubdomain(name, false))...)
	}
	if key := spec.KubeconfigKeyName; key != "" {
		errs = append(errs, Invalid(path.Child("kubeconfigKeyName"), key, utilvalidation.IsConfigMapKey(key))...)
	}
	if n := spec.ConsecutiveFailureThreshold; n < 1 || n > maxFailureThreshold {
		problem := utilvalidation.InclusiveRangeError(1, maxFailureThreshold)
		errs = append(errs, field.Invalid(path.Child("consecutiveFailureThreshold"), n, problem))
	}
	size := 0
	for key, value := range spec.Data {
		size += len(key) + len(value)
	}
	if size > maxDataSize {
		errs = append(errs, field.TooLong(path.Child("data"), "", maxDataSize))
	}
	errs = append(errs, validateActiveWindow(spec.ActiveWindow, path.Child("activeWindow"))...)
	errs = append(errs, validateClusterChecks(spec.ReadinessChecks, path.Child("readinessChecks"))...)
	return append(errs, validateClusterChecks(spec.LivenessChecks, path.Child("livenessChecks"))...)
}

func validateClusterStatus(status *lib.SveltosClusterStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch status.ConnectionStatus {
	case "", lib.ConnectionHealthy, lib.ConnectionDown:
	default:
		errs = append(errs, field.NotSupported(path.Child("connectionStatus"), status.ConnectionStatus,
			[]lib.ConnectionStatus{lib.ConnectionHealthy, lib.ConnectionDown}))
	}
	if status.ConnectionFailures < 0 {
		errs = append(errs, field.Invalid(path.Child("connectionFailures"), status.ConnectionFailures, apivalidation.IsNegativeErrorMsg))
	}
	return append(errs, ValidateConditions(status.Conditions, path.Child("conditions"))...)
}
