// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

// maxTemplateSize is what a string that is usually short may have if it is a
// template, in bytes.
const maxTemplateSize = 4 << 10

var (
	sourceKinds     = []string{config.SourceKindConfigMap, config.SourceKindSecret}
	allSourceKinds  = append(slices.Clone(sourceKinds), fluxSources...)
	deploymentTypes = []lib.DeploymentType{lib.DeploymentTypeRemote}
	// allDeploymentTypes are those that upstream knows; the table refuses what is not
	// obeyed.
	allDeploymentTypes = []lib.DeploymentType{lib.DeploymentTypeRemote, lib.DeploymentTypeLocal}
)

func validatePolicyRefs(refs []config.PolicyRef, namespace string, path *field.Path) field.ErrorList {
	if len(refs) > maxPolicyRefs {
		return field.ErrorList{field.TooMany(path, len(refs), maxPolicyRefs)}
	}
	var errs field.ErrorList
	for i := range refs {
		errs = append(errs, validatePolicyRef(&refs[i], namespace, path.Index(i))...)
	}
	return errs
}

func validatePolicyRef(ref *config.PolicyRef, namespace string, path *field.Path) field.ErrorList {
	errs := policyRefTable.Validate(ref, path)
	errs = append(errs, oneOf(ref.DeploymentType, allDeploymentTypes, deploymentTypes, path.Child("deploymentType"))...)
	if ref.Tier < 1 {
		errs = append(errs, field.Invalid(path.Child("tier"), ref.Tier, "has to be at least 1"))
	}
	if ref.RemoteURL != nil {
		if ref.Kind != "" || ref.Name != "" {
			errs = append(errs, field.Invalid(path, field.OmitValueType{}, "remoteURL excludes kind and name"))
		}
		return errs
	}
	return append(errs, validateObjectSource(ref.Kind, ref.Namespace, ref.Name, allSourceKinds, namespace, path)...)
}

// validateSourceNamespace checks the namespace of a source. That of a Profile is
// its own: who may write a Profile must not read what he may not. Where it is a
// template, rendering compares the result.
func validateSourceNamespace(namespace, own string, path *field.Path) field.ErrorList {
	switch {
	case namespace == "":
		return nil
	case hasTemplate(namespace):
		return validateTemplateSize(namespace, path)
	case own != "" && namespace != own:
		return field.ErrorList{field.Invalid(path, namespace, fmt.Sprintf("has to be %s, the namespace of the profile", own))}
	default:
		return validateName(namespace, apivalidation.ValidateNamespaceName, path)
	}
}

// validateName checks a name, unless it is a template.
func validateName(name string, rule apivalidation.ValidateNameFunc, path *field.Path) field.ErrorList {
	if hasTemplate(name) {
		return validateTemplateSize(name, path)
	}
	return libvalidation.Invalid(path, name, rule(name, false))
}

func validateTemplateSize(text string, path *field.Path) field.ErrorList {
	if len(text) > maxTemplateSize {
		return field.ErrorList{field.TooLong(path, "", maxTemplateSize)}
	}
	return nil
}

// hasTemplate says whether a string is a template, whose value is not known before
// it is rendered for a cluster.
func hasTemplate(s string) bool { return strings.Contains(s, "{{") }
