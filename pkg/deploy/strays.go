// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// strayPage is how many objects are listed at once.
const strayPage = 500

// AdoptStrays adds to the cluster's records the objects that bear their owners'
// marks and that no record names, and returns which. A leader that was stopped may
// leave some: what it had sent reached the cluster after its successor had pruned.
// Whether they stay is decided by their owners' next passes.
//
// It looks at the kinds that the cluster's records have, at each of them once for
// all owners. An owner without a record has no strays: it may have been deployed
// by another installation. So is what was not applied by Muster, whatever its
// annotations say; people copy objects with them. What could not be listed is in
// the error, beside which there may be strays; it ends with the first request that
// gets no answer, see IsUnreachable.
func (d *Deployer) AdoptStrays(ctx context.Context, cluster Cluster) (map[inventory.OwnerKey][]inventory.ObjectKey, error) {
	// For nobody: each change below is of what is stored at that moment.
	ledger, leave, err := d.ledgers.enter(ctx, d.options.Inventory, cluster, inventory.OwnerKey{})
	if err != nil {
		return nil, err
	}
	defer leave()
	kinds, err := ledger.recordedKinds(ctx)
	if err != nil || len(kinds) == 0 {
		return nil, err
	}
	client, err := metadata.NewForConfig(cluster.Config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cluster.Ref, err)
	}
	found := map[inventory.OwnerKey][]inventory.Object{}
	var errs []error
	for _, kind := range kinds {
		err := listMarked(ctx, client, cluster, kind, found)
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s on %s: %w", kind.GroupKind(), cluster.Ref, err))
		}
		if err != nil && (IsUnreachable(err) || ctx.Err() != nil) {
			break
		}
	}
	adopted, err := ledger.adopt(ctx, found)
	return adopted, errors.Join(append(errs, err)...)
}

// recordedKinds are those of all objects that the cluster's records name. Where a
// kind has several versions any will do.
func (g *ledger) recordedKinds(ctx context.Context) ([]schema.GroupVersionKind, error) {
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	records, err := g.store.ForCluster(ctx, g.cluster.Ref)
	if err != nil {
		return nil, err
	}
	var kinds []schema.GroupVersionKind
	seen := map[schema.GroupKind]bool{}
	for _, record := range records {
		if !record.BoundTo(g.cluster.UID, g.cluster.ID) {
			continue
		}
		for _, o := range record.Objects {
			kind := schema.GroupVersionKind{Group: o.Group, Version: o.Version, Kind: o.Kind}
			if !seen[kind.GroupKind()] {
				seen[kind.GroupKind()] = true
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds, nil
}

// listMarked finds the objects of a kind that Muster applied, by owner.
func listMarked(ctx context.Context, client metadata.Interface, cluster Cluster, kind schema.GroupVersionKind, found map[inventory.OwnerKey][]inventory.Object) error {
	mapping, err := cluster.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	options := metav1.ListOptions{LabelSelector: ReasonLabel, Limit: strayPage}
	for {
		list, err := client.Resource(mapping.Resource).List(ctx, options)
		if err != nil {
			return err
		}
		for i := range list.Items {
			o := &list.Items[i]
			by, ok := markedOwner(o, cluster.Ref.Namespace)
			if ok && o.DeletionTimestamp == nil && appliedByMuster(o) {
				found[by] = append(found[by], strayEntry(o, mapping.GroupVersionKind))
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}

func appliedByMuster(o metav1.Object) bool {
	return slices.ContainsFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == FieldManager && f.Operation == metav1.ManagedFieldsOperationApply
	})
}

// strayEntry is an inventory's entry with what the marks say. Its content is in
// doubt.
func strayEntry(o metav1.Object, kind schema.GroupVersionKind) inventory.Object {
	annotations := o.GetAnnotations()
	tier, _ := strconv.ParseInt(annotations[ReferenceTierAnnotation], 10, 32)
	return inventory.Object{
		ObjectKey: inventory.ObjectKey{Group: kind.Group, Kind: kind.Kind, Namespace: o.GetNamespace(), Name: o.GetName()},
		Version:   kind.Version,
		Feature:   o.GetLabels()[ReasonLabel],
		Source: inventory.Source{
			Kind: annotations[ReferenceKindAnnotation], Namespace: annotations[ReferenceNamespaceAnnotation],
			Name: annotations[ReferenceNameAnnotation], Tier: int32(tier),
		},
		UID: o.GetUID(),
	}
}

// adopt adds entries that no record has to their owners', where those have one.
func (g *ledger) adopt(ctx context.Context, found map[inventory.OwnerKey][]inventory.Object) (map[inventory.OwnerKey][]inventory.ObjectKey, error) {
	if len(found) == 0 {
		return nil, nil
	}
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	_, records, _, err := g.load(ctx)
	if err != nil {
		return nil, err
	}
	named := map[inventory.ObjectKey]bool{}
	for _, record := range records {
		for _, o := range record.Objects {
			named[o.ObjectKey] = true
		}
	}
	adopted := map[inventory.OwnerKey][]inventory.ObjectKey{}
	for _, record := range records {
		owner := record.Owner.Key()
		var strays []inventory.ObjectKey
		for _, entry := range found[owner] {
			if !named[entry.ObjectKey] {
				record.Objects = append(record.Objects, entry)
				strays = append(strays, entry.ObjectKey)
			}
		}
		if len(strays) == 0 {
			continue
		}
		if err := g.store.Put(ctx, record); err != nil {
			return adopted, err
		}
		adopted[owner] = strays
	}
	return adopted, nil
}
