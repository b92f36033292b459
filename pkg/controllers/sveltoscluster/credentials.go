// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/fleet"
)

// Credentials reads the kubeconfigs of SveltosClusters from the host, whenever
// they are asked for: Secrets are watched by their metadata only and their
// contents are never kept.
type Credentials struct {
	// Clusters reads SveltosClusters.
	Clusters client.Reader
	// Host reads Secrets of the host cluster, not through a cache.
	Host client.Reader
	// Secrets reads the metadata of Secrets from a cache, whose watch wakes the
	// prober.
	Secrets client.Reader
}

var _ fleet.CredentialSource = &Credentials{}

// Kubeconfig returns the kubeconfig of a cluster, and as its version the UID and
// resourceVersion of the Secret that holds it. A Secret or key that is missing or
// out of reach is a *fleet.CredentialsError, since only a person can mend it.
func (c *Credentials) Kubeconfig(ctx context.Context, ref fleet.Ref) ([]byte, string, error) {
	cluster := &libv1beta1.SveltosCluster{}
	if err := c.Clusters.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, cluster); err != nil {
		return nil, "", fmt.Errorf("reading the registration of %s: %w", ref, err)
	}
	name := secretName(cluster)
	secret := &corev1.Secret{}
	err := c.stillMissing(ctx, cluster, name)
	if err == nil {
		err = c.Host.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: name}, secret)
	}
	if apierrors.IsNotFound(err) {
		return nil, "", &fleet.CredentialsError{
			Reason:  libv1beta1.ReasonCredentialsMissing,
			Message: fmt.Sprintf("Secret %s/%s, which should hold the kubeconfig, does not exist", ref.Namespace, name),
		}
	}
	var outside *reach.Error
	if errors.As(err, &outside) {
		return nil, "", &fleet.CredentialsError{
			Reason:  libv1beta1.ReasonCredentialsInvalid,
			Message: fmt.Sprintf("Secret %s/%s, which should hold the kubeconfig, cannot be read: %v", ref.Namespace, name, outside),
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading Secret %s/%s of the host: %w", ref.Namespace, name, err)
	}
	data, err := kubeconfigIn(secret, cluster.Spec.KubeconfigKeyName)
	if err != nil {
		return nil, "", err
	}
	return data, libv1beta1.CredentialsVersion(secret), nil
}

// stillMissing is a NotFound error if the cluster's credentials were unusable
// before and its Secret is not in the cache: thousands of such clusters must
// not keep the host busy. The first look is the host's own answer, because a
// Secret that was made just before its cluster may not have reached the cache,
// and the user would be told that it is missing.
func (c *Credentials) stillMissing(ctx context.Context, cluster *libv1beta1.SveltosCluster, name string) error {
	if !meta.IsStatusConditionFalse(cluster.Status.Conditions, libv1beta1.ConditionCredentialsValid) {
		return nil
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(secretKind)
	return c.Secrets.Get(ctx, types.NamespacedName{Namespace: cluster.Namespace, Name: name}, secret)
}

// secretName is where upstream looks for the kubeconfig of a cluster.
func secretName(cluster *libv1beta1.SveltosCluster) string {
	if cluster.Spec.KubeconfigName != "" {
		return cluster.Spec.KubeconfigName
	}
	return cluster.Name + libv1beta1.KubeconfigSecretSuffix
}

// kubeconfigIn picks the key of the kubeconfig. Upstream takes any key where
// none is named; with several that would be chance, so the usual names come
// first and the rest in alphabetical order.
func kubeconfigIn(secret *corev1.Secret, key string) ([]byte, error) {
	if key != "" {
		if data, ok := secret.Data[key]; ok {
			return data, nil
		}
		return nil, &fleet.CredentialsError{
			Reason:  libv1beta1.ReasonCredentialsMissing,
			Message: fmt.Sprintf("Secret %s/%s has no key %q", secret.Namespace, secret.Name, key),
		}
	}
	for _, usual := range []string{"re-kubeconfig", "kubeconfig", "value"} {
		if data, ok := secret.Data[usual]; ok {
			return data, nil
		}
	}
	keys := slices.Sorted(maps.Keys(secret.Data))
	if len(keys) == 0 {
		return nil, &fleet.CredentialsError{
			Reason:  libv1beta1.ReasonCredentialsMissing,
			Message: fmt.Sprintf("Secret %s/%s has no data", secret.Namespace, secret.Name),
		}
	}
	return secret.Data[keys[0]], nil
}
