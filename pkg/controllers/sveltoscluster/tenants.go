// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// The labels of a Secret with the kubeconfig of a tenant's account, as upstream's
// RoleRequest makes it, and its key.
const (
	labelRoleCluster          = "projectsveltos.io/role-cluster"
	labelRoleAccount          = "projectsveltos.io/role-service-account-name"
	labelRoleAccountNamespace = "projectsveltos.io/role-service-account-namespace"

	tenantKubeconfigKey = "kubeconfig"
)

// Tenants reads the kubeconfigs of tenants' accounts from the host, whenever they are
// asked for.
type Tenants struct {
	// Host reads Secrets of the host cluster, not through a cache.
	Host client.Reader
}

var _ fleet.TenantSource = &Tenants{}

// TenantSecretName is upstream's name of the Secret, in the cluster's namespace, with the
// kubeconfig of a tenant's account in a cluster.
func TenantSecretName(cluster string, as fleet.Identity) string {
	sum := sha256.Sum256([]byte(cluster + as.ServiceAccountNamespace + as.ServiceAccountName))
	return "sveltos-" + hex.EncodeToString(sum[:])
}

// TenantSecretLabels are those that tell for which account and cluster the Secret is.
func TenantSecretLabels(cluster string, as fleet.Identity) map[string]string {
	return map[string]string{
		labelRoleCluster:          cluster,
		labelRoleAccount:          as.ServiceAccountName,
		labelRoleAccountNamespace: as.ServiceAccountNamespace,
	}
}

// Token implements fleet.TenantSource. The labels have to be right as well: two accounts
// whose names make the same text together have one name of the Secret between them.
func (t *Tenants) Token(ctx context.Context, ref fleet.Ref, as fleet.Identity) (string, error) {
	name := types.NamespacedName{Namespace: ref.Namespace, Name: TenantSecretName(ref.Name, as)}
	secret := &corev1.Secret{}
	err := t.Host.Get(ctx, name, secret)
	if apierrors.IsNotFound(err) {
		return "", &fleet.CredentialsError{
			Reason: libv1beta1.ReasonCredentialsMissing,
			Message: fmt.Sprintf("ServiceAccount %s/%s has no rights on %s: Secret %s, which should hold its kubeconfig, does not exist",
				as.ServiceAccountNamespace, as.ServiceAccountName, ref, name),
		}
	}
	if err != nil {
		return "", fmt.Errorf("reading Secret %s of the host: %w", name, err)
	}
	labels := TenantSecretLabels(ref.Name, as)
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if value := labels[label]; secret.Labels[label] != value {
			return "", &fleet.CredentialsError{
				Reason: libv1beta1.ReasonCredentialsInvalid,
				Message: fmt.Sprintf("Secret %s is not the one of ServiceAccount %s/%s on %s: it should have the label %s=%s",
					name, as.ServiceAccountNamespace, as.ServiceAccountName, ref, label, value),
			}
		}
	}
	token, err := fleet.ParseToken(secret.Data[tenantKubeconfigKey])
	var invalid *fleet.CredentialsError
	if errors.As(err, &invalid) {
		return "", &fleet.CredentialsError{
			Reason:  invalid.Reason,
			Message: fmt.Sprintf("Secret %s, key %s: %s", name, tenantKubeconfigKey, invalid.Message),
		}
	}
	return token, err
}
