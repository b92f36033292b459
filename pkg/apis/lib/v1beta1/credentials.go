// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What ConditionCredentialsValid says around the version.
const (
	beforeVersion = "The cluster accepts the kubeconfig of version "
	afterVersion  = " of its Secret."
)

// CredentialsVersion tells one state of the Secret with a kubeconfig from another.
func CredentialsVersion(secret metav1.Object) string {
	return string(secret.GetUID()) + "/" + secret.GetResourceVersion()
}

// CredentialsAccepted is the message of ConditionCredentialsValid while the cluster
// accepts the credentials of this version, empty if that is not known.
func CredentialsAccepted(version string) string {
	if version == "" {
		return ""
	}
	return beforeVersion + version + afterVersion
}

// AcceptedCredentials is the version of the credentials that the cluster accepts,
// empty if it accepts none or that is not known. Who has stored others knows by it
// that Ready does not speak of those yet.
func AcceptedCredentials(conditions []metav1.Condition) string {
	valid := meta.FindStatusCondition(conditions, ConditionCredentialsValid)
	if valid == nil || valid.Status != metav1.ConditionTrue {
		return ""
	}
	version, found := strings.CutPrefix(valid.Message, beforeVersion)
	if !found {
		return ""
	}
	return strings.TrimSuffix(version, afterVersion)
}
