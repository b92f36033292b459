// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
)

// removeAttempts bounds how often an object is looked at anew because it
// changed between looking and deleting.
const removeAttempts = 5

// removal is one thing to be removed: an object or a release.
type removal struct {
	object  *inventory.Object
	release *inventory.Release
}

// removalOrder returns what to remove in the order in which to do it: last
// applied first, but releases only after the objects that may need what they
// run, and kinds and namespaces, which take everything in them along, last. Lists
// that were deployed one after the other go in the opposite order.
func removalOrder(objects []inventory.Object, releases []inventory.Release, deployed []string) []removal {
	var order []removal
	last := len(deployed)
	rank := func(feature Feature, unordered int) int {
		if at := slices.Index(deployed, string(feature)); at >= 0 {
			return last - 1 - at
		}
		return unordered
	}
	phase := func(r removal) int {
		switch {
		case r.release != nil:
			return rank(Helm, last)
		case isCRD(r.object.ObjectKey):
			return last + 1
		case isNamespace(r.object.ObjectKey):
			return last + 2
		}
		return rank(Feature(r.object.Feature), 0)
	}
	behind := func(r removal) int {
		if r.release != nil {
			return 1
		}
		return 0
	}
	for i := range objects {
		order = append(order, removal{object: &objects[i]})
	}
	for i := range releases {
		order = append(order, removal{release: &releases[i]})
	}
	slices.Reverse(order)
	slices.SortStableFunc(order, func(a, b removal) int {
		return cmp.Or(cmp.Compare(phase(a), phase(b)), cmp.Compare(behind(a), behind(b)))
	})
	return order
}

// remover removes what one owner has on one cluster.
type remover struct {
	cluster Cluster
	owner   inventory.OwnerKey
	kinds   *kinds
}

// owns reports whether a found object is the one that an entry names. The
// inventory is the authority while the object is the one that was applied;
// one that was made anew is the owner's only if it says so itself.
func (r *remover) owns(entry inventory.Object, found *unstructured.Unstructured) bool {
	marked, ok := markedOwner(found, r.cluster.Ref.Namespace)
	if ok {
		return marked == r.owner || slices.Contains(entry.FormerOwners, marked)
	}
	return entry.UID != "" && entry.UID == found.GetUID()
}

// delete deletes an object, in the state in which it was found to be the
// owner's, and returns the client to wait with and what is left of the object,
// nil if nothing is.
func (r *remover) delete(ctx context.Context, entry inventory.Object) (dynamic.ResourceInterface, *unstructured.Unstructured, error) {
	client, found, err := r.locate(ctx, entry)
	for range removeAttempts {
		if err != nil || found == nil || found.GetDeletionTimestamp() != nil {
			return client, found, err
		}
		uid, resourceVersion, background := found.GetUID(), found.GetResourceVersion(), metav1.DeletePropagationBackground
		err = client.Delete(ctx, entry.Name, metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &resourceVersion},
			PropagationPolicy: &background,
		})
		deleted := err == nil
		if !deleted && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return nil, nil, err
		}
		if found, err = r.find(ctx, client, entry); deleted {
			return client, found, err
		}
	}
	return nil, nil, fmt.Errorf("it changed %d times while it was about to be deleted", removeAttempts)
}

// locate returns the client for the object of an entry and what find does; neither if
// the cluster does not serve the kind any more. Where a version is not served that was
// when the cluster was last asked, it is asked anew: the object is there at another one.
func (r *remover) locate(ctx context.Context, entry inventory.Object) (client dynamic.ResourceInterface, found *unstructured.Unstructured, err error) {
	for range 2 {
		client, err = r.kinds.existing(ctx, entry.ObjectKey, entry.Version)
		if errors.Is(err, errKindGone) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		found, err = r.find(ctx, client, entry)
		if !isNotServed(err) {
			break
		}
		r.cluster.Mapper.Reset()
	}
	return client, found, err
}

// find returns the object of an entry, or nil if there is none that is the
// owner's.
func (r *remover) find(ctx context.Context, client dynamic.ResourceInterface, entry inventory.Object) (*unstructured.Unstructured, error) {
	found, err := client.Get(ctx, entry.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !isNotServed(err) {
		return nil, nil
	}
	if err != nil || !r.owns(entry, found) {
		return nil, err
	}
	return found, nil
}

// awaitGone waits until the object with this UID is gone. It returns false when
// it is still there as ctx ends, or can't be watched.
func awaitGone(ctx context.Context, client dynamic.ResourceInterface, name string, uid types.UID) bool {
	err := live.Await(ctx, client, name, func(found *unstructured.Unstructured) (bool, error) {
		return found == nil || found.GetUID() != uid, nil
	})
	return err == nil
}

// strip takes the marks off an object and leaves the rest as it is.
func (r *remover) strip(ctx context.Context, entry inventory.Object) error {
	client, found, err := r.locate(ctx, entry)
	for range removeAttempts {
		if err != nil || found == nil {
			return err
		}
		patch, invalid := stripPatch(found)
		if invalid != nil || patch == nil {
			return invalid
		}
		_, conflict := client.Patch(ctx, entry.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
		if conflict == nil || apierrors.IsNotFound(conflict) {
			return nil
		}
		if !apierrors.IsConflict(conflict) {
			return conflict
		}
		found, err = r.find(ctx, client, entry)
	}
	return fmt.Errorf("it changed %d times while its marks were about to be removed", removeAttempts)
}

// stripPatch returns the merge patch that removes the marks from an object in
// exactly this state, or nil if it has none.
func stripPatch(found *unstructured.Unstructured) ([]byte, error) {
	annotations, labels := map[string]any{}, map[string]any{}
	for _, key := range markAnnotations() {
		if _, ok := found.GetAnnotations()[key]; ok {
			annotations[key] = nil
		}
	}
	if _, ok := found.GetLabels()[ReasonLabel]; ok {
		labels[ReasonLabel] = nil
	}
	if len(annotations)+len(labels) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":             found.GetUID(),
		"resourceVersion": found.GetResourceVersion(),
		"annotations":     annotations,
		"labels":          labels,
	}})
	if err != nil {
		return nil, fmt.Errorf("making the patch: %w", err)
	}
	return patch, nil
}
