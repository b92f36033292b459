// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// tenantOf is the account that the labels of a profile name, nil if they name none. Any
// of the two labels makes it a tenant's: half a name is an account that does not exist,
// and never Muster itself.
func tenantOf(p metav1.Object) *configv1beta1.TenantServiceAccount {
	name, named := p.GetLabels()[libv1beta1.LabelServiceAccountName]
	namespace, housed := p.GetLabels()[libv1beta1.LabelServiceAccountNamespace]
	if !named && !housed {
		return nil
	}
	return &configv1beta1.TenantServiceAccount{Namespace: namespace, Name: name}
}
