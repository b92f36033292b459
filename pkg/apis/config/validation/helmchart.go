// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/apis/config"
)

const (
	// maxURLSize is what clients and servers agree to take.
	maxURLSize = 2048
	// maxVersionSize is more than any version or range of versions needs.
	maxVersionSize = 256
	// maxReleaseName is Helm's own limit.
	maxReleaseName = 53
	// maxValuesSize leaves room for the rest of the object, which etcd takes up to
	// 1.5 MiB of.
	maxValuesSize = 1 << 20
)

var (
	// releaseName is Helm's own rule.
	releaseName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	// ociName is a path in a registry, as the OCI distribution specification has it.
	ociName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

	chartActions = []config.HelmChartAction{config.HelmChartActionInstall, config.HelmChartActionUninstall}
	urlSchemes   = []string{"http://", "https://", "oci://"}
)

func validateCharts(charts []config.HelmChart, namespace string, path *field.Path) field.ErrorList {
	if len(charts) > maxCharts {
		return field.ErrorList{field.TooMany(path, len(charts), maxCharts)}
	}
	var errs field.ErrorList
	releases := make(map[string]bool, len(charts))
	for i := range charts {
		chart := &charts[i]
		errs = append(errs, validateChart(chart, namespace, path.Index(i))...)

		// Two releases that are templates may well have one text and two names.
		if hasTemplate(chart.ReleaseName) || hasTemplate(chart.ReleaseNamespace) {
			continue
		}
		release := chart.ReleaseNamespace + "/" + chart.ReleaseName
		if releases[release] {
			errs = append(errs, field.Duplicate(path.Index(i).Child("releaseName"), release))
		}
		releases[release] = true
	}
	return errs
}

func validateChart(chart *config.HelmChart, namespace string, path *field.Path) field.ErrorList {
	errs := chartTable.Validate(chart, path)
	if chart.Options != nil {
		errs = append(errs, validateHelmOptions(chart.Options, path.Child("options"))...)
	}
	errs = append(errs, oneOf(chart.HelmChartAction, chartActions, chartActions, path.Child("helmChartAction"))...)
	errs = append(errs, validateRelease(chart, path)...)
	errs = append(errs, validateRepositoryURL(chart.RepositoryURL, namespace, path.Child("repositoryURL"))...)
	errs = append(errs, validateChartAccess(chart, namespace, path)...)
	errs = append(errs, validateChartProofs(chart, namespace, path)...)
	errs = append(errs, validateChartName(chart, path.Child("chartName"))...)
	if version := chart.ChartVersion; hasTemplate(version) {
		errs = append(errs, validateTemplateSize(version, path.Child("chartVersion"))...)
	} else if len(version) > maxVersionSize {
		errs = append(errs, field.TooLong(path.Child("chartVersion"), "", maxVersionSize))
	}
	errs = append(errs, validateValuesFrom(chart.ValuesFrom, namespace, path.Child("valuesFrom"))...)
	return append(errs, validateValues(chart.Values, path.Child("values"))...)
}

func validateRelease(chart *config.HelmChart, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if chart.ReleaseName == "" {
		errs = append(errs, field.Required(path.Child("releaseName"), "the name of the release"))
	} else {
		errs = append(errs, validateName(chart.ReleaseName, isReleaseName, path.Child("releaseName"))...)
	}
	if chart.ReleaseNamespace == "" {
		errs = append(errs, field.Required(path.Child("releaseNamespace"), "the namespace of the release"))
	} else {
		errs = append(errs, validateName(chart.ReleaseNamespace, apivalidation.ValidateNamespaceName, path.Child("releaseNamespace"))...)
	}
	return errs
}

func isReleaseName(name string, _ bool) []string {
	var problems []string
	if len(name) > maxReleaseName {
		problems = append(problems, utilvalidation.MaxLenError(maxReleaseName))
	}
	if !releaseName.MatchString(name) {
		problems = append(problems, "has to be lower case letters, digits, - and ., and to start and end with a letter or digit")
	}
	return problems
}

