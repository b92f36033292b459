// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/profile"
)

const (
	// heirGrace is how long a profile that does not match a cluster any more keeps what
	// it has there, for another one that the same change of labels has brought to be
	// known. The two controllers' work is not ordered otherwise.
	heirGrace = time.Second
	// heirPatience bounds the wait for the first pass of others, of which each says what
	// it wants, with heirPause between two looks.
	heirPatience = 10 * time.Second
	heirPause    = 250 * time.Millisecond
)

// awaitHeirs says for how long a withdrawal has to wait for others to have said what they
// want of what is about to be withdrawn: they are given it, and nothing is uninstalled
// that would be installed again a moment later. It is zero if the withdrawal is due.
func (r *Reconciler) awaitHeirs(ctx context.Context, summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (time.Duration, error) {
	name, now := client.ObjectKeyFromObject(summary), r.Now()
	since, quiet := r.memory.leavingSince(name, now)
	if now.Sub(since) >= heirPatience || cluster.Spec.Paused {
		return 0, nil
	}
	owner, err := ownerOf(summary)
	if err != nil {
		return 0, err
	}
	exists, deleting, err := profile.Exists(ctx, r.Client, profileKey(owner.Key()))
	if err != nil {
		return 0, err
	}
	if exists && !deleting && now.Sub(quiet) < heirGrace {
		return heirGrace - now.Sub(quiet), nil
	}
	others, err := r.summariesOf(ctx, clusterref.OfSummary(summary))
	if err != nil {
		return 0, err
	}
	for i := range others {
		if leavesBefore(&others[i], summary) {
			// When it is gone its profile may need a moment to make another one.
			r.memory.leavingAfter(name, now)
			return heirPause, nil
		}
		heard, err := r.isHeard(&others[i], cluster)
		if err != nil {
			return 0, err
		}
		if !heard {
			return heirPause, nil
		}
	}
	return 0, nil
}

// leavesBefore reports whether another withdrawal began before that of a summary. Its
// profile may be about to come back: it can't have another summary while it has this one.
func leavesBefore(other, summary *configv1beta1.ClusterSummary) bool {
	return other.UID != summary.UID && !other.DeletionTimestamp.IsZero() && other.DeletionTimestamp.Before(summary.DeletionTimestamp)
}

// isHeard reports whether the cluster's inventories know what a summary wants.
func (r *Reconciler) isHeard(other *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (bool, error) {
	if other.Spec.Withdraw || !other.DeletionTimestamp.IsZero() || deployedOnce(other) {
		return true, nil
	}
	print, err := fingerprint(other, cluster)
	if err != nil {
		return false, err
	}
	last, _ := r.memory.last(client.ObjectKeyFromObject(other), other.UID)
	return last != nil && last.fingerprint == print, nil
}

// leavingSince is when the withdrawal of a summary was first due, and when it last was
// behind another one.
func (m *memory) leavingSince(name types.NamespacedName, now time.Time) (since, quiet time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(name)
	if known.leaving.IsZero() {
		known.leaving, known.quiet = now, now
	}
	return known.leaving, known.quiet
}

// leavingAfter notes that a withdrawal is behind another one.
func (m *memory) leavingAfter(name types.NamespacedName, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).quiet = now
}
