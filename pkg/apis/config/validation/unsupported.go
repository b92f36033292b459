// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
	"github.com/muster-project/muster/pkg/apis/unsupported"
)

// fluxSources are the kinds of Flux sources.
var fluxSources = []string{config.SourceKindGitRepository, config.SourceKindOCIRepository, config.SourceKindBucket}

// fluxSchemes are the schemes of URLs that refer to Flux sources.
var fluxSchemes = []string{"gitrepository://", "ocirepository://", "bucket://"}

var profileMetaTable = unsupported.Table[metav1.ObjectMeta]{
	libvalidation.AnnotationRefused(v1beta1.AnnotationTexTemplate, "templates have one set of functions, which escapes nothing"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationLua, "sources are YAML or Go templates"),
	libvalidation.LabelRefused(v1beta1.LabelServiceAccountName, "a profile cannot act as a tenant, and without that it would act with all rights"),
	libvalidation.LabelRefused(v1beta1.LabelServiceAccountNamespace, "a profile cannot act as a tenant, and without that it would act with all rights"),
	libvalidation.LabelRefused(v1beta1.LabelAdminName, "a profile cannot act as a tenant, and without that it would act with all rights"),
}

var profileTable = unsupported.Table[config.ProfileSpec]{
	{
		Path: "syncMode", Reason: "drift is neither undone nor reported, and there is no trial run",
		Supported: []string{string(config.SyncModeContinuous), string(config.SyncModeOneTime)},
		Refused:   []string{string(config.SyncModeContinuousWithDriftDetection), string(config.SyncModeDryRun)},
		Value:     func(s *config.ProfileSpec) any { return s.SyncMode },
	},
	{
		Path: "continueOnConflict", Reason: "a list stops at its first conflict",
		Value: func(s *config.ProfileSpec) any { return s.ContinueOnConflict },
	},
	{
		Path: "continueOnError", Reason: "a list stops at its first failure",
		Value: func(s *config.ProfileSpec) any { return s.ContinueOnError },
	},
	{
		Path: "maxConsecutiveFailures", Reason: "what failed is tried again until it succeeds",
		Value: func(s *config.ProfileSpec) any { return s.MaxConsecutiveFailures },
	},
	{
		Path: "templateResourceRefs", Reason: "templates see the cluster alone",
		Value: func(s *config.ProfileSpec) any { return s.TemplateResourceRefs },
	},
	{
		Path: "driftExclusions", Reason: "drift is not looked for",
		Value: func(s *config.ProfileSpec) any { return s.DriftExclusions },
	},
	{
		Path: "transitionFrom", Reason: "give the new profile a lower tier to hand content over",
		Value: func(s *config.ProfileSpec) any { return s.TransitionFrom },
	},
}

var policyRefTable = unsupported.Table[config.PolicyRef]{
	{
		Path: "kind", Reason: "Flux sources are not read",
		Supported: []string{config.SourceKindConfigMap, config.SourceKindSecret}, Refused: fluxSources,
		Value: func(r *config.PolicyRef) any { return r.Kind },
	},
	{
		Path: "path", Reason: "a ConfigMap or Secret has no directories",
		Value: func(r *config.PolicyRef) any { return r.Path },
	},
	{
		Path: "deploymentType", Reason: "nothing is deployed to the host cluster",
		Supported: []string{string(lib.DeploymentTypeRemote)}, Refused: []string{string(lib.DeploymentTypeLocal)},
		Value: func(r *config.PolicyRef) any { return r.DeploymentType },
	},
	{
		Path: "force", Reason: "fields that others own are taken over as it is",
		Value: func(r *config.PolicyRef) any { return r.Force },
	},
	{
		Path: "tier", Supported: []string{"100"}, Reason: "the tier of the profile decides conflicts",
		Value: func(r *config.PolicyRef) any { return r.Tier },
	},
}

var kustomizationTable = unsupported.Table[config.KustomizationRef]{
	{
		Path: "kind", Reason: "Flux sources are not read",
		Supported: []string{config.SourceKindConfigMap, config.SourceKindSecret}, Refused: fluxSources,
		Value: func(r *config.KustomizationRef) any { return r.Kind },
	},
	{
		Path: "deploymentType", Reason: "nothing is deployed to the host cluster",
		Supported: []string{string(lib.DeploymentTypeRemote)}, Refused: []string{string(lib.DeploymentTypeLocal)},
		Value: func(r *config.KustomizationRef) any { return r.DeploymentType },
	},
	{
		Path: "force", Reason: "fields that others own are taken over as it is",
		Value: func(r *config.KustomizationRef) any { return r.Force },
	},
	{
		Path: "tier", Supported: []string{"100"}, Reason: "the tier of the profile decides conflicts",
		Value: func(r *config.KustomizationRef) any { return r.Tier },
	},
}

var chartTable = unsupported.Table[config.HelmChart]{
	{
		Path: "repositoryURL", Reason: "Flux sources are not read",
		Supported: []string{"http://", "https://", "oci://"}, Refused: fluxSchemes,
		Value: func(c *config.HelmChart) any { return schemeOf(c.RepositoryURL) },
	},
	{
		Path: "registryCredentialsConfig", Reason: "repositories are read without credentials",
		Value: func(c *config.HelmChart) any { return c.RegistryCredentialsConfig },
	},
	{
		Path: "provenanceVerification", Reason: "provenance files are not checked",
		Value: func(c *config.HelmChart) any { return c.ProvenanceVerification },
	},
	{
		Path: "signatureVerification", Reason: "signatures are not checked",
		Value: func(c *config.HelmChart) any { return c.SignatureVerification },
	},
}

// schemeOf is the part of a URL up to its host, or nothing.
func schemeOf(url string) string {
	scheme, _, found := strings.Cut(url, "://")
	if !found {
		return ""
	}
	return strings.ToLower(scheme) + "://"
}

// Rows documents everything that validation of this group refuses because it is not
// obeyed yet.
func Rows() []unsupported.Row {
	const kinds = "ClusterProfile, Profile"
	return slices.Concat(
		profileMetaTable.Rows(kinds, "metadata"),
		libvalidation.ClusterRefRows(kinds, "spec.clusterRefs[]"),
		profileTable.Rows(kinds, "spec"),
		policyRefTable.Rows(kinds, "spec.policyRefs[]"),
		kustomizationTable.Rows(kinds, "spec.kustomizationRefs[]"),
		chartTable.Rows(kinds, "spec.helmCharts[]"),
		helmOptionsTable.Rows(kinds, "spec.helmCharts[].options"),
	)
}
