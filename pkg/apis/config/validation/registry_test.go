// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

func TestValidateChartSources(t *testing.T) {
	access := func(change func(*config.RegistryCredentialsConfig)) func(*config.HelmChart) {
		return func(c *config.HelmChart) {
			c.RegistryCredentialsConfig = &config.RegistryCredentialsConfig{Credentials: &lib.SecretReference{Name: "login"}}
			change(c.RegistryCredentialsConfig)
		}
	}
	registry := func(c *config.HelmChart) { c.RepositoryURL, c.ChartName = "oci://registry.example.com", "kyverno" }
	flux := func(url string) func(*config.HelmChart) {
		return func(c *config.HelmChart) { c.RepositoryURL, c.RepositoryName, c.ChartName = url, "", "" }
	}
	signed := func(proof config.SignatureVerification) func(*config.HelmChart) {
		return func(c *config.HelmChart) {
			registry(c)
			c.SignatureVerification = &proof
		}
	}
	tests := map[string]struct {
		change func(*config.HelmChart)
		want   []string
	}{
		"nothing": {access(func(a *config.RegistryCredentialsConfig) { a.Credentials = nil }), nil},
		"all": {access(func(a *config.RegistryCredentialsConfig) {
			a.Key, a.CA, a.InsecureSkipTLSVerify = "a.json", &lib.SecretReference{Name: "ca", Namespace: "civo"}, true
		}), nil},
		"templates": {access(func(a *config.RegistryCredentialsConfig) {
			a.Credentials = &lib.SecretReference{Namespace: "{{ .ClusterNamespace }}", Name: "{{ .ClusterName }}-login"}
		}), nil},
		"no name":         {access(func(a *config.RegistryCredentialsConfig) { a.Credentials.Name = "" }), []string{"charts[0].registryCredentialsConfig.credentials.name: Required value"}},
		"bad names":       {access(func(a *config.RegistryCredentialsConfig) { a.CA = &lib.SecretReference{Name: "A"}; a.Key = "a/b" }), []string{"charts[0].registryCredentialsConfig.ca.name: RFC 1123", "charts[0].registryCredentialsConfig.key: a valid config key"}},
		"another's":       {access(func(a *config.RegistryCredentialsConfig) { a.Credentials.Namespace = "kube-system" }), []string{"charts[0].registryCredentialsConfig.credentials.namespace: has to be civo"}},
		"a key of naught": {access(func(a *config.RegistryCredentialsConfig) { a.Credentials, a.Key = nil, "a" }), []string{"charts[0].registryCredentialsConfig.key: is a key of the Secret"}},
		"plain HTTP":      {access(func(a *config.RegistryCredentialsConfig) { a.PlainHTTP = true }), []string{"charts[0].registryCredentialsConfig.plainHTTP: is for oci:// alone"}},
		"plain HTTP of a registry": {func(c *config.HelmChart) {
			registry(c)
			c.RegistryCredentialsConfig = &config.RegistryCredentialsConfig{PlainHTTP: true}
		}, nil},
		"credentials for all": {func(c *config.HelmChart) { c.Options = &config.HelmOptions{PassCredentialsAll: true} }, nil},
		"Flux":                {flux("gitrepository://civo/charts/a/b"), nil},
		"Flux and templates":  {flux("bucket://civo/{{ .ClusterName }}/a"), nil},
		"Flux elsewhere":      {flux("gitrepository://flux-system/charts"), []string{"charts[0].repositoryURL: has to be civo, the namespace of the profile"}},
		"Flux without a name": {flux("ocirepository://civo"), []string{"charts[0].repositoryURL: has to name a source of Flux as ocirepository://NAMESPACE/NAME"}},
		"Flux with a query":   {flux("bucket://civo/a?secret"), []string{"charts[0].repositoryURL: has to name a source of Flux"}},
		"Flux and bad names":  {flux("bucket://civo/A"), []string{"charts[0].repositoryURL: RFC 1123"}},
		"Flux and a way out":  {flux("bucket://civo/a/../../b"), []string{"charts[0].repositoryURL: has to be a directory in the source"}},
		"Flux and credentials": {func(c *config.HelmChart) {
			flux("bucket://civo/a")(c)
			c.RegistryCredentialsConfig = &config.RegistryCredentialsConfig{}
			c.ProvenanceVerification = &config.ProvenanceVerification{KeyringSecretRef: lib.SecretReference{Name: "a"}}
		}, []string{"charts[0].registryCredentialsConfig: is for repositories", "charts[0].provenanceVerification: is for repositories"}},
		"provenance": {func(c *config.HelmChart) {
			c.ProvenanceVerification = &config.ProvenanceVerification{KeyringSecretRef: lib.SecretReference{Name: "a"}}
		}, nil},
		"no keyring":          {func(c *config.HelmChart) { c.ProvenanceVerification = &config.ProvenanceVerification{} }, []string{"charts[0].provenanceVerification.keyringSecretRef.name: Required value"}},
		"signature":           {signed(config.SignatureVerification{Provider: "PublicKey", SecretRef: &lib.SecretReference{Name: "a"}}), nil},
		"signature of no key": {signed(config.SignatureVerification{Provider: "PublicKey"}), []string{"charts[0].signatureVerification.secretRef: Required value"}},
		"signature somehow":   {signed(config.SignatureVerification{Provider: "Magic", SecretRef: &lib.SecretReference{Name: "a"}}), []string{`charts[0].signatureVerification.provider: Unsupported value: "Magic": supported values: "PublicKey"`}},
		"signature of an identity": {
			signed(config.SignatureVerification{Provider: "Keyless", MatchOIDCIdentity: []config.OIDCIdentity{{Issuer: "a", Subject: "b"}}}),
			[]string{`charts[0].signatureVerification.provider: Forbidden: "Keyless" is not supported yet`, "charts[0].signatureVerification.matchOIDCIdentity: Forbidden"},
		},
		"signature in a repository": {
			func(c *config.HelmChart) {
				c.SignatureVerification = &config.SignatureVerification{Provider: "PublicKey", SecretRef: &lib.SecretReference{Name: "a"}}
			},
			[]string{"charts[0].signatureVerification: is for charts in OCI registries alone"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			chart := validChart()
			tt.change(&chart)
			expect(t, validateCharts([]config.HelmChart{chart}, "civo", field.NewPath("charts")), tt.want...)
		})
	}
}
