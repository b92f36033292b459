// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
	"github.com/muster-project/muster/pkg/apis/unsupported"
)

var profileMetaTable = unsupported.Table[metav1.ObjectMeta]{
	libvalidation.AnnotationRefused(v1beta1.AnnotationProfilePaused, "pause the clusters with spec.paused"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationPaused, "pause the clusters with spec.paused"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationRetrigger, "every change is noticed; there is nothing to trigger"),
	libvalidation.LabelRefused(v1beta1.LabelAdminName, "name the tenant with the labels projectsveltos.io/serviceaccount-name and /serviceaccount-namespace"),
}

var summaryMetaTable = unsupported.Table[metav1.ObjectMeta]{
	libvalidation.AnnotationRefused(v1beta1.AnnotationPaused, "pause the cluster with spec.paused"),
	libvalidation.AnnotationRefused(v1beta1.AnnotationRetrigger, "every change is noticed; there is nothing to trigger"),
}

var profileTable = unsupported.Table[config.ProfileSpec]{
	{
		Path: "syncMode", Reason: "drift is neither undone nor reported, and there is no trial run",
		Supported: []string{string(config.SyncModeContinuous), string(config.SyncModeOneTime)},
		Refused:   []string{string(config.SyncModeContinuousWithDriftDetection), string(config.SyncModeDryRun)},
		Value:     func(s *config.ProfileSpec) any { return s.SyncMode },
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
		Path: "driftExclusions", Reason: "drift is not looked for",
		Value: func(s *config.ProfileSpec) any { return s.DriftExclusions },
	},
}

var chartTable = unsupported.Table[config.HelmChart]{
	{
		Path: "signatureVerification.provider", Reason: keylessReason,
		Supported: []string{string(config.SignatureProviderPublicKey)}, Refused: []string{string(config.SignatureProviderKeyless)},
		Value: func(c *config.HelmChart) any {
			if c.SignatureVerification == nil {
				return nil
			}
			return c.SignatureVerification.Provider
		},
	},
	{
		Path: "signatureVerification.matchOIDCIdentity", Reason: "it is for provider Keyless alone",
		Value: func(c *config.HelmChart) any {
			if c.SignatureVerification == nil {
				return nil
			}
			return c.SignatureVerification.MatchOIDCIdentity
		},
	},
}

// keylessReason says why signatures of identities are refused.
const keylessReason = "the field names no root of trust, so that it would be that of the public Sigstore, fetched from the Internet while the server runs, " +
	"and the library that knows it (sigstore-go) brings 28 modules with it; sign with a key"

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
		chartTable.Rows(kinds, "spec.helmCharts[]"),
		summaryMetaTable.Rows("ClusterSummary", "metadata"),
	)
}
