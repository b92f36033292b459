// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"bytes"
	"maps"
	"regexp"
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

const (
	// maxPatches and maxValuesFrom bound what one list names.
	maxPatches    = 500
	maxValuesFrom = 100
	// maxPatchSize is what one patch may have, in bytes.
	maxPatchSize = 128 << 10
	// maxExpression is what a regular expression may have, in bytes.
	maxExpression = 1 << 10
)

func validatePatches(patches []lib.Patch, path *field.Path) field.ErrorList {
	if len(patches) > maxPatches {
		return field.ErrorList{field.TooMany(path, len(patches), maxPatches)}
	}
	var errs field.ErrorList
	for i := range patches {
		errs = append(errs, validatePatchText(patches[i].Patch, path.Index(i).Child("patch"))...)
		if target := patches[i].Target; target != nil {
			errs = append(errs, validatePatchTarget(target, path.Index(i).Child("target"))...)
		}
	}
	return errs
}

// validatePatchText checks that a patch is a list or a mapping, if it is no template.
// Errors never quote it: it may hold a password.
func validatePatchText(text string, path *field.Path) field.ErrorList {
	switch {
	case text == "":
		return field.ErrorList{field.Required(path, "a strategic merge patch or a JSON patch")}
	case len(text) > maxPatchSize:
		return field.ErrorList{field.TooLong(path, "", maxPatchSize)}
	case hasTemplate(text):
		return nil
	}
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "is not YAML"+yamlLine(err))}
	}
	if !bytes.HasPrefix(encoded, []byte("{")) && !bytes.HasPrefix(encoded, []byte("[")) {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "has to be a mapping, for a strategic merge patch, or a list, for a JSON patch")}
	}
	return nil
}

func validatePatchTarget(target *lib.PatchSelector, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct{ name, expression string }{
		{"group", target.Group}, {"version", target.Version}, {"kind", target.Kind},
		{"namespace", target.Namespace}, {"name", target.Name},
	} {
		if len(f.expression) > maxExpression {
			errs = append(errs, field.TooLong(path.Child(f.name), "", maxExpression))
		} else if _, err := regexp.Compile(f.expression); err != nil {
			errs = append(errs, field.Invalid(path.Child(f.name), f.expression, "is no regular expression"))
		}
	}
	for _, f := range []struct{ name, selector string }{
		{"labelSelector", target.LabelSelector}, {"annotationSelector", target.AnnotationSelector},
	} {
		if _, err := labels.Parse(f.selector); err != nil {
			errs = append(errs, field.Invalid(path.Child(f.name), f.selector, "is no selector, as in a=b,c!=d"))
		}
	}
	return errs
}

// validateExtra checks labels or annotations that every object gets. The values of
// templates are not known before they are rendered.
func validateExtra(spec *config.ProfileSpec, path *field.Path) field.ErrorList {
	plain := map[string]string{}
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(spec.ExtraLabels)) {
		plain[key] = spec.ExtraLabels[key]
		if hasTemplate(plain[key]) {
			plain[key] = ""
			errs = append(errs, validateTemplateSize(spec.ExtraLabels[key], path.Child("extraLabels").Key(key))...)
		}
	}
	errs = append(errs, metav1validation.ValidateLabels(plain, path.Child("extraLabels"))...)
	return append(errs, apivalidation.ValidateAnnotations(spec.ExtraAnnotations, path.Child("extraAnnotations"))...)
}

// validateValuesFrom checks references to ConfigMaps and Secrets with values or patches.
func validateValuesFrom(refs []config.ValueFrom, namespace string, path *field.Path) field.ErrorList {
	if len(refs) > maxValuesFrom {
		return field.ErrorList{field.TooMany(path, len(refs), maxValuesFrom)}
	}
	var errs field.ErrorList
	for i := range refs {
		errs = append(errs, validateObjectSource(refs[i].Kind, refs[i].Namespace, refs[i].Name, sourceKinds, namespace, path.Index(i))...)
	}
	return errs
}
