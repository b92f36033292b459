// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"maps"
	"path"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

const (
	// maxKustomizations bounds what one profile names, maxComponents what one
	// kustomization does.
	maxKustomizations = 500
	maxComponents     = 100
)

func validateKustomizationRefs(refs []config.KustomizationRef, namespace string, at *field.Path) field.ErrorList {
	if len(refs) > maxKustomizations {
		return field.ErrorList{field.TooMany(at, len(refs), maxKustomizations)}
	}
	var errs field.ErrorList
	for i := range refs {
		errs = append(errs, validateKustomizationRef(&refs[i], namespace, at.Index(i))...)
	}
	return errs
}

func validateKustomizationRef(ref *config.KustomizationRef, namespace string, at *field.Path) field.ErrorList {
	errs := oneOf(ref.DeploymentType, deploymentTypes, deploymentTypes, at.Child("deploymentType"))
	if ref.Tier < 1 {
		errs = append(errs, field.Invalid(at.Child("tier"), ref.Tier, "has to be at least 1"))
	}
	errs = append(errs, validateDirectory(ref.Path, at.Child("path"))...)
	if len(ref.Components) > maxComponents {
		errs = append(errs, field.TooMany(at.Child("components"), len(ref.Components), maxComponents))
	}
	for i, component := range ref.Components {
		if component == "" {
			errs = append(errs, field.Required(at.Child("components").Index(i), "the directory of a component"))
		} else if hasTemplate(component) {
			errs = append(errs, validateTemplateSize(component, at.Child("components").Index(i))...)
		}
	}
	if ref.TargetNamespace != "" {
		errs = append(errs, libvalidation.Invalid(at.Child("targetNamespace"), ref.TargetNamespace,
			apivalidation.ValidateNamespaceName(ref.TargetNamespace, false))...)
	}
	for _, key := range slices.Sorted(maps.Keys(ref.Values)) {
		if len(ref.Values[key]) > maxValuesSize {
			errs = append(errs, field.TooLong(at.Child("values").Key(key), "", maxValuesSize))
		}
	}
	errs = append(errs, validateValuesFrom(ref.ValuesFrom, namespace, at.Child("valuesFrom"))...)
	if ref.RemoteURL != nil {
		if ref.Kind != "" || ref.Name != "" {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "remoteURL excludes kind and name"))
		}
		remote := config.RemoteURL{
			URL: ref.RemoteURL.URL, Interval: ref.RemoteURL.Interval, SecretRef: ref.RemoteURL.SecretRef,
			PlainHTTP: ref.RemoteURL.PlainHTTP,
		}
		return append(errs, validateRemoteURL(&remote, namespace, at.Child("remoteURL"))...)
	}
	return append(errs, validateObjectSource(ref.Kind, ref.Namespace, ref.Name, allSourceKinds, namespace, at)...)
}

// validateDirectory refuses a path that leaves the source, unless it is a template: then
// what it renders to is looked at.
func validateDirectory(directory string, at *field.Path) field.ErrorList {
	if hasTemplate(directory) {
		return validateTemplateSize(directory, at)
	}
	if cleaned := path.Clean(directory); cleaned == ".." || strings.HasPrefix(cleaned, "../") {
		return field.ErrorList{field.Invalid(at, directory, "has to be a directory in the source")}
	}
	return nil
}

// validateObjectSource checks the kind, namespace and name of a source that is an object.
func validateObjectSource(kind, namespace, name string, known []string, own string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if kind == "" {
		errs = append(errs, field.Required(at.Child("kind"), strings.Join(known, ", ")))
	} else {
		errs = append(errs, oneOf(kind, known, known, at.Child("kind"))...)
	}
	if name == "" {
		errs = append(errs, field.Required(at.Child("name"), "the name of the source"))
	} else {
		errs = append(errs, validateName(name, apivalidation.NameIsDNSSubdomain, at.Child("name"))...)
	}
	return append(errs, validateSourceNamespace(namespace, own, at.Child("namespace"))...)
}
