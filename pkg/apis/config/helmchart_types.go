// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// HelmChartAction says what is done with a chart.
type HelmChartAction string

const (
	// HelmChartActionInstall installs or upgrades it.
	HelmChartActionInstall HelmChartAction = "Install"
	// HelmChartActionUninstall uninstalls it.
	HelmChartActionUninstall HelmChartAction = "Uninstall"
)

// HelmChart is a chart and the release that it is deployed as. All strings may be
// templates.
type HelmChart struct {
	RepositoryURL             string
	RepositoryName            string
	ChartName                 string
	ChartVersion              string
	ReleaseName               string
	ReleaseNamespace          string
	Values                    string
	ValuesFrom                []ValueFrom
	HelmChartAction           HelmChartAction
	Options                   *HelmOptions
	RegistryCredentialsConfig *RegistryCredentialsConfig
	ProvenanceVerification    *ProvenanceVerification
	SignatureVerification     *SignatureVerification
}

// RegistryCredentialsConfig says how to log in to a repository or registry.
type RegistryCredentialsConfig struct {
	Credentials           *lib.SecretReference
	Key                   string
	CA                    *lib.SecretReference
	InsecureSkipTLSVerify bool
	PlainHTTP             bool
}

// ProvenanceVerification demands a provenance file.
type ProvenanceVerification struct {
	KeyringSecretRef lib.SecretReference
}

// SignatureProvider says whose signature is demanded.
type SignatureProvider string

const (
	// SignatureProviderPublicKey demands that of the key in the Secret.
	SignatureProviderPublicKey SignatureProvider = "PublicKey"
	// SignatureProviderKeyless demands that of an identity.
	SignatureProviderKeyless SignatureProvider = "Keyless"
)

// SignatureVerification demands a Cosign signature.
type SignatureVerification struct {
	Provider          SignatureProvider
	SecretRef         *lib.SecretReference
	MatchOIDCIdentity []OIDCIdentity
}

// OIDCIdentity is an identity that may sign.
type OIDCIdentity struct {
	Issuer  string
	Subject string
}

// HelmOptions are options of a release.
type HelmOptions struct {
	SkipCRDs                 bool
	Wait                     bool
	WaitForJobs              bool
	Timeout                  *metav1.Duration
	DependencyUpdate         bool
	Atomic                   bool
	DisableHooks             bool
	DisableOpenAPIValidation bool
	SkipSchemaValidation     bool
	EnableClientCache        bool
	RunTests                 bool
	Labels                   map[string]string
	Description              string
	PassCredentialsAll       bool
	PostRenderStrategy       string
	InstallOptions           HelmInstallOptions
	UpgradeOptions           HelmUpgradeOptions
	UninstallOptions         HelmUninstallOptions
}

// HelmInstallOptions are options of the first installation of a release.
type HelmInstallOptions struct {
	CreateNamespace                 *bool
	Replace                         *bool
	DisableHooks                    bool
	TakeOwnership                   bool
	RecoverAfterConsecutiveFailures *int32
}

// HelmUpgradeOptions are options of upgrades of a release.
type HelmUpgradeOptions struct {
	Force                bool
	ResetValues          bool
	ReuseValues          bool
	ResetThenReuseValues bool
	Recreate             bool
	MaxHistory           *int32
	CleanupOnFail        bool
	SubNotes             bool
	DisableHooks         bool
	UpgradeCRDs          bool
	TakeOwnership        bool
}

// HelmUninstallOptions are options of the uninstallation of a release.
type HelmUninstallOptions struct {
	KeepHistory         bool
	DeletionPropagation string
	DisableHooks        bool
}
