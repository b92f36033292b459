// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/script/rule"
	"github.com/muster-project/muster/pkg/script/syntax"
)

const (
	// maxClusterChecks, maxResourceSelectors and maxRules bound how much work one object
	// makes at every probe.
	maxClusterChecks     = 32
	maxResourceSelectors = 32
	maxRules             = 32
)

func validateClusterChecks(checks []lib.ClusterCheck, path *field.Path) field.ErrorList {
	if len(checks) > maxClusterChecks {
		return field.ErrorList{field.TooMany(path, len(checks), maxClusterChecks)}
	}
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range checks {
		check, at := &checks[i], path.Index(i)
		switch {
		case check.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "conditions and events name the check by it"))
		case names[check.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), check.Name))
		}
		names[check.Name] = true
		errs = append(errs, ValidateResourceSelectors(check.ResourceSelectors, at.Child("resourceSelectors"))...)
		errs = append(errs, ValidateLua(check.Condition, at.Child("condition"))...)
	}
	return errs
}

// ValidateResourceSelectors checks selectors of objects in managed clusters.
func ValidateResourceSelectors(selectors []lib.ResourceSelector, path *field.Path) field.ErrorList {
	if len(selectors) > maxResourceSelectors {
		return field.ErrorList{field.TooMany(path, len(selectors), maxResourceSelectors)}
	}
	var errs field.ErrorList
	for i := range selectors {
		errs = append(errs, validateResourceSelector(&selectors[i], path.Index(i))...)
	}
	return errs
}

func validateResourceSelector(selector *lib.ResourceSelector, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if selector.Group != "" {
		errs = append(errs, Invalid(path.Child("group"), selector.Group, utilvalidation.IsDNS1123Subdomain(selector.Group))...)
	}
	if selector.Version == "" {
		errs = append(errs, field.Required(path.Child("version"), "the version of the kind, such as v1"))
	} else {
		errs = append(errs, Invalid(path.Child("version"), selector.Version, utilvalidation.IsDNS1035Label(selector.Version))...)
	}
	if selector.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), "the kind of the objects, such as Deployment"))
	}
	if selector.Namespace != "" {
		errs = append(errs, Invalid(path.Child("namespace"), selector.Namespace, apivalidation.ValidateNamespaceName(selector.Namespace, false))...)
	}
	// Names of RBAC objects, for one, are no DNS names.
	if selector.Name != "" {
		errs = append(errs, Invalid(path.Child("name"), selector.Name, content.IsPathSegmentName(selector.Name))...)
	}
	errs = append(errs, validateLabelFilters(selector.LabelFilters, path.Child("labelFilters"))...)
	if selector.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(selector.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
	}
	errs = append(errs, ValidateLua(selector.Evaluate, path.Child("evaluate"))...)
	return append(errs, ValidateRules(selector.EvaluateCEL, path.Child("evaluateCEL"))...)
}

func validateLabelFilters(filters []lib.LabelFilter, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	operations := []lib.LabelOperation{
		lib.LabelOperationEqual, lib.LabelOperationDifferent, lib.LabelOperationHas, lib.LabelOperationDoesNotHave,
	}
	for i, filter := range filters {
		at := path.Index(i)
		errs = append(errs, Invalid(at.Child("key"), filter.Key, utilvalidation.IsQualifiedName(filter.Key))...)
		switch filter.Operation {
		case lib.LabelOperationEqual, lib.LabelOperationDifferent:
			errs = append(errs, Invalid(at.Child("value"), filter.Value, utilvalidation.IsValidLabelValue(filter.Value))...)
		case lib.LabelOperationHas, lib.LabelOperationDoesNotHave:
		default:
			errs = append(errs, field.NotSupported(at.Child("operation"), filter.Operation, operations))
		}
	}
	return errs
}

// ValidateLua refuses a script that cannot be parsed. An empty one is none.
func ValidateLua(text string, path *field.Path) field.ErrorList {
	if err := syntax.Lua(text); err != nil {
		return field.ErrorList{field.Invalid(path, excerpt(text), fmt.Sprintf("not a Lua script: %s", err))}
	}
	return nil
}

// ValidateRules refuses CEL rules that do not compile.
func ValidateRules(rules []lib.CELRule, path *field.Path) field.ErrorList {
	if len(rules) > maxRules {
		return field.ErrorList{field.TooMany(path, len(rules), maxRules)}
	}
	var errs field.ErrorList
	for i, r := range rules {
		at := path.Index(i)
		if r.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), "messages name the rule by it"))
		}
		if r.Rule == "" {
			errs = append(errs, field.Required(at.Child("rule"), "a CEL expression of type bool"))
		} else if err := rule.Check(r.Rule); err != nil {
			errs = append(errs, field.Invalid(at.Child("rule"), excerpt(r.Rule), fmt.Sprintf("not a CEL rule: %s", err)))
		}
	}
	return errs
}

// excerpt is as much of a script as an error repeats.
func excerpt(text string) string {
	const most = 120
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
