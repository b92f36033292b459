// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package index

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
	"github.com/muster-project/muster/pkg/storage/follow"
)

// ranges are what the index is made of. Clusters come first: in the first list
// nothing depends on the order, and later a step has no order of its own.
func (f *Feed) ranges(prefix string, d *decoders) []follow.Range {
	clusters, clusterSets := lib.Resource("sveltosclusters"), lib.Resource("clustersets")
	sets, summaries := lib.Resource("sets"), config.Resource("clustersummaries")
	return []follow.Range{
		follow.NewRange(rangePrefix(prefix, clusters),
			decoder(d, clusters, func() *lib.SveltosCluster { return &lib.SveltosCluster{} }, member),
			f.applyMember),
		follow.NewRange(rangePrefix(prefix, clusterSets),
			decoder(d, clusterSets, func() *lib.ClusterSet { return &lib.ClusterSet{} },
				func(s *lib.ClusterSet) (selection.SetState, error) {
					return setState(selection.KindClusterSet, &s.ObjectMeta, &s.Spec, &s.Status)
				}),
			f.applySet(selection.KindClusterSet)),
		follow.NewRange(rangePrefix(prefix, sets),
			decoder(d, sets, func() *lib.Set { return &lib.Set{} },
				func(s *lib.Set) (selection.SetState, error) {
					return setState(selection.KindSet, &s.ObjectMeta, &s.Spec, &s.Status)
				}),
			f.applySet(selection.KindSet)),
		follow.NewRange(rangePrefix(prefix, summaries),
			decoder(d, summaries, func() *config.ClusterSummary { return &config.ClusterSummary{} }, summary),
			f.applySummary),
	}
}

// rangePrefix is where the API server stores a resource.
func rangePrefix(prefix string, resource schema.GroupResource) string {
	return strings.TrimSuffix(prefix, "/") + "/" + resource.Group + "/" + resource.Resource + "/"
}

// split takes the name of a key apart: "namespace/name", or "name" of what is
// in no namespace.
func split(name string) types.NamespacedName {
	if namespace, rest, ok := strings.Cut(name, "/"); ok {
		return types.NamespacedName{Namespace: namespace, Name: rest}
	}
	return types.NamespacedName{Name: name}
}

func (f *Feed) applyMember(event follow.Event[fleet.Member]) {
	switch {
	case f.first != nil:
		f.first.members.apply(event)
	case event.Deleted:
		name := split(event.Name)
		f.index.DeleteMember(clusterRef(lib.GroupName, v1beta1.KindSveltosCluster, name.Namespace, name.Name))
	default:
		f.index.PutMember(event.Value)
	}
}

func (f *Feed) applySet(kind string) follow.Apply[selection.SetState] {
	return func(event follow.Event[selection.SetState]) {
		switch {
		case f.first != nil:
			f.first.sets.apply(event)
		case event.Deleted:
			name := split(event.Name)
			f.index.DeleteSet(selection.SetKey{Kind: kind, Namespace: name.Namespace, Name: name.Name})
		default:
			f.index.PutSet(event.Value.Spec, event.Value.Stored)
		}
	}
}

func (f *Feed) applySummary(event follow.Event[selection.Summary]) {
	switch {
	case f.first != nil:
		f.first.summaries.apply(event)
	case event.Deleted:
		f.index.DeleteSummary(split(event.Name))
	default:
		f.index.PutSummary(event.Value)
	}
}

// collector holds what a first list has brought so far. An attempt at it may
// fail and be made again, so that objects can come twice, and go.
type collector struct {
	members   collected[fleet.Member]
	sets      collected[selection.SetState]
	summaries collected[selection.Summary]
}

func (c *collector) state() selection.State {
	return selection.State{Members: c.members.values(), Sets: c.sets.values(), Summaries: c.summaries.values()}
}

// collected are values by their etcd key.
type collected[T any] map[string]T

func (c *collected[T]) apply(event follow.Event[T]) {
	if event.Deleted {
		delete(*c, event.Key)
		return
	}
	if *c == nil {
		*c = collected[T]{}
	}
	(*c)[event.Key] = event.Value
}

func (c *collected[T]) values() []T {
	values := make([]T, 0, len(*c))
	for _, value := range *c {
		values = append(values, value)
	}
	return values
}
