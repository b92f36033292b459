// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/script/fieldpath"
)

const (
	// maxResourceRefs and maxWatchFields bound what is read and compared for one profile.
	maxResourceRefs = 100
	maxWatchFields  = 100
	// maxIdentifier is how many bytes an identifier may have.
	maxIdentifier = 63
)

var (
	// identifierSyntax is what templates can write in quotation marks without a thought,
	// and wordSyntax what they can write after a dot.
	identifierSyntax = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)
	wordSyntax       = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func validateResourceRefs(refs []config.TemplateResourceRef, namespace string, path *field.Path) field.ErrorList {
	if len(refs) > maxResourceRefs {
		return field.ErrorList{field.TooMany(path, len(refs), maxResourceRefs)}
	}
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range refs {
		ref, at := &refs[i], path.Index(i)
		errs = append(errs, validateIdentifier(ref.Identifier, seen[ref.Identifier], at.Child("identifier"))...)
		seen[ref.Identifier] = true
		errs = append(errs, validateHostObject(&ref.Resource, namespace, at.Child("resource"))...)
		errs = append(errs, validateWatchFields(ref.WatchFields, at.Child("watchFields"))...)
	}
	return errs
}

func validateIdentifier(identifier string, taken bool, path *field.Path) field.ErrorList {
	switch {
	case identifier == "":
		return field.ErrorList{field.Required(path, "templates call the object by it")}
	case taken:
		return field.ErrorList{field.Duplicate(path, identifier)}
	case len(identifier) > maxIdentifier:
		return field.ErrorList{field.TooLong(path, "", maxIdentifier)}
	case !identifierSyntax.MatchString(identifier):
		return field.ErrorList{field.Invalid(path, identifier, "has to be letters, digits, and between them - _ and .")}
	}
	return nil
}

// validateHostObject checks a reference to an object of the host. What kinds the host has,
// and which of them have namespaces, is found out when the object is read.
func validateHostObject(ref *corev1.ObjectReference, namespace string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch version, err := schema.ParseGroupVersion(ref.APIVersion); {
	case ref.APIVersion == "":
		errs = append(errs, field.Required(path.Child("apiVersion"), "the version of the kind, such as v1 or apps/v1"))
	case err != nil || version.Version == "":
		errs = append(errs, field.Invalid(path.Child("apiVersion"), ref.APIVersion, "has to be a version, such as v1 or apps/v1"))
	}
	if ref.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), "the kind of the object, such as ConfigMap"))
	}
	switch {
	case ref.Name == "":
		errs = append(errs, field.Required(path.Child("name"), "the name of the object, or a template of it"))
	case hasTemplate(ref.Name):
		errs = append(errs, validateTemplateSize(ref.Name, path.Child("name"))...)
	default:
		// Names of RBAC objects, for one, are no DNS names.
		if problems := content.IsPathSegmentName(ref.Name); len(problems) > 0 {
			errs = append(errs, field.Invalid(path.Child("name"), ref.Name, strings.Join(problems, ", ")))
		}
	}
	return append(errs, validateSourceNamespace(ref.Namespace, namespace, path.Child("namespace"))...)
}

func validateWatchFields(fields []string, path *field.Path) field.ErrorList {
	if len(fields) > maxWatchFields {
		return field.ErrorList{field.TooMany(path, len(fields), maxWatchFields)}
	}
	var errs field.ErrorList
	for i, text := range fields {
		switch _, err := fieldpath.Parse(text); {
		case err != nil:
			errs = append(errs, field.Invalid(path.Index(i), text, fmt.Sprintf("is no path of a field, such as spec.replicas: it %s", err)))
		case strings.HasPrefix(text, "/"):
			errs = append(errs, field.Invalid(path.Index(i), text, "is no path of a field, such as spec.replicas: it has slashes between names, not dots"))
		}
	}
	return errs
}

// warningsOnResourceRefs says which identifiers templates have to write in another way than
// most do.
func warningsOnResourceRefs(refs []config.TemplateResourceRef, path *field.Path) []string {
	var warnings []string
	for i, ref := range refs {
		if !wordSyntax.MatchString(ref.Identifier) {
			warnings = append(warnings, fmt.Sprintf("%s: templates cannot write .MgmtResources.%s; write getResource %q", path.Index(i).Child("identifier"), ref.Identifier, ref.Identifier))
		}
	}
	return warnings
}
