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
	libvalidation.AnnotationRefused(v1beta1.AnnotationProfilePaused, "pause the clusters with spec.paused"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationPaused, "pause the clusters with spec.paused"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationRetrigger, "every change is noticed; there is nothing to trigger"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationTexTemplate, "templates have one set of functions, which escapes nothing"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationLua, "sources are YAML or Go templates"),
	libvalidation.LabelRefused(v1beta1.LabelServiceAccountName, "a profile cannot act as a tenant, and without that it would act with all rights"),
	libvalidation.LabelRefused(v1beta1.LabelServiceAccountNamespace, "a profile cannot act as a tenant, and without that it would act with all rights"),
	libvalidation.LabelRefused(v1beta1.LabelAdminName, "a profile cannot act as a tenant, and without that it would act with all rights"),
}

var summaryMetaTable = unsupported.Table[metav1.ObjectMeta]{
	libvalidation.AnnotationRefused(v1beta1.AnnotationPaused, "pause the cluster with spec.paused"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationRetrigger, "every change is noticed; there is nothing to trigger"),
}

var profileTable = unsupported.Table[config.ProfileSpec]{
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
		Path: "maxUpdate", Supported: []string{"0", "0%"}, Reason: "all clusters are updated at the same time",
		Value: func(s *config.ProfileSpec) any {
			if s.MaxUpdate == nil {
				return nil
			}
			return s.MaxUpdate.String()
		},
	},
	{
		Path: "reloader", Reason: "workloads are not restarted when what they mount changes",
		Value: func(s *config.ProfileSpec) any { return s.Reloader },
	},
	{
		Path: "dependsOn", Reason: "profiles do not wait for each other",
		Value: func(s *config.ProfileSpec) any { return s.DependsOn },
	},
	{
		Path: "templateResourceRefs", Reason: "templates see the cluster alone",
		Value: func(s *config.ProfileSpec) any { return s.TemplateResourceRefs },
	},
	{
		Path: "validateHealths", Reason: "what is applied counts as deployed",
		Value: func(s *config.ProfileSpec) any { return s.ValidateHealths },
	},
	{
		Path: "preDeployChecks", Reason: "nothing is checked before it is deployed",
		Value: func(s *config.ProfileSpec) any { return s.PreDeployChecks },
	},
	{
		Path: "preDeleteChecks", Reason: "nothing is checked before it is withdrawn",
		Value: func(s *config.ProfileSpec) any { return s.PreDeleteChecks },
	},
	{
		Path: "postDeleteChecks", Reason: "nothing is checked after it is withdrawn",
		Value: func(s *config.ProfileSpec) any { return s.PostDeleteChecks },
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
		summaryMetaTable.Rows("ClusterSummary", "metadata"),
	)
}
