// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

// fluxSchemes are the schemes of URLs that refer to Flux sources.
var fluxSchemes = []string{"gitrepository://", "ocirepository://", "bucket://"}

func isFluxURL(text string) bool { return slices.Contains(fluxSchemes, schemeOf(text)) }

// validateFluxURL checks a URL of a source of Flux, as in gitrepository://NAMESPACE/NAME/PATH.
func validateFluxURL(text, own string, path *field.Path) field.ErrorList {
	_, rest, _ := strings.Cut(text, "://")
	namespace, rest, _ := strings.Cut(rest, "/")
	name, directory, _ := strings.Cut(rest, "/")
	if namespace == "" || name == "" || strings.ContainsAny(text, "?#@") {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "has to name a source of Flux as "+schemeOf(text)+"NAMESPACE/NAME or "+schemeOf(text)+"NAMESPACE/NAME/PATH")}
	}
	errs := validateSourceNamespace(namespace, own, path)
	errs = append(errs, validateName(name, apivalidation.NameIsDNSSubdomain, path)...)
	return append(errs, validateDirectory(directory, path)...)
}

// validateChartAccess checks how a repository is entered.
func validateChartAccess(chart *config.HelmChart, namespace string, path *field.Path) field.ErrorList {
	access, path := chart.RegistryCredentialsConfig, path.Child("registryCredentialsConfig")
	if access == nil {
		return nil
	}
	var errs field.ErrorList
	if isFluxURL(chart.RepositoryURL) {
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "is for repositories and registries; Flux enters its sources itself"))
	}
	if access.Credentials != nil {
		errs = append(errs, validateSecretRef(access.Credentials, namespace, path.Child("credentials"))...)
	}
	if access.CA != nil {
		errs = append(errs, validateSecretRef(access.CA, namespace, path.Child("ca"))...)
	}
	if access.Key != "" {
		for _, problem := range utilvalidation.IsConfigMapKey(access.Key) {
			errs = append(errs, field.Invalid(path.Child("key"), access.Key, problem))
		}
		if access.Credentials == nil {
			errs = append(errs, field.Invalid(path.Child("key"), access.Key, "is a key of the Secret that credentials names, and there is none"))
		}
	}
	if access.PlainHTTP && !hasTemplate(chart.RepositoryURL) && schemeOf(chart.RepositoryURL) != "oci://" {
		errs = append(errs, field.Invalid(path.Child("plainHTTP"), true, "is for oci:// alone; write http:// otherwise"))
	}
	return errs
}

// validateChartProofs checks what has to be proved of a chart.
func validateChartProofs(chart *config.HelmChart, namespace string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if proof, at := chart.ProvenanceVerification, path.Child("provenanceVerification"); proof != nil {
		if isFluxURL(chart.RepositoryURL) {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "is for repositories and registries; Flux verifies its sources itself"))
		}
		errs = append(errs, validateSecretRef(&proof.KeyringSecretRef, namespace, at.Child("keyringSecretRef"))...)
	}
	proof, at := chart.SignatureVerification, path.Child("signatureVerification")
	if proof == nil {
		return errs
	}
	if !hasTemplate(chart.RepositoryURL) && schemeOf(chart.RepositoryURL) != "oci://" {
		errs = append(errs, field.Invalid(at, field.OmitValueType{}, "is for charts in OCI registries alone"))
	}
	providers := []config.SignatureProvider{config.SignatureProviderPublicKey, config.SignatureProviderKeyless}
	errs = append(errs, oneOf(proof.Provider, providers, providers[:1], at.Child("provider"))...)
	switch {
	case proof.SecretRef != nil:
		errs = append(errs, validateSecretRef(proof.SecretRef, namespace, at.Child("secretRef"))...)
	case proof.Provider == config.SignatureProviderPublicKey:
		errs = append(errs, field.Required(at.Child("secretRef"), "the Secret with the public key"))
	}
	return errs
}

// validateSecretRef checks a reference to a Secret that a chart needs, of which both
// parts may be templates.
func validateSecretRef(ref *lib.SecretReference, own string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if ref.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "the name of the Secret"))
	} else {
		errs = append(errs, validateName(ref.Name, apivalidation.NameIsDNSSubdomain, path.Child("name"))...)
	}
	return append(errs, validateSourceNamespace(ref.Namespace, own, path.Child("namespace"))...)
}
