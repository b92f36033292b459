// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
)

// ForceRecreateAnnotation on an object asks for what Force of an Object does.
const ForceRecreateAnnotation = "projectsveltos.io/forceRecreate"

// recreates reports whether an object whose update is refused is deleted and created
// anew. What takes more along than itself never is: kinds and namespaces all that is
// in them. The data of a volume goes only where the object itself asks for it.
func recreates(s objectStep) bool {
	if isCRD(s.key) || isNamespace(s.key) {
		return false
	}
	if value, found := s.content.GetAnnotations()[ForceRecreateAnnotation]; found {
		return value != "false"
	}
	return s.force && !holdsData(s.key)
}

func holdsData(key inventory.ObjectKey) bool {
	return key.Group == "" && (key.Kind == "PersistentVolumeClaim" || key.Kind == "PersistentVolume")
}

// recreate deletes an object whose update was refused, and creates it anew. What is
// there is deleted only if the cluster would take the new one. Should creating it fail
// all the same, the inventory has the object, in doubt, and the next pass creates it.
func (a *applier) recreate(ctx context.Context, client dynamic.ResourceInterface, s objectStep, uid types.UID, refused error) (applied, error) {
	if err := a.tryOut(ctx, client, s); err != nil {
		return applied{}, fmt.Errorf("%w; it is not deleted to be created anew, because that would be refused: %w", refused, err)
	}
	entry := inventory.Object{ObjectKey: s.key, Version: s.version, UID: uid}
	if s.before != nil {
		entry.FormerOwners = s.before.FormerOwners
	}
	remover := remover{cluster: a.cluster, owner: a.owner.Key(), kinds: a.kinds}
	_, left, err := remover.delete(ctx, entry)
	if err != nil {
		return applied{}, &partialError{fmt.Errorf("%w; deleting it to create it anew: %w", refused, err)}
	}
	if left != nil {
		wait, cancel := context.WithTimeout(ctx, a.deployer.options.GoneTimeout)
		defer cancel()
		if !awaitGone(wait, client, s.key.Name, left.GetUID()) {
			return applied{}, &PendingError{Cluster: a.cluster.Ref, Objects: []string{s.key.String() + live.HeldBy(left)}}
		}
	}
	switch other, err := a.adopt(ctx, client, s); {
	case err != nil:
		return applied{}, err
	case other != "":
		// What is there is not what was decided on, and was not deleted.
		return applied{}, fmt.Errorf("%w; it is not deleted to be created anew, because it is another profile's or another object by now", refused)
	}
	klog.FromContext(ctx).Info("Deleted an object to create it anew, because it could not be updated",
		"cluster", a.cluster.Ref, "profile", a.owner, "object", s.key)
	accepted, err := a.send(ctx, client, s, "")
	if err != nil {
		return applied{}, &partialError{fmt.Errorf("it was deleted and could not be created anew, which is tried again: %w", err)}
	}
	return a.accepted(accepted)
}

// partialError is of an object that is not what it was, whatever the cluster answered
// last: an earlier request of the same step has changed it.
type partialError struct{ err error }

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }

// tryOut asks the cluster whether it would take an object that does not exist yet. It
// is asked for one of another name: under its own there is the one that stands in the
// way. What only one object can have is left out, see withoutAllocations.
func (a *applier) tryOut(ctx context.Context, client dynamic.ResourceInterface, s objectStep) error {
	obj := withoutAllocations(s)
	obj.SetName("")
	obj.SetGenerateName("muster-")
	_, err := client.Create(ctx, obj, metav1.CreateOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}})
	if apierrors.IsNotFound(err) {
		return nil // of the namespace, which is made where it is missing
	}
	return err
}

// withoutAllocations is the content of an object without the addresses and ports that
// the one which it replaces still holds.
func withoutAllocations(s objectStep) *unstructured.Unstructured {
	obj := s.content.DeepCopy()
	if s.key.Group != "" || s.key.Kind != "Service" {
		return obj
	}
	if ip, _, _ := unstructured.NestedString(obj.Object, "spec", "clusterIP"); ip != "None" {
		unstructured.RemoveNestedField(obj.Object, "spec", "clusterIP")
		unstructured.RemoveNestedField(obj.Object, "spec", "clusterIPs")
	}
	unstructured.RemoveNestedField(obj.Object, "spec", "healthCheckNodePort")
	ports, found, err := unstructured.NestedSlice(obj.Object, "spec", "ports")
	if !found || err != nil {
		return obj
	}
	for _, port := range ports {
		if port, ok := port.(map[string]any); ok {
			delete(port, "nodePort")
		}
	}
	_ = unstructured.SetNestedSlice(obj.Object, ports, "spec", "ports") // it was a slice
	return obj
}
