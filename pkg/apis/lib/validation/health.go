// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"net/url"
	"time"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
)

const (
	// maxHealths and maxQueries bound how much work one profile makes on each cluster.
	maxHealths = 64
	maxQueries = 32
	// maxJobTimeout is how long the longest Job of a check may run.
	maxJobTimeout = 24 * time.Hour
	// maxURLSize and maxQuerySize are what servers agree to take, in bytes.
	maxURLSize   = 2048
	maxQuerySize = 4096
)

// ValidateHealths checks the checks of a profile. Those of an object in a namespace refer
// to nothing outside of it.
func ValidateHealths(checks []lib.ValidateHealth, namespace string, path *field.Path) field.ErrorList {
	if len(checks) > maxHealths {
		return field.ErrorList{field.TooMany(path, len(checks), maxHealths)}
	}
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range checks {
		check, at := &checks[i], path.Index(i)
		switch {
		case check.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "messages name the check by it"))
		case names[check.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), check.Name))
		}
		names[check.Name] = true
		errs = append(errs, validateHealth(check, namespace, at)...)
	}
	return errs
}

func validateHealth(check *lib.ValidateHealth, namespace string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch check.FeatureID {
	case lib.FeatureResources, lib.FeatureHelm, lib.FeatureKustomize:
	default:
		errs = append(errs, field.NotSupported(path.Child("featureID"), check.FeatureID,
			[]lib.FeatureID{lib.FeatureResources, lib.FeatureHelm, lib.FeatureKustomize}))
	}
	switch {
	case check.Kind != "":
		// The script and the rules are those of a selector too.
		errs = append(errs, validateResourceSelector(&lib.ResourceSelector{
			Group: check.Group, Version: check.Version, Kind: check.Kind, Namespace: check.Namespace, LabelFilters: check.LabelFilters,
		}, path)...)
	case check.Group != "" || check.Version != "" || check.Namespace != "" || len(check.LabelFilters) > 0:
		errs = append(errs, field.Required(path.Child("kind"), "the kind of the objects, such as Deployment"))
	case check.MetricSource == nil && check.JobCheck == nil:
		errs = append(errs, field.Required(path.Child("kind"), "there is nothing to check: give a kind, a metricSource or a jobCheck"))
	}
	errs = append(errs, ValidateLua(check.Script, path.Child("script"))...)
	errs = append(errs, ValidateRules(check.EvaluateCEL, path.Child("evaluateCEL"))...)
	errs = append(errs, validateMetrics(check, namespace, path)...)
	return append(errs, validateJobCheck(check.JobCheck, namespace, path.Child("jobCheck"))...)
}

func validateMetrics(check *lib.ValidateHealth, namespace string, path *field.Path) field.ErrorList {
	source := check.MetricSource
	if source == nil {
		if len(check.MetricQueries) > 0 {
			return field.ErrorList{field.Required(path.Child("metricSource"), "where the metricQueries are sent")}
		}
		return nil
	}
	at := path.Child("metricSource")
	errs := validateMetricURL(source.URL, at.Child("url"))
	if len(source.Path) > maxURLSize {
		errs = append(errs, field.TooLong(at.Child("path"), "", maxURLSize))
	}
	if ref := source.SecretRef; ref != nil {
		errs = append(errs, validateReferenceName(ref.Name, "the name of the Secret", at.Child("secretRef", "name"))...)
		if ref.Namespace != "" {
			errs = append(errs, validateOwnNamespace(ref.Namespace, namespace, at.Child("secretRef", "namespace"))...)
		}
	}
	if len(check.MetricQueries) == 0 {
		errs = append(errs, field.Required(path.Child("metricQueries"), "what is asked of the metricSource"))
	}
	if check.Script == "" && len(check.EvaluateCEL) == 0 {
		errs = append(errs, field.Required(path.Child("script"), "a script or evaluateCEL judges the metrics"))
	}
	return append(errs, validateQueries(check.MetricQueries, path.Child("metricQueries"))...)
}

func validateQueries(queries []lib.MetricQuery, path *field.Path) field.ErrorList {
	if len(queries) > maxQueries {
		return field.ErrorList{field.TooMany(path, len(queries), maxQueries)}
	}
	var errs field.ErrorList
	names := map[string]bool{}
	for i, query := range queries {
		at := path.Index(i)
		switch {
		case query.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "the script finds the result under it, in metrics"))
		case names[query.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), query.Name))
		}
		names[query.Name] = true
		switch {
		case query.Query == "":
			errs = append(errs, field.Required(at.Child("query"), "an expression of PromQL"))
		case len(query.Query) > maxQuerySize:
			errs = append(errs, field.TooLong(at.Child("query"), "", maxQuerySize))
		}
	}
	return errs
}

// validateMetricURL checks a URL without quoting it where it may have a password in it.
func validateMetricURL(text string, path *field.Path) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "the URL of a server that answers the queries of Prometheus")}
	}
	if len(text) > maxURLSize {
		return field.ErrorList{field.TooLong(path, "", maxURLSize)}
	}
	parsed, err := url.Parse(text)
	switch {
	case err != nil, parsed.Host == "", parsed.Scheme != "http" && parsed.Scheme != "https":
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "is not an http or https URL")}
	case parsed.User != nil:
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "must not have credentials in it; give them in secretRef")}
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "must end before the query, which metricQueries are")}
	}
	return nil
}

func validateJobCheck(job *lib.JobCheck, namespace string, path *field.Path) field.ErrorList {
	if job == nil {
		return nil
	}
	var errs field.ErrorList
	at, ref := path.Child("jobRef"), job.JobRef
	if ref.Kind != "ConfigMap" && ref.Kind != "Secret" {
		errs = append(errs, field.NotSupported(at.Child("kind"), ref.Kind, []string{"ConfigMap", "Secret"}))
	}
	errs = append(errs, validateReferenceName(ref.Name, "the name of what holds the Job's manifest", at.Child("name"))...)
	if ref.Namespace == "" {
		errs = append(errs, field.Required(at.Child("namespace"), "the namespace of what holds the Job's manifest"))
	} else {
		errs = append(errs, validateOwnNamespace(ref.Namespace, namespace, at.Child("namespace"))...)
	}
	if job.Timeout != nil && (job.Timeout.Duration < time.Second || job.Timeout.Duration > maxJobTimeout) {
		errs = append(errs, field.Invalid(path.Child("timeout"), job.Timeout.Duration.String(), "has to be from 1s to "+maxJobTimeout.String()))
	}
	return errs
}

func validateReferenceName(name, what string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, what)}
	}
	return Invalid(path, name, apivalidation.NameIsDNSSubdomain(name, false))
}

// validateOwnNamespace refuses another namespace than the referring object's, if that is
// in one.
func validateOwnNamespace(namespace, own string, path *field.Path) field.ErrorList {
	if own != "" && namespace != own {
		return field.ErrorList{field.Invalid(path, namespace, fmt.Sprintf("has to be %s, the namespace of this object", own))}
	}
	return Invalid(path, namespace, apivalidation.ValidateNamespaceName(namespace, false))
}
