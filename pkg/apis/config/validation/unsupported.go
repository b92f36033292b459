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
	libvalidation.LabelRefused(v1beta1.LabelAdminName, "name the tenant with the labels projectsveltos.io/serviceaccount-name and /serviceaccount-namespace"),
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
		chartTable.Rows(kinds, "spec.helmCharts[]"),
	)
}
