// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterset stores the selection of ClusterSets and Sets in their
// status. What is selected is decided by pkg/selection, and nowhere else.
package clusterset

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/selection"
)

// set is a ClusterSet or a Set: the same spec and status, one for the clusters
// of all namespaces, one for those of its own.
type set struct {
	client.Object
	spec   *libv1beta1.ClusterSetSpec
	status *libv1beta1.ClusterSetStatus
}

// get reads the set of a key.
func get(ctx context.Context, reader client.Reader, key selection.SetKey) (set, error) {
	name := types.NamespacedName{Namespace: key.Namespace, Name: key.Name}
	switch key.Kind {
	case libv1beta1.KindClusterSet:
		object := &libv1beta1.ClusterSet{}
		err := reader.Get(ctx, name, object)
		return set{Object: object, spec: &object.Spec, status: &object.Status}, err
	case libv1beta1.KindSet:
		object := &libv1beta1.Set{}
		err := reader.Get(ctx, name, object)
		return set{Object: object, spec: &object.Spec, status: &object.Status}, err
	}
	return set{}, fmt.Errorf("%q is no kind of set", key.Kind)
}

// ignoresBrake reports whether a person has overridden the brake for this set.
func (s set) ignoresBrake() bool {
	return s.GetAnnotations()[libv1beta1.AnnotationIgnoreBrake] == "true"
}
