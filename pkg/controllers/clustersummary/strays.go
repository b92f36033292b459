// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// strayRetry is the pause after a search for strays that not everything answered,
// which would otherwise be made again by each profile on the cluster.
const strayRetry = time.Minute

// search is when strays may be looked for again on a cluster.
type search struct {
	uid types.UID
	id  fleet.ClusterID
	// again is zero if nothing is left to be found in this term.
	again time.Time
}

// adoptStrays finds what a former leader's last writes have left, once in a term
// for all profiles of a cluster, before the first pass there. A cluster where not
// everything can be listed is deployed to all the same. current is the owner whose
// pass follows; the others are woken.
func (r *Reconciler) adoptStrays(ctx context.Context, target deploy.Cluster, current inventory.OwnerKey) {
	if !r.memory.searchDue(target, r.Now()) {
		return
	}
	logger := klog.FromContext(ctx).WithValues("cluster", target.Ref)
	adopted, err := r.Deployer.AdoptStrays(ctx, target)
	for owner, objects := range adopted {
		logger.Info("Found objects of a profile that no inventory named", "profile", owner, "objects", objects)
	}
	if err != nil {
		logger.V(2).Info("Could not look for all objects that no inventory names", "reason", err)
	}
	switch {
	case err == nil || apierrors.IsForbidden(err):
		r.memory.searched(target, time.Time{})
	case ctx.Err() == nil && !deploy.IsUnreachable(err):
		r.memory.searched(target, r.Now().Add(strayRetry))
	}
	delete(adopted, current)
	r.wake(ctx, target.Ref, slices.Collect(maps.Keys(adopted)))
}

// searchDue reports whether strays should be looked for on a cluster now.
func (m *memory) searchDue(cluster deploy.Cluster, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, known := m.searches[cluster.Ref]
	if !known || last.uid != cluster.UID || last.id != cluster.ID {
		return true
	}
	return !last.again.IsZero() && !now.Before(last.again)
}

// searched notes that strays were looked for, and when to look again: never in
// this term if that is zero.
func (m *memory) searched(cluster deploy.Cluster, again time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.searches[cluster.Ref] = search{uid: cluster.UID, id: cluster.ID, again: again}
}

// forgetSearch drops a cluster that is gone.
func (m *memory) forgetSearch(cluster fleet.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.searches, cluster)
}
