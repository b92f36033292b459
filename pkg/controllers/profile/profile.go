// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package profile finds the clusters that a ClusterProfile or a Profile is for,
// and keeps one ClusterSummary for each.
package profile

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/revision"
)

// Key names a profile of either kind.
type Key = revision.Owner

// profile is a ClusterProfile or a Profile: the same spec and status, one for
// the clusters of all namespaces, one for those of its own.
type profile struct {
	client.Object
	kind      string
	finalizer string
	spec      *configv1beta1.ProfileSpec
	status    *configv1beta1.ProfileStatus
}

func ofClusterProfile(object *configv1beta1.ClusterProfile) profile {
	return profile{
		Object: object, kind: configv1beta1.KindClusterProfile, finalizer: configv1beta1.ClusterProfileFinalizer,
		spec: &object.Spec, status: &object.Status,
	}
}

func ofProfile(object *configv1beta1.Profile) profile {
	return profile{
		Object: object, kind: configv1beta1.KindProfile, finalizer: configv1beta1.ProfileFinalizer,
		spec: &object.Spec, status: &object.Status,
	}
}

// get reads the profile of a key.
func get(ctx context.Context, reader client.Reader, key Key) (profile, error) {
	name := types.NamespacedName{Namespace: key.Namespace, Name: key.Name}
	switch key.Kind {
	case configv1beta1.KindClusterProfile:
		object := &configv1beta1.ClusterProfile{}
		err := reader.Get(ctx, name, object)
		return ofClusterProfile(object), err
	case configv1beta1.KindProfile:
		object := &configv1beta1.Profile{}
		err := reader.Get(ctx, name, object)
		return ofProfile(object), err
	}
	return profile{}, fmt.Errorf("%q is no kind of profile", key.Kind)
}

// list reads all profiles of both kinds.
func list(ctx context.Context, reader client.Reader, options ...client.ListOption) ([]profile, error) {
	clusterProfiles := &configv1beta1.ClusterProfileList{}
	if err := reader.List(ctx, clusterProfiles, options...); err != nil {
		return nil, fmt.Errorf("listing ClusterProfiles: %w", err)
	}
	profiles := &configv1beta1.ProfileList{}
	if err := reader.List(ctx, profiles, options...); err != nil {
		return nil, fmt.Errorf("listing Profiles: %w", err)
	}
	all := make([]profile, 0, len(clusterProfiles.Items)+len(profiles.Items))
	for i := range clusterProfiles.Items {
		all = append(all, ofClusterProfile(&clusterProfiles.Items[i]))
	}
	for i := range profiles.Items {
		all = append(all, ofProfile(&profiles.Items[i]))
	}
	return all, nil
}

func (p profile) key() Key {
	return Key{Kind: p.kind, Namespace: p.GetNamespace(), Name: p.GetName()}
}

func (p profile) gvk() schema.GroupVersionKind {
	return configv1beta1.SchemeGroupVersion.WithKind(p.kind)
}

func (p profile) deepCopy() profile {
	switch object := p.Object.DeepCopyObject().(type) {
	case *configv1beta1.ClusterProfile:
		return ofClusterProfile(object)
	case *configv1beta1.Profile:
		return ofProfile(object)
	}
	return p
}

// setKind is the kind of set that the profile's setRefs name.
func (p profile) setKind() string {
	if p.kind == configv1beta1.KindProfile {
		return libv1beta1.KindSet
	}
	return libv1beta1.KindClusterSet
}

// Exists reports whether there is a profile of this name, and whether it is being
// deleted.
func Exists(ctx context.Context, reader client.Reader, key Key) (exists, deleting bool, err error) {
	p, err := get(ctx, reader, key)
	if apierrors.IsNotFound(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("reading %s %s/%s: %w", key.Kind, key.Namespace, key.Name, err)
	}
	return true, !p.GetDeletionTimestamp().IsZero(), nil
}
