// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/sveltoscluster"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/fleet"
)

// HostCluster is the host cluster as Muster and as tenants see it.
type HostCluster interface {
	// Cluster is the host as a cluster to deploy to.
	Cluster(ctx context.Context, as fleet.Identity) (deploy.Cluster, error)
	// Reader reads ConfigMaps and Secrets, not through a cache.
	Reader(as fleet.Identity) (client.Reader, error)
	// CheckAccount returns an error unless a tenant's account exists. The host would
	// let a name be impersonated that is nobody's.
	CheckAccount(ctx context.Context, as fleet.Identity) error
}

// actor is on whose behalf a job works, and what it works with.
type actor struct {
	as fleet.Identity
	// target is the managed cluster.
	target deploy.Cluster
	// reader reads the sources.
	reader client.Reader
}

// identityOf is the tenant that a summary is deployed for. The server alone writes it,
// so that nobody gets other rights by changing a label of the summary.
func identityOf(summary *configv1beta1.ClusterSummary) fleet.Identity {
	account := summary.Spec.ServiceAccount
	if account == nil {
		return fleet.Identity{}
	}
	return fleet.Identity{ServiceAccountNamespace: account.Namespace, ServiceAccountName: account.Name}
}

// readerOf reads the host's sources for an identity.
func (r *Reconciler) readerOf(as fleet.Identity) (client.Reader, error) {
	if as.IsZero() {
		return r.Host, nil
	}
	return r.HostCluster.Reader(as)
}

// actAs makes an actor of an identity. Where the account or its credentials are missing
// there is none, and nothing is done with other rights in its place.
func (r *Reconciler) actAs(ctx context.Context, name types.NamespacedName, target deploy.Cluster, as fleet.Identity) (actor, error) {
	if as.IsZero() {
		return actor{target: target, reader: r.Host}, nil
	}
	// Whoever waits for the account's kubeconfig, or has an old one, is woken by it.
	r.memory.reads(name, sourceRef{
		kind:           configv1beta1.SourceKindSecret,
		NamespacedName: types.NamespacedName{Namespace: target.Ref.Namespace, Name: sveltoscluster.TenantSecretName(target.Ref.Name, as)},
	})
	out := actor{as: as}
	err := r.HostCluster.CheckAccount(ctx, as)
	var connection *fleet.Client
	if err == nil {
		connection, err = r.Clusters.Client(ctx, target.Ref, as)
	}
	if err == nil {
		out.target = deploy.ClusterOf(connection, target.UID, target.ID)
		out.reader, err = r.readerOf(as)
	}
	if err != nil {
		return actor{}, fmt.Errorf("acting as the tenant's ServiceAccount %s/%s: %w", as.ServiceAccountNamespace, as.ServiceAccountName, err)
	}
	return out, nil
}
