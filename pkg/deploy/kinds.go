// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
)

const (
	crdGroup      = "apiextensions.k8s.io"
	crdKind       = "CustomResourceDefinition"
	namespaceKind = "Namespace"
)

// isCRD reports whether an object defines a kind.
func isCRD(k inventory.ObjectKey) bool { return k.Group == crdGroup && k.Kind == crdKind }

// isNamespace reports whether an object is a namespace.
func isNamespace(k inventory.ObjectKey) bool { return k.Group == "" && k.Kind == namespaceKind }

// definedKind is a kind that a CRD of the request defines.
type definedKind struct {
	crd        string // the CRD's name
	plural     string
	namespaced bool
}

// kinds knows how the kinds of one pass are served. What the inventory or a
// CRD of the request says needs no question to the cluster.
type kinds struct {
	cluster    Cluster
	defined    map[schema.GroupKind]definedKind
	namespaced map[schema.GroupKind]bool // as the inventory has it
}

func newKinds(cluster Cluster, own *inventory.Record, lists []ObjectList) *kinds {
	k := &kinds{cluster: cluster, defined: map[schema.GroupKind]definedKind{}, namespaced: map[schema.GroupKind]bool{}}
	if own != nil {
		for _, o := range own.Objects {
			k.namespaced[schema.GroupKind{Group: o.Group, Kind: o.Kind}] = o.Namespace != ""
		}
	}
	for _, list := range lists {
		for _, o := range list.Objects {
			k.define(o.Content)
		}
	}
	return k
}

func (k *kinds) define(obj *unstructured.Unstructured) {
	gvk := obj.GroupVersionKind()
	if gvk.Group != crdGroup || gvk.Kind != crdKind {
		return
	}
	group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
	plural, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "plural")
	scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
	if group == "" || kind == "" || plural == "" {
		return // the server will say what is wrong with it
	}
	k.defined[schema.GroupKind{Group: group, Kind: kind}] = definedKind{obj.GetName(), plural, scope == namespacedScope}
}

// namespacedScope is the scope of a CRD whose objects have namespaces.
const namespacedScope = "Namespaced"

// isNamespaced reports whether objects of a kind have namespaces.
func (k *kinds) isNamespaced(gvk schema.GroupVersionKind) (bool, error) {
	if d, ok := k.defined[gvk.GroupKind()]; ok {
		return d.namespaced, nil
	}
	if namespaced, ok := k.namespaced[gvk.GroupKind()]; ok {
		return namespaced, nil
	}
	mapping, err := k.mapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return false, err
	}
	return mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// resource returns the client for an object to be applied.
func (k *kinds) resource(key inventory.ObjectKey, version string) (dynamic.ResourceInterface, error) {
	gk := schema.GroupKind{Group: key.Group, Kind: key.Kind}
	if d, ok := k.defined[gk]; ok {
		return k.client(gk.WithVersion(version).GroupVersion().WithResource(d.plural), key.Namespace), nil
	}
	mapping, err := k.mapping(gk, version)
	if err != nil {
		return nil, err
	}
	if namespaced := mapping.Scope.Name() == meta.RESTScopeNameNamespace; namespaced != (key.Namespace != "") {
		// The kind was defined anew with another scope since it was recorded.
		return nil, fmt.Errorf("the scope of %s has changed in the cluster", gk)
	}
	return k.client(mapping.Resource, key.Namespace), nil
}

func (k *kinds) client(resource schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return k.cluster.Dynamic.Resource(resource)
	}
	return k.cluster.Dynamic.Resource(resource).Namespace(namespace)
}

func (k *kinds) mapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := live.Mapping(k.cluster.Mapper, gk, versions...)
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", gk, err)
	}
	return mapping, nil
}

// errKindGone says that the cluster does not serve a kind at any version.
var errKindGone = errors.New("the cluster does not serve the kind any more")

// existing returns the client for an object to be removed, or errKindGone.
// The version that it was applied at may not be served any more.
func (k *kinds) existing(ctx context.Context, key inventory.ObjectKey, version string) (dynamic.ResourceInterface, error) {
	gk := schema.GroupKind{Group: key.Group, Kind: key.Kind}
	mapping, err := k.cluster.Mapper.RESTMapping(gk, version)
	if meta.IsNoMatchError(err) {
		mapping, err = k.mapping(gk)
	}
	if err == nil {
		return k.client(mapping.Resource, key.Namespace), nil
	}
	if !meta.IsNoMatchError(err) {
		return nil, err
	}
	if err := live.Gone(ctx, k.cluster.Discovery, gk); err != nil {
		return nil, err
	}
	return nil, errKindGone
}
