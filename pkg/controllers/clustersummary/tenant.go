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
	connection, err := tenantClient(ctx, r.Clusters, r.HostCluster, target.Ref, as)
	if err != nil {
		return actor{}, err
	}
	out := actor{as: as, target: deploy.ClusterOf(connection, target.UID, target.ID)}
	if out.reader, err = r.readerOf(as); err != nil {
		return actor{}, actingError(as, err)
	}
	return out, nil
}

// tenantClient is the client of a managed cluster that acts as a tenant, whose account has
// to exist on the host.
func tenantClient(ctx context.Context, clusters *fleet.Clusters, host HostCluster, ref fleet.Ref, as fleet.Identity) (*fleet.Client, error) {
	if err := host.CheckAccount(ctx, as); err != nil {
		return nil, actingError(as, err)
	}
	connection, err := clusters.Client(ctx, ref, as)
	if err != nil {
		return nil, actingError(as, err)
	}
	return connection, nil
}

func actingError(as fleet.Identity, err error) error {
	return fmt.Errorf("acting as the tenant's ServiceAccount %s/%s: %w", as.ServiceAccountNamespace, as.ServiceAccountName, err)
}
