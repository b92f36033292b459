// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/dependency"
	"github.com/muster-project/muster/pkg/registry"
)

// RefuseCycles makes the storage of a kind of profile refuse a write after which a profile
// would depend on itself through others. Two writes at the same moment may still close a
// cycle; the profiles in it say so then, and wait.
func RefuseCycles[T registry.Object](rest *registry.REST, kind string, spec func(T) *config.ProfileSpec) {
	refuse := func(ctx context.Context, profile T) error {
		return refuseCycle(kind, profile.GetName(), spec(profile).DependsOn, func(name string) ([]string, error) {
			found, err := rest.Get(ctx, name, &metav1.GetOptions{})
			if err != nil {
				return nil, ignoreNotFound(err)
			}
			return spec(found.(T)).DependsOn, nil
		})
	}
	rest.BeginCreate = func(ctx context.Context, obj runtime.Object, _ *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
		return finish, refuse(ctx, obj.(T))
	}
	rest.BeginUpdate = func(ctx context.Context, obj, old runtime.Object, _ *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
		if slices.Equal(spec(obj.(T)).DependsOn, spec(old.(T)).DependsOn) {
			return finish, nil
		}
		return finish, refuse(ctx, obj.(T))
	}
}

// finish has nothing to do: nothing was begun.
func finish(context.Context, bool) {}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// refuseCycle follows what a profile is about to depend on; get reads what others do.
func refuseCycle(kind, own string, dependsOn []string, get func(name string) ([]string, error)) error {
	if len(dependsOn) == 0 {
		return nil
	}
	var failed error
	cycle := dependency.Cycle(own, func(name string) []string {
		if name == own {
			return dependsOn
		}
		names, err := get(name)
		if err != nil {
			failed = err
		}
		return names
	})
	if failed != nil || len(cycle) <= 2 { // itself alone is for validation
		return failed
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: config.GroupName, Kind: kind}, own, field.ErrorList{
		field.Invalid(field.NewPath("spec", "dependsOn").Index(slices.Index(dependsOn, cycle[1])), cycle[1],
			"would make the profile depend on itself: "+strings.Join(cycle, " → ")),
	})
}
