// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
)

func TestValidateCharts(t *testing.T) {
	oci := func(c *config.HelmChart) {
		c.RepositoryURL, c.RepositoryName, c.ChartName = "oci://registry-1.docker.io/bitnamicharts", "", "vault"
	}
	tests := map[string]struct {
		change func(*config.HelmChart)
		want   []string
	}{
		"good":                    {func(*config.HelmChart) {}, nil},
		"uninstall":               {func(c *config.HelmChart) { c.HelmChartAction = config.HelmChartActionUninstall }, nil},
		"chart alone":             {func(c *config.HelmChart) { c.ChartName = "kyverno" }, nil},
		"no name of repository":   {func(c *config.HelmChart) { c.RepositoryName = "" }, nil},
		"latest version":          {func(c *config.HelmChart) { c.ChartVersion = "" }, nil},
		"range of versions":       {func(c *config.HelmChart) { c.ChartVersion = ">=3.0.0 <4" }, nil},
		"plain http":              {func(c *config.HelmChart) { c.RepositoryURL = "http://charts.example.com:8080/a" }, nil},
		"registry":                {oci, nil},
		"path in a registry":      {func(c *config.HelmChart) { oci(c); c.ChartName = "charts/vault" }, nil},
		"scheme in capitals":      {func(c *config.HelmChart) { c.RepositoryURL = "HTTPS://charts.example.com" }, nil},
		"templates":               {templated, nil},
		"unknown action":          {func(c *config.HelmChart) { c.HelmChartAction = "Reinstall" }, []string{`charts[0].helmChartAction: Unsupported value: "Reinstall"`}},
		"no release":              {func(c *config.HelmChart) { c.ReleaseName = "" }, []string{"charts[0].releaseName: Required value"}},
		"release in capitals":     {func(c *config.HelmChart) { c.ReleaseName = "Kyverno" }, []string{"charts[0].releaseName: lower case"}},
		"release with underscore": {func(c *config.HelmChart) { c.ReleaseName = "a_b" }, []string{"charts[0].releaseName: lower case"}},
		"release with dots":       {func(c *config.HelmChart) { c.ReleaseName = "a.b-c.d" }, nil},
		"long release":            {func(c *config.HelmChart) { c.ReleaseName = strings.Repeat("a", 54) }, []string{"charts[0].releaseName: no more than 53"}},
		"no namespace":            {func(c *config.HelmChart) { c.ReleaseNamespace = "" }, []string{"charts[0].releaseNamespace: Required value"}},
		"bad namespace":           {func(c *config.HelmChart) { c.ReleaseNamespace = "a.b" }, []string{"charts[0].releaseNamespace: must not contain dots"}},
		"no URL":                  {func(c *config.HelmChart) { c.RepositoryURL = "" }, []string{"charts[0].repositoryURL: Required value"}},
		"no scheme":               {func(c *config.HelmChart) { c.RepositoryURL = "charts.example.com" }, []string{"charts[0].repositoryURL: has to start with http://, https://, oci://"}},
		"other scheme":            {func(c *config.HelmChart) { c.RepositoryURL = "file:///etc" }, []string{"charts[0].repositoryURL: has to start with"}},
		"no host":                 {func(c *config.HelmChart) { c.RepositoryURL = "https:///charts" }, []string{"charts[0].repositoryURL: has no host"}},
		"not a URL":               {func(c *config.HelmChart) { c.RepositoryURL = "https://a b:secret" }, []string{"charts[0].repositoryURL: is not a URL"}},
		"long URL":                {func(c *config.HelmChart) { c.RepositoryURL = "https://" + strings.Repeat("a", 2048) }, []string{"charts[0].repositoryURL: Too long"}},
		"credentials in URL":      {func(c *config.HelmChart) { c.RepositoryURL = "https://me:secret@example.com" }, []string{"charts[0].repositoryURL: must not have credentials in it"}},
		"no chart":                {func(c *config.HelmChart) { c.ChartName = "" }, []string{"charts[0].chartName: Required value"}},
		"other repository":        {func(c *config.HelmChart) { c.ChartName = "bitnami/kyverno" }, []string{`charts[0].chartName: names repository "bitnami", but repositoryName is "kyverno"`}},
		"repository without":      {func(c *config.HelmChart) { c.ChartName = "kyverno/" }, []string{"charts[0].chartName: has to be CHART"}},
		"deep chart":              {func(c *config.HelmChart) { c.ChartName = "kyverno/a/b" }, []string{"charts[0].chartName: has to be CHART"}},
		"long chart":              {func(c *config.HelmChart) { c.ChartName = strings.Repeat("a", 254) }, []string{"charts[0].chartName: Too long"}},
		"tag in a registry":       {func(c *config.HelmChart) { oci(c); c.ChartName = "vault:1.0" }, []string{"charts[0].chartName: has to be the path of the chart below repositoryURL"}},
		"root of a registry":      {func(c *config.HelmChart) { oci(c); c.ChartName = "/vault" }, []string{"charts[0].chartName: has to be the path"}},
		"capitals in a registry":  {func(c *config.HelmChart) { oci(c); c.ChartName = "Vault" }, []string{"charts[0].chartName: has to be the path"}},
		"long version":            {func(c *config.HelmChart) { c.ChartVersion = strings.Repeat("1", 257) }, []string{"charts[0].chartVersion: Too long"}},
		"long template":           {func(c *config.HelmChart) { c.ChartVersion = "{{" + strings.Repeat("1", maxTemplateSize) }, []string{"charts[0].chartVersion: Too long"}},
		"values from":             {func(c *config.HelmChart) { c.ValuesFrom = []config.ValueFrom{{Kind: "Secret", Name: "a"}} }, nil},
		"values from elsewhere": {
			func(c *config.HelmChart) {
				c.ValuesFrom = []config.ValueFrom{{Kind: "Secret", Namespace: "kube-system", Name: "a"}, {Kind: "Bucket"}}
			},
			[]string{
				"charts[0].valuesFrom[0].namespace: has to be civo, the namespace of the profile",
				`charts[0].valuesFrom[1].kind: Unsupported value: "Bucket"`, "charts[0].valuesFrom[1].name: Required value",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			chart := validChart()
			tt.change(&chart)
			errs := validateCharts([]config.HelmChart{chart}, "civo", field.NewPath("charts"))
			expect(t, errs, tt.want...)
			for _, err := range errs {
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the error shows what it must not: %v", err)
				}
			}
		})
	}
}

