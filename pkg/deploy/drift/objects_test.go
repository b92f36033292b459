// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
)

func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}})
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, meta.RESTScopeNamespace)
	return m
}

// seen is an object as a watch sees it: the fields that muster has, and who else has
// written it.
func seen(namespace, name string, uid types.UID, version int, fields string, by string) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: uid, ResourceVersion: fmt.Sprint(version)}}
	add := func(manager string, operation metav1.ManagedFieldsOperationType, fields string) {
		entry := metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsV1: &metav1.FieldsV1{}}
		entry.FieldsV1.SetRawBytes([]byte(fields))
		o.ManagedFields = append(o.ManagedFields, entry)
	}
	add("muster", metav1.ManagedFieldsOperationApply, fields)
	if by != "" {
		add(by, metav1.ManagedFieldsOperationUpdate, `{"f:data":{"f:x":{}}}`)
	}
	return o
}

const (
	whole = `{"f:data":{"f:x":{}}}`
	taken = `{"f:data":{}}`
)

func applied(namespace, name string, uid types.UID, version int) inventory.Object {
	return inventory.Object{
		ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: namespace, Name: name}, Version: "v1", Feature: "Resources",
		UID: uid, ContentHash: "h", ResourceVersion: fmt.Sprint(version),
		Fields: live.Fields(seen(namespace, name, uid, version, whole, ""), deploy.Applied()),
	}
}

func key(namespace, name string) inventory.ObjectKey {
	return inventory.ObjectKey{Kind: "ConfigMap", Namespace: namespace, Name: name}
}