func validateRepositoryURL(text, namespace string, path *field.Path) field.ErrorList {
	switch {
	case text == "":
		return field.ErrorList{field.Required(path, "the URL of the repository or registry")}
	case hasTemplate(text):
		return validateTemplateSize(text, path)
	case len(text) > maxURLSize:
		return field.ErrorList{field.TooLong(path, "", maxURLSize)}
	}
	if slices.Contains(fluxSchemes, schemeOf(text)) {
		return validateFluxURL(text, namespace, path)
	}
	parsed, err := url.Parse(text)
	if err != nil {
		// The error quotes the URL, which may have a password in it.
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "is not a URL")}
	}
	if parsed.User != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "must not have credentials in it: they would show wherever the URL does")}
	}
	if !slices.Contains(urlSchemes, schemeOf(text)) {
		return field.ErrorList{field.Invalid(path, text, "has to start with "+strings.Join(slices.Concat(urlSchemes, fluxSchemes), ", "))}
	}
	if parsed.Host == "" {
		return field.ErrorList{field.Invalid(path, text, "has no host")}
	}
	return nil
}

// validateChartName checks the name of a chart: in a repository CHART, or NAME/CHART
// where NAME is what the profile calls the repository; in a registry the path below
// the URL.
func validateChartName(chart *config.HelmChart, path *field.Path) field.ErrorList {
	name := chart.ChartName
	switch {
	case isFluxURL(chart.RepositoryURL):
		return validateDirectory(name, path)
	case name == "":
		return field.ErrorList{field.Required(path, "the name of the chart")}
	case hasTemplate(name):
		return validateTemplateSize(name, path)
	case schemeOf(chart.RepositoryURL) == "oci://":
		if !ociName.MatchString(name) || len(name) > utilvalidation.DNS1123SubdomainMaxLength {
			return field.ErrorList{field.Invalid(path, name, "has to be the path of the chart below repositoryURL, in lower case and without a tag")}
		}
		return nil
	}
	if len(name) > utilvalidation.DNS1123SubdomainMaxLength {
		return field.ErrorList{field.TooLong(path, "", utilvalidation.DNS1123SubdomainMaxLength)}
	}
	repository, bare, found := strings.Cut(name, "/")
	if !found {
		return nil
	}
	if bare == "" || strings.Contains(bare, "/") {
		return field.ErrorList{field.Invalid(path, name, "has to be CHART, or the name of the repository and CHART with a slash between them")}
	}
	if chart.RepositoryName != "" && !hasTemplate(chart.RepositoryName) && repository != chart.RepositoryName {
		return field.ErrorList{field.Invalid(path, name, fmt.Sprintf("names repository %q, but repositoryName is %q", repository, chart.RepositoryName))}
	}
	return nil
}

// validateValues checks that values are a YAML mapping, if they are no template. It
// never quotes them: they may hold a password.
func validateValues(values string, path *field.Path) field.ErrorList {
	if len(values) > maxValuesSize {
		return field.ErrorList{field.TooLong(path, "", maxValuesSize)}
	}
	if values == "" || hasTemplate(values) {
		return nil
	}
	encoded, err := yaml.YAMLToJSON([]byte(values))
	if err != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "is not YAML"+yamlLine(err))}
	}
	if !bytes.HasPrefix(encoded, []byte("{")) && !bytes.Equal(encoded, []byte("null")) {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "has to be a YAML mapping")}
	}
	return nil
}

var yamlErrorLine = regexp.MustCompile(`\bline \d+`)

// yamlLine is where a YAML error is. The rest of such an error may quote the text.
func yamlLine(err error) string {
	if line := yamlErrorLine.FindString(err.Error()); line != "" {
		return ", see " + line
	}
	return ""
}

func warningsOnCharts(charts []config.HelmChart, path *field.Path) []string {
	var warnings []string
	for i := range charts {
		chart := &charts[i]
		if chart.ChartVersion == "" && chart.HelmChartAction != config.HelmChartActionUninstall {
			warnings = append(warnings, fmt.Sprintf("%s: unset means the latest version, which changes without the profile",
				path.Index(i).Child("chartVersion")))
		}
		warnings = append(warnings, warningsOnOptions(chart.Options, path.Index(i).Child("options"))...)
	}
	return warnings
}
