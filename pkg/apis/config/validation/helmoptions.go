// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/unsupported"
)

// helmOption is an option of a release that is refused unless it has one of the
// values.
func helmOption(path, reason string, value func(*config.HelmOptions) any, supported ...string) unsupported.Field[config.HelmOptions] {
	return unsupported.Field[config.HelmOptions]{Path: path, Reason: reason, Value: value, Supported: supported}
}

var helmOptionsTable = unsupported.Table[config.HelmOptions]{
	helmOption("skipCRDs", "definitions in a chart are installed", func(o *config.HelmOptions) any { return o.SkipCRDs }),
	helmOption("wait", "a release counts as deployed when it is applied", func(o *config.HelmOptions) any { return o.Wait }),
	helmOption("waitForJobs", "a release counts as deployed when it is applied", func(o *config.HelmOptions) any { return o.WaitForJobs }),
	helmOption("timeout", "an action may take five minutes", func(o *config.HelmOptions) any {
		if o.Timeout == nil {
			return nil
		}
		return o.Timeout.Duration
	}, "5m0s"),
	helmOption("dependencyUpdate", "a chart brings its dependencies with it", func(o *config.HelmOptions) any { return o.DependencyUpdate }),
	helmOption("atomic", "an action that fails is tried again", func(o *config.HelmOptions) any { return o.Atomic }),
	helmOption("disableHooks", "hooks run", func(o *config.HelmOptions) any { return o.DisableHooks }),
	helmOption("disableOpenAPIValidation", "objects are validated", func(o *config.HelmOptions) any { return o.DisableOpenAPIValidation }),
	helmOption("skipSchemaValidation", "values are validated", func(o *config.HelmOptions) any { return o.SkipSchemaValidation }),
	helmOption("enableClientCache", "clients are kept as long as they are useful", func(o *config.HelmOptions) any { return o.EnableClientCache }),
	helmOption("runTests", "tests of a chart do not run", func(o *config.HelmOptions) any { return o.RunTests }),
	helmOption("labels", "a release has the labels that Muster knows it by", func(o *config.HelmOptions) any { return o.Labels }),
	helmOption("description", "a release has the description that Helm gives it", func(o *config.HelmOptions) any { return o.Description }),
	helmOption("postRenderStrategy", "objects are applied as they are rendered", func(o *config.HelmOptions) any { return o.PostRenderStrategy }),
	helmOption("installOptions.createNamespace", "the namespace of a release is created",
		func(o *config.HelmOptions) any { return settingOf(o.InstallOptions.CreateNamespace) }, "true"),
	helmOption("installOptions.replace", "the name of an uninstalled release is used again",
		func(o *config.HelmOptions) any { return settingOf(o.InstallOptions.Replace) }, "true"),
	helmOption("installOptions.disableHooks", "hooks run", func(o *config.HelmOptions) any { return o.InstallOptions.DisableHooks }),
	helmOption("installOptions.takeOwnership", "an object that is another's is a conflict",
		func(o *config.HelmOptions) any { return o.InstallOptions.TakeOwnership }),
	helmOption("installOptions.recoverAfterConsecutiveFailures", "a release that fails is not uninstalled",
		func(o *config.HelmOptions) any { return o.InstallOptions.RecoverAfterConsecutiveFailures }, "5"),
	helmOption("upgradeOptions.force", "objects are changed, not replaced", func(o *config.HelmOptions) any { return o.UpgradeOptions.Force }),
	helmOption("upgradeOptions.resetValues", "a release has the values of the profile alone",
		func(o *config.HelmOptions) any { return o.UpgradeOptions.ResetValues }),
	helmOption("upgradeOptions.reuseValues", "a release has the values of the profile alone",
		func(o *config.HelmOptions) any { return o.UpgradeOptions.ReuseValues }),
	helmOption("upgradeOptions.resetThenReuseValues", "a release has the values of the profile alone",
		func(o *config.HelmOptions) any { return o.UpgradeOptions.ResetThenReuseValues }),
	helmOption("upgradeOptions.recreate", "Pods are not restarted", func(o *config.HelmOptions) any { return o.UpgradeOptions.Recreate }),
	helmOption("upgradeOptions.maxHistory", "two revisions are kept", func(o *config.HelmOptions) any { return o.UpgradeOptions.MaxHistory }, "2"),
	helmOption("upgradeOptions.cleanupOnFail", "an upgrade that fails is tried again",
		func(o *config.HelmOptions) any { return o.UpgradeOptions.CleanupOnFail }),
	helmOption("upgradeOptions.subNotes", "notes are not shown", func(o *config.HelmOptions) any { return o.UpgradeOptions.SubNotes }),
	helmOption("upgradeOptions.disableHooks", "hooks run", func(o *config.HelmOptions) any { return o.UpgradeOptions.DisableHooks }),
	helmOption("upgradeOptions.upgradeCRDs", "an upgrade leaves definitions as they are, as Helm does",
		func(o *config.HelmOptions) any { return o.UpgradeOptions.UpgradeCRDs }),
	helmOption("upgradeOptions.takeOwnership", "an object that is another's is a conflict",
		func(o *config.HelmOptions) any { return o.UpgradeOptions.TakeOwnership }),
	helmOption("uninstallOptions.keepHistory", "an uninstalled release leaves nothing behind",
		func(o *config.HelmOptions) any { return o.UninstallOptions.KeepHistory }),
	helmOption("uninstallOptions.deletionPropagation", "objects are deleted in the background",
		func(o *config.HelmOptions) any { return o.UninstallOptions.DeletionPropagation }, "background"),
	helmOption("uninstallOptions.disableHooks", "hooks run", func(o *config.HelmOptions) any { return o.UninstallOptions.DisableHooks }),
}

// settingOf writes a pointer to a bool, whose zero value is a setting too.
func settingOf(value *bool) any {
	switch {
	case value == nil:
		return nil
	case *value:
		return "true"
	default:
		return "false"
	}
}
