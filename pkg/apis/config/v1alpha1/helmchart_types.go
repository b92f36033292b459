// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	lib "github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
)

// HelmChartAction says what is done with a chart.
// +enum
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
	// repositoryURL is the URL of the repository, or of the registry if it starts
	// with oci://, or a Flux source.
	RepositoryURL string `json:"repositoryURL"`
	// repositoryName is what the repository is called.
	// +optional
	RepositoryName string `json:"repositoryName,omitempty"`
	// chartName is the name of the chart. In a repository it usually comes after the
	// name of the repository and a slash.
	// +optional
	ChartName string `json:"chartName,omitempty"`
	// chartVersion is the version of the chart. Unset means the latest.
	// +optional
	ChartVersion string `json:"chartVersion,omitempty"`
	// releaseName is the name of the release.
	ReleaseName string `json:"releaseName"`
	// releaseNamespace is the namespace of the release.
	ReleaseNamespace string `json:"releaseNamespace"`
	// values are the values of the release, as YAML.
	// +optional
	Values string `json:"values,omitempty"`
	// valuesFrom are ConfigMaps and Secrets with more values, each key a YAML
	// document. They go before values, those that are templates before those that
	// are not, later ones before earlier ones.
	// +listType=atomic
	// +optional
	ValuesFrom []ValueFrom `json:"valuesFrom,omitempty"`
	// helmChartAction says what is done with the chart.
	// +optional
	// +default="Install"
	HelmChartAction HelmChartAction `json:"helmChartAction,omitempty"`
	// options are of the release.
	// +optional
	Options *HelmOptions `json:"options,omitempty"`
	// registryCredentialsConfig says how to log in to the repository or registry.
	// +optional
	RegistryCredentialsConfig *RegistryCredentialsConfig `json:"registryCredentialsConfig,omitempty"`
	// provenanceVerification demands a provenance file that a key has signed.
	// +optional
	ProvenanceVerification *ProvenanceVerification `json:"provenanceVerification,omitempty"`
	// signatureVerification demands a Cosign signature of a chart in a registry.
	// +optional
	SignatureVerification *SignatureVerification `json:"signatureVerification,omitempty"`
}

// RegistryCredentialsConfig says how to log in to a repository or registry.
type RegistryCredentialsConfig struct {
	// credentials names the Secret with the credentials: a docker configuration, or
	// keys username and password.
	// +optional
	Credentials *lib.SecretReference `json:"credentials,omitempty"`
	// key is the key in that Secret.
	// +optional
	Key string `json:"key,omitempty"`
	// ca names the Secret with the certificate authority of the server.
	// +optional
	CA *lib.SecretReference `json:"ca,omitempty"`
	// insecureSkipTLSVerify accepts any certificate of the server.
	// +optional
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty"`
	// plainHTTP talks to the server without TLS.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`
}

// ProvenanceVerification demands a provenance file.
type ProvenanceVerification struct {
	// keyringSecretRef names the Secret with the keyring.
	KeyringSecretRef lib.SecretReference `json:"keyringSecretRef"`
}

// SignatureProvider says whose signature is demanded.
// +enum
type SignatureProvider string

const (
	// SignatureProviderPublicKey demands that of the key in the Secret.
	SignatureProviderPublicKey SignatureProvider = "PublicKey"
	// SignatureProviderKeyless demands that of an identity.
	SignatureProviderKeyless SignatureProvider = "Keyless"
)

// SignatureVerification demands a Cosign signature.
type SignatureVerification struct {
	// provider says whose signature is demanded.
	Provider SignatureProvider `json:"provider"`
	// secretRef names the Secret with the public key.
	// +optional
	SecretRef *lib.SecretReference `json:"secretRef,omitempty"`
	// matchOIDCIdentity are the identities whose signature is accepted.
	// +listType=atomic
	// +optional
	MatchOIDCIdentity []OIDCIdentity `json:"matchOIDCIdentity,omitempty"`
}

// OIDCIdentity is an identity that may sign.
type OIDCIdentity struct {
	// issuer is a regular expression that the issuer matches.
	Issuer string `json:"issuer"`
	// subject is a regular expression that the subject matches.
	Subject string `json:"subject"`
}

