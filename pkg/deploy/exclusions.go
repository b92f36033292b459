// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/pkg/deploy/live"
)

// initialManager has the fields that Muster has set when it made an object and that
// others may change since. An apply removes what its own manager had and does not
// name any more: what is left out has to be somebody else's first.
const initialManager = FieldManager + "-initial"

func (r Request) excluded(object *unstructured.Unstructured) []string {
	if r.Excluded == nil {
		return nil
	}
	return r.Excluded(object)
}

// leaveOut removes what others may change from an object that is about to be applied to
// one that exists.
func (a *applier) leaveOut(ctx context.Context, client dynamic.ResourceInterface, s objectStep, uid types.UID, obj *unstructured.Unstructured) error {
	if len(s.excluded) == 0 || uid == "" {
		return nil
	}
	found, err := client.Get(ctx, s.key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !isNotServed(err) {
		return nil // the apply is for a UID, and says that it is not there
	}
	if err != nil {
		return fmt.Errorf("looking at what is left to others in it: %w", err)
	}
	if found.GetUID() != uid {
		return nil
	}
	if _, err := a.handOver(ctx, client, s, found); err != nil {
		return err
	}
	live.Without(obj.Object, s.excluded)
	return nil
}

// handOver gives up those fields of an object that others may change: their values
// stay. It returns the object as it is then.
func (a *applier) handOver(ctx context.Context, client dynamic.ResourceInterface, s objectStep, found *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if len(s.excluded) == 0 {
		return found, nil
	}
	to := live.Manager{Name: initialManager, Operation: metav1.ManagedFieldsOperationUpdate}
	fields, changed, err := live.HandOver(found, Applied(), to, s.excluded)
	if err != nil || !changed {
		return found, err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": found.GetUID(), "resourceVersion": found.GetResourceVersion(), "managedFields": fields,
	}})
	if err != nil {
		return nil, fmt.Errorf("leaving fields to others: %w", err)
	}
	patched, err := client.Patch(ctx, s.key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	if err != nil {
		return nil, fmt.Errorf("leaving fields to others: %w", err)
	}
	return patched, nil
}