func templated(c *config.HelmChart) {
	const template = "{{ .Cluster.metadata.name }}_X"
	c.RepositoryURL, c.RepositoryName, c.ChartName, c.ChartVersion = template, template, template, template
	c.ReleaseName, c.ReleaseNamespace, c.Values = template, template, "{{ if true }}\n]"
}

func TestValidateReleasesAreDistinct(t *testing.T) {
	named := func(namespace, name string) config.HelmChart {
		chart := validChart()
		chart.ReleaseNamespace, chart.ReleaseName = namespace, name
		return chart
	}
	validate := func(charts ...config.HelmChart) field.ErrorList {
		return validateCharts(charts, "civo", field.NewPath("charts"))
	}
	expect(t, validate(named("a", "x"), named("b", "x"), named("a", "y")))
	expect(t, validate(named("a", "x"), named("b", "x"), named("a", "x")), `charts[2].releaseName: Duplicate value: "a/x"`)
	expect(t, validate(named("a", "{{ .x }}"), named("a", "{{ .x }}")))
}

func TestValidateValues(t *testing.T) {
	tests := map[string]struct{ values, want string }{
		"empty":         {"", ""},
		"comment":       {"# nothing\n", ""},
		"mapping":       {"a: 1\nb: {c: [d]}\n", ""},
		"JSON":          {`{"a": 1}`, ""},
		"template":      {"a: {{ .Cluster.metadata.name }}", ""},
		"text":          {"s3cret", "has to be a YAML mapping"},
		"list":          {"- s3cret", "has to be a YAML mapping"},
		"number":        {"42", "has to be a YAML mapping"},
		"broken":        {"a: 1\nb: [s3cret\n", "is not YAML, see line 2"},
		"tab":           {"a:\n\tb: s3cret", "is not YAML, see line 2"},
		"bad reference": {"a: *s3cret", "is not YAML"},
		"too long":      {strings.Repeat("a: b\n", maxValuesSize/5+1), "Too long"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			errs := validateValues(tt.values, field.NewPath("values"))
			if tt.want == "" {
				expect(t, errs)
				return
			}
			expect(t, errs, "values: "+tt.want)
			if len(errs) > 0 && strings.Contains(errs[0].Error(), "s3cret") {
				t.Errorf("the error quotes the values: %v", errs[0])
			}
		})
	}
}
