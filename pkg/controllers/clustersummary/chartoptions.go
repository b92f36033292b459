// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"
	"maps"
	"slices"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// recoverAfter is after how many failed attempts to install a release what is left of
// them is uninstalled first, unless the profile says otherwise.
const recoverAfter = 5

// setOptions fills in what a chart's options say. enableClientCache says nothing: what
// is fetched is kept in memory by its digest in any case, for all clusters.
func (b *requestBuilder) setOptions(ctx context.Context, path string, in *configv1beta1.HelmChart, out *deploy.Chart) error {
	if login := in.RegistryCredentialsConfig; login != nil && login.Credentials != nil {
		out.Credentials = &inventory.SecretReference{Namespace: login.Credentials.Namespace, Name: login.Credentials.Name}
	}
	options := in.Options
	if options == nil {
		options = &configv1beta1.HelmOptions{}
	}
	out.Ref.DependencyUpdate = options.DependencyUpdate
	out.Settings = settingsOf(options)
	var err error
	if out.Settings.Labels, err = b.releaseLabels(ctx, path+".labels", options.Labels); err != nil {
		return err
	}
	if out.Settings.Description, err = b.renderer.String(ctx, path+".description", options.Description, b.data); err != nil {
		return fmt.Errorf("options.description: %w", err)
	}
	return nil
}

// releaseLabels renders the values of a release's labels.
func (b *requestBuilder) releaseLabels(ctx context.Context, path string, labels map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		value, err := b.renderer.String(ctx, path+"["+key+"]", labels[key], b.data)
		if err != nil {
			return nil, fmt.Errorf("options.labels[%s]: %w", key, err)
		}
		if problems := utilvalidation.IsValidLabelValue(value); len(problems) > 0 {
			return nil, fmt.Errorf("options.labels[%s] is no value of a label: %s", key, problems[0])
		}
		out[key] = value
	}
	return out, nil
}

// settingsOf are the options in which no template can be.
func settingsOf(options *configv1beta1.HelmOptions) release.Settings {
	settings := release.Settings{
		Wait: options.Wait, WaitForJobs: options.WaitForJobs, Atomic: options.Atomic, SkipCRDs: options.SkipCRDs,
		DisableOpenAPIValidation: options.DisableOpenAPIValidation, SkipSchemaValidation: options.SkipSchemaValidation,
		RunTests: options.RunTests, PostRender: release.PostRenderStrategy(options.PostRenderStrategy),
		Install: installSettings(options), Upgrade: upgradeSettings(options),
		Uninstall: release.UninstallSettings{
			DisableHooks: options.DisableHooks || options.UninstallOptions.DisableHooks,
			KeepHistory:  options.UninstallOptions.KeepHistory, DeletionPropagation: options.UninstallOptions.DeletionPropagation,
		},
	}
	if options.Timeout != nil {
		settings.Timeout, settings.Uninstall.Timeout = options.Timeout.Duration, options.Timeout.Duration
	}
	return settings
}

func installSettings(options *configv1beta1.HelmOptions) release.InstallSettings {
	in := &options.InstallOptions
	out := release.InstallSettings{
		DisableHooks: options.DisableHooks || in.DisableHooks, TakeOwnership: in.TakeOwnership,
		KeepNamespaces: in.CreateNamespace != nil && !*in.CreateNamespace,
		KeepNames:      in.Replace != nil && !*in.Replace,
		RecoverAfter:   recoverAfter,
	}
	if in.RecoverAfterConsecutiveFailures != nil {
		out.RecoverAfter = int(*in.RecoverAfterConsecutiveFailures)
	}
	return out
}

func upgradeSettings(options *configv1beta1.HelmOptions) release.UpgradeSettings {
	in := &options.UpgradeOptions
	out := release.UpgradeSettings{
		DisableHooks: options.DisableHooks || in.DisableHooks, TakeOwnership: in.TakeOwnership, Force: in.Force,
		// As with Helm, resetting comes before reusing.
		ReuseValues: in.ReuseValues && !in.ResetValues, ResetThenReuseValues: in.ResetThenReuseValues && !in.ResetValues && !in.ReuseValues,
		Recreate: in.Recreate, CleanupOnFail: in.CleanupOnFail, SubNotes: in.SubNotes, UpgradeCRDs: in.UpgradeCRDs,
	}
	if in.MaxHistory != nil {
		if out.MaxHistory = int(*in.MaxHistory); out.MaxHistory == 0 {
			out.MaxHistory = -1 // upstream's word for all
		}
	}
	return out
}
