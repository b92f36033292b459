// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

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
	fluxSources     = []string{config.SourceKindGitRepository, config.SourceKindOCIRepository, config.SourceKindBucket}
	allSourceKinds  = append(slices.Clone(sourceKinds), fluxSources...)
	deploymentTypes = []lib.DeploymentType{lib.DeploymentTypeRemote, lib.DeploymentTypeLocal}
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
	errs := oneOf(ref.DeploymentType, deploymentTypes, deploymentTypes, path.Child("deploymentType"))
	if ref.Tier < 1 {
		errs = append(errs, field.Invalid(path.Child("tier"), ref.Tier, "has to be at least 1"))
	}
	errs = append(errs, validatePolicyPath(ref, path.Child("path"))...)
	if ref.RemoteURL != nil {
		if ref.Kind != "" || ref.Name != "" {
			errs = append(errs, field.Invalid(path, field.OmitValueType{}, "remoteURL excludes kind and name"))
		}
		return append(errs, validateRemoteURL(ref.RemoteURL, namespace, path.Child("remoteURL"))...)
	}
	return append(errs, validateObjectSource(ref.Kind, ref.Namespace, ref.Name, allSourceKinds, namespace, path)...)
}

// minInterval is the shortest time between two fetches of a URL.
const minInterval = 10 * time.Second

func validateRemoteURL(remote *config.RemoteURL, namespace string, path *field.Path) field.ErrorList {
	errs := validateFetchURL(remote.URL, path.Child("url"))
	if remote.Interval != nil && remote.Interval.Duration < minInterval {
		errs = append(errs, field.Invalid(path.Child("interval"), remote.Interval.Duration.String(), "has to be at least "+minInterval.String()))
	}
	if remote.PlainHTTP && schemeOf(remote.URL) != "oci://" {
		errs = append(errs, field.Invalid(path.Child("plainHTTP"), true, "is for oci:// alone; write http:// otherwise"))
	}
	if ref := remote.SecretRef; ref != nil {
		if ref.Name == "" {
			errs = append(errs, field.Required(path.Child("secretRef", "name"), "the name of the Secret"))
		} else {
			errs = append(errs, libvalidation.Invalid(path.Child("secretRef", "name"), ref.Name, apivalidation.NameIsDNSSubdomain(ref.Name, false))...)
		}
		switch {
		case ref.Namespace == "":
		case namespace != "" && ref.Namespace != namespace:
			errs = append(errs, field.Invalid(path.Child("secretRef", "namespace"), ref.Namespace, fmt.Sprintf("has to be %s, the namespace of the profile", namespace)))
		default:
			errs = append(errs, libvalidation.Invalid(path.Child("secretRef", "namespace"), ref.Namespace, apivalidation.ValidateNamespaceName(ref.Namespace, false))...)
		}
	}
	return errs
}

// validatePolicyPath checks the path in a source, which the sources of Flux alone have.
func validatePolicyPath(ref *config.PolicyRef, path *field.Path) field.ErrorList {
	if ref.Path != "" && !slices.Contains(fluxSources, ref.Kind) {
		return field.ErrorList{field.Invalid(path, ref.Path, "is for "+strings.Join(fluxSources, ", ")+" alone")}
	}
	return validateDirectory(ref.Path, path)
}

// validateFetchURL checks a URL without quoting it where it may have a password in it.
func validateFetchURL(text string, path *field.Path) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "the URL to fetch from")}
	}
	if len(text) > maxURLSize {
		return field.ErrorList{field.TooLong(path, "", maxURLSize)}
	}
	parsed, err := url.Parse(text)
	switch {
	case err != nil || hasTemplate(text):
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "is not a URL")}
	case parsed.User != nil:
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "must not have credentials in it; give them in secretRef")}
	case !slices.Contains(urlSchemes, schemeOf(text)):
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "has to start with "+strings.Join(urlSchemes, ", "))}
	case parsed.Host == "":
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "has no host")}
	}
	return nil
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
