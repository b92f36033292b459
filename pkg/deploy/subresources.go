// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// statusSubresource is the one that most kinds have, and which holds one field.
const statusSubresource = "status"

// sendSubresources applies the subresources of an object that is there. The status is
// applied of what has one; a source may hold other objects beside it.
func (a *applier) sendSubresources(ctx context.Context, client dynamic.ResourceInterface, s objectStep, uid types.UID) error {
	for _, subresource := range s.subresources {
		obj := s.content.DeepCopy()
		if subresource == statusSubresource {
			status, found := obj.Object[statusSubresource]
			if !found {
				continue
			}
			obj = &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": obj.GetAPIVersion(), "kind": obj.GetKind(),
				"metadata": map[string]any{"name": s.key.Name}, statusSubresource: status,
			}}
		}
		obj.SetNamespace(s.key.Namespace)
		obj.SetUID(uid)
		_, err := client.Apply(ctx, s.key.Name, obj, metav1.ApplyOptions{FieldManager: FieldManager, Force: true}, subresource)
		if err != nil {
			return &partialError{fmt.Errorf("its subresource %s: %w", subresource, err)}
		}
	}
	return nil
}
