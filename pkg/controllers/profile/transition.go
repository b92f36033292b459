// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
)

// Successors are the profiles that take over from another one on a cluster: those of its
// kind and namespace that name it in transitionFrom and are for the cluster.
func Successors(ctx context.Context, reader client.Reader, of Key, cluster *libv1beta1.SveltosCluster) ([]Key, error) {
	profiles, err := list(ctx, reader, client.InNamespace(of.Namespace), client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, p := range profiles {
		if p.kind != of.Kind || p.GetNamespace() != of.Namespace || p.spec.TransitionFrom != of.Name || !p.GetDeletionTimestamp().IsZero() {
			continue
		}
		matches, err := p.matches(ctx, reader, cluster)
		if err != nil {
			return nil, err
		}
		if matches {
			keys = append(keys, p.key())
		}
	}
	return keys, nil
}

// matches reports whether a profile is for one cluster, as resolve would find.
func (p profile) matches(ctx context.Context, reader client.Reader, cluster *libv1beta1.SveltosCluster) (bool, error) {
	if p.GetNamespace() != "" && p.GetNamespace() != cluster.Namespace {
		return false, nil
	}
	ref := clusterref.Of(cluster.Namespace, cluster.Name)
	if slices.Contains(clusterref.FromObjects(p.spec.ClusterRefs, p.GetNamespace()), ref) {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(&p.spec.ClusterSelector)
	if err != nil {
		return false, fmt.Errorf("reading spec.clusterSelector of %s %s: %w", p.kind, p.GetName(), err)
	}
	if !selector.Empty() && hasBeenReady(cluster) && selector.Matches(labels.Set(cluster.Labels)) {
		return true, nil
	}
	for _, name := range p.spec.SetRefs {
		set, err := readSet(ctx, reader, p, name)
		if err != nil {
			return false, err
		}
		if slices.Contains(set.selected, ref) {
			return true, nil
		}
	}
	return false, nil
}