// HelmOptions are options of a release.
type HelmOptions struct {
	// skipCRDs does not install the definitions in the chart's directory crds.
	// +optional
	SkipCRDs bool `json:"skipCRDs,omitempty"`
	// wait until all objects of the release are ready.
	// +optional
	Wait bool `json:"wait,omitempty"`
	// waitForJobs waits until all Jobs of the release are complete. It needs wait.
	// +optional
	WaitForJobs bool `json:"waitForJobs,omitempty"`
	// timeout of each action on the release. Unset means five minutes.
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// dependencyUpdate updates the chart's dependencies first.
	// +optional
	DependencyUpdate bool `json:"dependencyUpdate,omitempty"`
	// atomic undoes an action that fails.
	// +optional
	Atomic bool `json:"atomic,omitempty"`
	// disableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
	// disableOpenAPIValidation does not validate objects against the schemas of the
	// cluster.
	// +optional
	DisableOpenAPIValidation bool `json:"disableOpenAPIValidation,omitempty"`
	// skipSchemaValidation does not validate values against the chart's schema.
	// +optional
	SkipSchemaValidation bool `json:"skipSchemaValidation,omitempty"`
	// enableClientCache keeps a client for the repository.
	// +optional
	EnableClientCache bool `json:"enableClientCache,omitempty"`
	// runTests runs the chart's tests after it is deployed.
	// +optional
	RunTests bool `json:"runTests,omitempty"`
	// labels of the release.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// description of the release.
	// +optional
	Description string `json:"description,omitempty"`
	// passCredentialsAll sends the credentials to every host that the repository
	// refers to.
	// +optional
	PassCredentialsAll bool `json:"passCredentialsAll,omitempty"`
	// postRenderStrategy is combined, separate or nohooks: whether patches see the
	// hooks with the other objects, by themselves, or not at all.
	// +optional
	PostRenderStrategy string `json:"postRenderStrategy,omitempty"`
	// installOptions are of the first installation.
	// +optional
	InstallOptions HelmInstallOptions `json:"installOptions,omitempty,omitzero"`
	// upgradeOptions are of upgrades.
	// +optional
	UpgradeOptions HelmUpgradeOptions `json:"upgradeOptions,omitempty,omitzero"`
	// uninstallOptions are of the uninstallation.
	// +optional
	UninstallOptions HelmUninstallOptions `json:"uninstallOptions,omitempty,omitzero"`
}

// HelmInstallOptions are options of the first installation of a release.
type HelmInstallOptions struct {
	// createNamespace creates the namespace of the release.
	// +optional
	// +default=true
	CreateNamespace *bool `json:"createNamespace,omitempty"`
	// replace uses the name of an uninstalled release whose history was kept.
	// +optional
	// +default=true
	Replace *bool `json:"replace,omitempty"`
	// disableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
	// takeOwnership takes objects over that are there already.
	// +optional
	TakeOwnership bool `json:"takeOwnership,omitempty"`
	// recoverAfterConsecutiveFailures is the number of failures in a row after which
	// the release is uninstalled and installed again.
	// +optional
	// +default=5
	RecoverAfterConsecutiveFailures *int32 `json:"recoverAfterConsecutiveFailures,omitempty"`
}

// HelmUpgradeOptions are options of upgrades of a release.
type HelmUpgradeOptions struct {
	// force replaces objects that cannot be changed.
	// +optional
	Force bool `json:"force,omitempty"`
	// resetValues drops the values of the last deployment.
	// +optional
	ResetValues bool `json:"resetValues,omitempty"`
	// reuseValues keeps the values of the last deployment.
	// +optional
	ReuseValues bool `json:"reuseValues,omitempty"`
	// resetThenReuseValues keeps the values of the last deployment on top of the new
	// chart's.
	// +optional
	ResetThenReuseValues bool `json:"resetThenReuseValues,omitempty"`
	// recreate restarts the Pods of the release.
	// +optional
	Recreate bool `json:"recreate,omitempty"`
	// maxHistory is the number of revisions that are kept.
	// +optional
	// +default=2
	MaxHistory *int32 `json:"maxHistory,omitempty"`
	// cleanupOnFail deletes objects that a failed upgrade has created.
	// +optional
	CleanupOnFail bool `json:"cleanupOnFail,omitempty"`
	// subNotes renders the notes of subcharts too.
	// +optional
	SubNotes bool `json:"subNotes,omitempty"`
	// disableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
	// upgradeCRDs upgrades the definitions in the chart's directory crds.
	// +optional
	UpgradeCRDs bool `json:"upgradeCRDs,omitempty"`
	// takeOwnership takes objects over that are there already.
	// +optional
	TakeOwnership bool `json:"takeOwnership,omitempty"`
}

// HelmUninstallOptions are options of the uninstallation of a release.
type HelmUninstallOptions struct {
	// keepHistory keeps the revisions of the release.
	// +optional
	KeepHistory bool `json:"keepHistory,omitempty"`
	// deletionPropagation is orphan, foreground or background.
	// +optional
	DeletionPropagation string `json:"deletionPropagation,omitempty"`
	// disableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
}
