// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/flux"
)

// authorityKey is the key of a Secret with certificates of an authority.
const authorityKey = "ca.crt"

// chartSource says how a chart is come by: with which credentials, with which proof, or
// from which source of Flux. What is uninstalled needs no chart.
func (b *requestBuilder) chartSource(ctx context.Context, index int, in *configv1beta1.HelmChart, out *deploy.Chart) error {
	if out.Uninstall {
		return nil
	}
	at := fmt.Sprintf("helmCharts[%d]", index)
	if flux.IsURL(out.Ref.RepositoryURL) {
		if err := b.fluxChart(ctx, out); err != nil {
			return fmt.Errorf("repositoryURL: %w", err)
		}
	}
	var err error
	if out.Ref.Access, err = b.access(ctx, at, in); err != nil {
		return fmt.Errorf("registryCredentialsConfig.%w", err)
	}
	if access := out.Ref.Access; access != nil && access.Password != "" {
		out.Sensitive = append(out.Sensitive, access.Password)
	}
	out.Ref.Verify, err = b.verification(ctx, at, in)
	return err
}

// access reads how a repository is entered, nil if as nobody in particular.
func (b *requestBuilder) access(ctx context.Context, at string, in *configv1beta1.HelmChart) (*release.Access, error) {
	config := in.RegistryCredentialsConfig
	if config == nil {
		return nil, nil
	}
	out := &release.Access{
		InsecureSkipTLSVerify: config.InsecureSkipTLSVerify, PlainHTTP: config.PlainHTTP,
		PassAll: in.Options != nil && in.Options.PassCredentialsAll,
	}
	if config.Credentials != nil {
		if err := b.login(ctx, at+".registryCredentialsConfig.credentials", config, out); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
	}
	if config.CA != nil {
		secret, err := b.secret(ctx, at+".registryCredentialsConfig.ca", *config.CA, render.SecretType, string(corev1.SecretTypeTLS))
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		out.CA = secret.Data[authorityKey]
		if err := release.CheckCA(out.CA); err != nil {
			return nil, fmt.Errorf("ca: %w", inKey(secret, authorityKey, err))
		}
	}
	return out, nil
}

// login reads credentials: those of a docker configuration, which names the hosts that
// they are for, or a user's name and password.
func (b *requestBuilder) login(ctx context.Context, at string, config *configv1beta1.RegistryCredentialsConfig, out *release.Access) error {
	secret, err := b.secret(ctx, at, *config.Credentials, render.SecretType, string(corev1.SecretTypeDockerConfigJson))
	if err != nil {
		return err
	}
	key := config.Key
	if key == "" && secret.Type == string(corev1.SecretTypeDockerConfigJson) {
		key = corev1.DockerConfigJsonKey
	}
	if key != "" {
		out.DockerConfig = secret.Data[key]
		if err := release.CheckDockerConfig(out.DockerConfig); err != nil {
			return inKey(secret, key, err)
		}
		return nil
	}
	out.Username, out.Password = string(secret.Data[usernameKey]), string(secret.Data[passwordKey])
	if out.Username == "" || out.Password == "" {
		return inKey(secret, "", errors.New("has to have the keys "+usernameKey+" and "+passwordKey+", or a docker configuration under the key that registryCredentialsConfig names"))
	}
	return nil
}

// verification reads what has to be proved of a chart, nil if nothing.
func (b *requestBuilder) verification(ctx context.Context, at string, in *configv1beta1.HelmChart) (*release.Verification, error) {
	var out release.Verification
	if proof := in.ProvenanceVerification; proof != nil {
		keys, err := b.keys(ctx, at+".provenanceVerification.keyringSecretRef", proof.KeyringSecretRef, release.CheckKeyring)
		if err != nil {
			return nil, fmt.Errorf("provenanceVerification.keyringSecretRef: %w", err)
		}
		out.Keyrings = keys
	}
	if proof := in.SignatureVerification; proof != nil {
		if proof.Provider != configv1beta1.SignatureProviderPublicKey || proof.SecretRef == nil {
			return nil, errors.New("signatureVerification: only provider PublicKey with a secretRef is supported")
		}
		keys, err := b.keys(ctx, at+".signatureVerification.secretRef", *proof.SecretRef, release.CheckPublicKey)
		if err != nil {
			return nil, fmt.Errorf("signatureVerification.secretRef: %w", err)
		}
		out.PublicKeys = keys
	}
	if out.Keyrings == nil && out.PublicKeys == nil {
		return nil, nil
	}
	return &out, nil
}

// keys reads a Secret each key of which holds public keys.
func (b *requestBuilder) keys(ctx context.Context, at string, ref libv1beta1.SecretReference, check func([]byte) error) ([][]byte, error) {
	secret, err := b.secret(ctx, at, ref, render.SecretType)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
		if err := check(secret.Data[key]); err != nil {
			return nil, inKey(secret, key, err)
		}
		keys = append(keys, secret.Data[key])
	}
	if len(keys) == 0 {
		return nil, inKey(secret, "", errors.New("holds no keys"))
	}
	return keys, nil
}

// secret reads a Secret that a chart needs. Its type has to say that it is for this:
// whoever writes a profile chooses where it is sent.
func (b *requestBuilder) secret(ctx context.Context, at string, ref libv1beta1.SecretReference, accepted ...string) (*render.Source, error) {
	name, err := b.resolve(ctx, reference{path: at, kind: configv1beta1.SourceKindSecret, namespace: ref.Namespace, name: ref.Name})
	if err != nil {
		return nil, err
	}
	secret, err := b.read(ctx, configv1beta1.SourceKindSecret, name)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(accepted, secret.Type) {
		return nil, inKey(&secret, "", fmt.Errorf("%w: it is %q, must be %s", render.ErrSecretType, secret.Type, strings.Join(accepted, " or ")))
	}
	return &secret, nil
}

// inKey says what is wrong with a Secret, or with a key of it. The error quotes nothing.
func inKey(secret *render.Source, key string, err error) error {
	return &render.SourceError{Kind: secret.Kind, Namespace: secret.Namespace, Name: secret.Name, Key: key, Err: err}
}
