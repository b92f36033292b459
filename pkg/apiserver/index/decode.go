// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/storage/value"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
	"github.com/muster-project/muster/pkg/storage/follow"
)

// Transformers give the one that a resource is encrypted with.
type Transformers interface {
	TransformerForResource(resource schema.GroupResource) value.Transformer
}

// decoders decode what the API server has stored.
type decoders struct {
	codec        runtime.Decoder
	transformers Transformers
	// ctx is that of Feed.Run, in whose goroutine everything is decoded: a
	// transformer may have to ask a key server.
	ctx context.Context
}

// decoder returns the decoder of one kind: from stored bytes to what selection
// knows of the object. Nothing else of it is kept.
func decoder[Object runtime.Object, T any](d *decoders, resource schema.GroupResource, empty func() Object, reduce func(Object) (T, error)) follow.Decode[T] {
	var transformer value.Transformer
	if d.transformers != nil {
		transformer = d.transformers.TransformerForResource(resource)
	}
	return func(key string, raw []byte, _ int64) (reduced T, err error) {
		if transformer != nil {
			// The API server authenticates a value by its key.
			if raw, _, err = transformer.TransformFromStorage(d.ctx, raw, value.DefaultContext(key)); err != nil {
				return reduced, fmt.Errorf("decrypt %s: %w", resource, err)
			}
		}
		decoded, _, err := d.codec.Decode(raw, nil, empty())
		if err != nil {
			return reduced, fmt.Errorf("decode %s: %w", resource, err)
		}
		object, ok := decoded.(Object)
		if !ok {
			return reduced, fmt.Errorf("decode %s: got %T", resource, decoded)
		}
		return reduce(object)
	}
}

// member is a cluster as selection knows it.
func member(cluster *lib.SveltosCluster) (fleet.Member, error) {
	return fleet.Member{
		Ref:       clusterRef(lib.GroupName, v1beta1.KindSveltosCluster, cluster.Namespace, cluster.Name),
		UID:       cluster.UID,
		Labels:    cluster.Labels,
		Ready:     cluster.Status.Ready,
		EverReady: meta.IsStatusConditionTrue(cluster.Status.Conditions, v1beta1.ConditionHasBeenReady),
		Deleting:  cluster.DeletionTimestamp != nil,
		Paused:    cluster.Spec.Paused,
	}, nil
}

func clusterRef(group, kind, namespace, name string) fleet.Ref {
	return fleet.Ref{Group: group, Kind: kind, Namespace: namespace, Name: name}
}

// setState is a set as selection knows it. A set is being deleted for as long
// as its finalizer is there; until it is gone it selects what it did.
func setState(kind string, meta *metav1.ObjectMeta, spec *lib.ClusterSetSpec, status *lib.ClusterSetStatus) (selection.SetState, error) {
	selector, err := asSelector(spec.ClusterSelector)
	if err != nil {
		return selection.SetState{}, fmt.Errorf("selector of %s %s: %w", kind, meta.Name, err)
	}
	return selection.SetState{
		Spec: selection.Spec{
			Set:         selection.SetKey{Kind: kind, Namespace: meta.Namespace, Name: meta.Name},
			Selector:    selector,
			Refs:        refs(spec.ClusterRefs, meta.Namespace),
			MaxReplicas: int(spec.MaxReplicas),
			Halted:      halted(status.Conditions),
		},
		Stored: selection.Stored{
			Selected: refs(status.SelectedClusterRefs, meta.Namespace),
			Count:    int(status.SelectedClusterCount),
		},
	}, nil
}

// halted is the brake, as the leader has persisted it.
func halted(conditions []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(conditions, v1beta1.ConditionFailoverHalted)
}

// asSelector compiles a selector; an empty one matches nothing.
func asSelector(selector lib.Selector) (labels.Selector, error) {
	if selector.IsEmpty() {
		return labels.Nothing(), nil
	}
	if err := selector.ParseError(); err != nil {
		return nil, err
	}
	return metav1.LabelSelectorAsSelector(&selector.LabelSelector)
}

// refs name clusters by group and not by version: a reference means the same
// at every version. One without a namespace means the referrer's.
func refs(references []corev1.ObjectReference, namespace string) []fleet.Ref {
	if len(references) == 0 {
		return nil
	}
	out := make([]fleet.Ref, 0, len(references))
	for _, reference := range references {
		ref := clusterRef(reference.GroupVersionKind().Group, reference.Kind, reference.Namespace, reference.Name)
		if ref.Namespace == "" {
			ref.Namespace = namespace
		}
		out = append(out, ref)
	}
	return out
}

// summary is a ClusterSummary as selection knows it. One that its profile has
// marked is about to be deleted: the cluster is no candidate from then on.
func summary(s *config.ClusterSummary) (selection.Summary, error) {
	out := selection.Summary{
		NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: s.Name},
		Cluster:        clusterRef(lib.GroupName, v1beta1.KindSveltosCluster, s.Spec.ClusterNamespace, s.Spec.ClusterName),
		Deleting:       s.DeletionTimestamp != nil || s.Spec.Withdraw,
	}
	if s.Spec.ClusterType == lib.ClusterTypeCapi {
		out.Cluster.Group, out.Cluster.Kind = groupClusterAPI, kindCluster
	}
	for _, cause := range s.Spec.MatchedBy {
		key := selection.SetKey{Kind: string(cause.Kind), Name: cause.Name}
		if cause.Kind == config.MatchCauseSet {
			// A Set selects clusters of its own namespace alone.
			key.Namespace = s.Spec.ClusterNamespace
		}
		out.Causes = append(out.Causes, key)
	}
	return out, nil
}

// What a ClusterSummary of type Capi is about.
const (
	groupClusterAPI = "cluster.x-k8s.io"
	kindCluster     = "Cluster"
)
