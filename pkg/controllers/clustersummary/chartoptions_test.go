// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/release"
)

func optionsOf(t *testing.T, options *configv1beta1.HelmOptions) deploy.Chart {
	t.Helper()
	b, _ := newBuilder(t, "", nil)
	list := b.charts(t.Context(), []configv1beta1.HelmChart{{ReleaseName: "r", ReleaseNamespace: "n", Options: options}})
	if list.Err != nil {
		t.Fatal(list.Err)
	}
	return list.Charts[0]
}

func TestNoOptionsAreTheDefaults(t *testing.T) {
	want := release.Settings{Labels: map[string]string{}, Install: release.InstallSettings{RecoverAfter: 5}}
	for name, options := range map[string]*configv1beta1.HelmOptions{
		"none": nil, "empty": {},
		"written out": {
			InstallOptions: configv1beta1.HelmInstallOptions{CreateNamespace: ptr.To(true), Replace: ptr.To(true), RecoverAfterConsecutiveFailures: ptr.To[int32](5)},
		},
	} {
		if diff := cmp.Diff(want, optionsOf(t, options).Settings); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOptions(t *testing.T) {
	all := func(apply func(*release.Settings)) release.Settings {
		want := release.Settings{Labels: map[string]string{}, Install: release.InstallSettings{RecoverAfter: 5}}
		apply(&want)
		return want
	}
	type options = configv1beta1.HelmOptions
	for name, tt := range map[string]struct {
		change func(*options)
		want   release.Settings
	}{
		"skipCRDs":                 {func(o *options) { o.SkipCRDs = true }, all(func(s *release.Settings) { s.SkipCRDs = true })},
		"wait":                     {func(o *options) { o.Wait = true }, all(func(s *release.Settings) { s.Wait = true })},
		"waitForJobs":              {func(o *options) { o.WaitForJobs = true }, all(func(s *release.Settings) { s.WaitForJobs = true })},
		"atomic":                   {func(o *options) { o.Atomic = true }, all(func(s *release.Settings) { s.Atomic = true })},
		"runTests":                 {func(o *options) { o.RunTests = true }, all(func(s *release.Settings) { s.RunTests = true })},
		"disableOpenAPIValidation": {func(o *options) { o.DisableOpenAPIValidation = true }, all(func(s *release.Settings) { s.DisableOpenAPIValidation = true })},
		"skipSchemaValidation":     {func(o *options) { o.SkipSchemaValidation = true }, all(func(s *release.Settings) { s.SkipSchemaValidation = true })},
		"postRenderStrategy":       {func(o *options) { o.PostRenderStrategy = "separate" }, all(func(s *release.Settings) { s.PostRender = release.Separate })},
		"enableClientCache":        {func(o *options) { o.EnableClientCache = true }, all(func(*release.Settings) {})},
		"timeout": {func(o *options) { o.Timeout = &metav1.Duration{Duration: time.Hour} }, all(func(s *release.Settings) {
			s.Timeout, s.Uninstall.Timeout = time.Hour, time.Hour
		})},
		"labels": {func(o *options) { o.Labels = map[string]string{"on": "{{ .Cluster.metadata.name }}"} }, all(func(s *release.Settings) {
			s.Labels = map[string]string{"on": "cluster1"}
		})},
		"description": {func(o *options) { o.Description = "on {{ .Cluster.metadata.name }}" }, all(func(s *release.Settings) { s.Description = "on cluster1" })},
		"disableHooks": {func(o *options) { o.DisableHooks = true }, all(func(s *release.Settings) {
			s.Install.DisableHooks, s.Upgrade.DisableHooks, s.Uninstall.DisableHooks = true, true, true
		})},
		"hooks of an installation":   {func(o *options) { o.InstallOptions.DisableHooks = true }, all(func(s *release.Settings) { s.Install.DisableHooks = true })},
		"hooks of an upgrade":        {func(o *options) { o.UpgradeOptions.DisableHooks = true }, all(func(s *release.Settings) { s.Upgrade.DisableHooks = true })},
		"hooks of an uninstallation": {func(o *options) { o.UninstallOptions.DisableHooks = true }, all(func(s *release.Settings) { s.Uninstall.DisableHooks = true })},
		"createNamespace":            {func(o *options) { o.InstallOptions.CreateNamespace = ptr.To(false) }, all(func(s *release.Settings) { s.Install.KeepNamespaces = true })},
		"replace":                    {func(o *options) { o.InstallOptions.Replace = ptr.To(false) }, all(func(s *release.Settings) { s.Install.KeepNames = true })},
		"takeOwnership":              {func(o *options) { o.InstallOptions.TakeOwnership = true }, all(func(s *release.Settings) { s.Install.TakeOwnership = true })},
		"no recovery":                {func(o *options) { o.InstallOptions.RecoverAfterConsecutiveFailures = ptr.To[int32](0) }, all(func(s *release.Settings) { s.Install.RecoverAfter = 0 })},
		"force":                      {func(o *options) { o.UpgradeOptions.Force = true }, all(func(s *release.Settings) { s.Upgrade.Force = true })},
		"resetValues":                {func(o *options) { o.UpgradeOptions.ResetValues, o.UpgradeOptions.ReuseValues = true, true }, all(func(*release.Settings) {})},
		"reuseValues":                {func(o *options) { o.UpgradeOptions.ReuseValues = true }, all(func(s *release.Settings) { s.Upgrade.ReuseValues = true })},
		"resetThenReuseValues":       {func(o *options) { o.UpgradeOptions.ResetThenReuseValues = true }, all(func(s *release.Settings) { s.Upgrade.ResetThenReuseValues = true })},
		"recreate":                   {func(o *options) { o.UpgradeOptions.Recreate = true }, all(func(s *release.Settings) { s.Upgrade.Recreate = true })},
		"maxHistory":                 {func(o *options) { o.UpgradeOptions.MaxHistory = ptr.To[int32](7) }, all(func(s *release.Settings) { s.Upgrade.MaxHistory = 7 })},
		"unlimited history":          {func(o *options) { o.UpgradeOptions.MaxHistory = ptr.To[int32](0) }, all(func(s *release.Settings) { s.Upgrade.MaxHistory = -1 })},
		"cleanupOnFail":              {func(o *options) { o.UpgradeOptions.CleanupOnFail = true }, all(func(s *release.Settings) { s.Upgrade.CleanupOnFail = true })},
		"subNotes":                   {func(o *options) { o.UpgradeOptions.SubNotes = true }, all(func(s *release.Settings) { s.Upgrade.SubNotes = true })},
		"upgradeCRDs":                {func(o *options) { o.UpgradeOptions.UpgradeCRDs = true }, all(func(s *release.Settings) { s.Upgrade.UpgradeCRDs = true })},
		"taking over in upgrades":    {func(o *options) { o.UpgradeOptions.TakeOwnership = true }, all(func(s *release.Settings) { s.Upgrade.TakeOwnership = true })},
		"keepHistory":                {func(o *options) { o.UninstallOptions.KeepHistory = true }, all(func(s *release.Settings) { s.Uninstall.KeepHistory = true })},
		"deletionPropagation": {func(o *options) { o.UninstallOptions.DeletionPropagation = "orphan" }, all(func(s *release.Settings) {
			s.Uninstall.DeletionPropagation = "orphan"
		})},
	} {
		t.Run(name, func(t *testing.T) {
			given := &options{}
			tt.change(given)
			if diff := cmp.Diff(tt.want, optionsOf(t, given).Settings); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOptionsOfTheChartItself(t *testing.T) {
	if !optionsOf(t, &configv1beta1.HelmOptions{DependencyUpdate: true}).Ref.DependencyUpdate {
		t.Error("dependencyUpdate is ignored")
	}
	b, _ := newRegistryBuilder(t, "")
	list := b.charts(t.Context(), []configv1beta1.HelmChart{{RepositoryURL: "oci://registry.example", ReleaseName: "r", RegistryCredentialsConfig: &configv1beta1.RegistryCredentialsConfig{
		Credentials: &libv1beta1.SecretReference{Namespace: "civo", Name: "login"},
	}}})
	if got := list.Charts[0].Credentials; got == nil || got.Namespace != "civo" || got.Name != "login" {
		t.Errorf("credentials %v", got)
	}
}

func TestOptionsThatAreNoTemplates(t *testing.T) {
	for name, options := range map[string]*configv1beta1.HelmOptions{
		"options.labels[a]: ":    {Labels: map[string]string{"a": "{{ .Nothing }}"}},
		"is no value of a label": {Labels: map[string]string{"a": "{{ .Cluster.metadata.name }} b"}},
		"options.description: ":  {Description: "{{ .Nothing }}"},
	} {
		b, _ := newBuilder(t, "", nil)
		list := b.charts(t.Context(), []configv1beta1.HelmChart{{ReleaseName: "r", Options: options}})
		if list.Err == nil || !strings.Contains(list.Err.Error(), name) {
			t.Errorf("error %v, want %q", list.Err, name)
		}
	}
}

// Of what the settings have, an option says all: none of them can be out of reach.
func TestEverySettingHasAnOption(t *testing.T) {
	given := &configv1beta1.HelmOptions{
		Timeout: &metav1.Duration{Duration: 1}, Wait: true, WaitForJobs: true, Atomic: true, SkipCRDs: true, DisableOpenAPIValidation: true,
		SkipSchemaValidation: true, RunTests: true, PostRenderStrategy: "combined", Labels: map[string]string{"a": "b"}, Description: "d",
		InstallOptions:   configv1beta1.HelmInstallOptions{DisableHooks: true, CreateNamespace: ptr.To(false), Replace: ptr.To(false), TakeOwnership: true},
		UpgradeOptions:   configv1beta1.HelmUpgradeOptions{DisableHooks: true, Force: true, ReuseValues: true, Recreate: true, MaxHistory: ptr.To[int32](3), CleanupOnFail: true, SubNotes: true, UpgradeCRDs: true, TakeOwnership: true},
		UninstallOptions: configv1beta1.HelmUninstallOptions{DisableHooks: true, KeepHistory: true, DeletionPropagation: "orphan"},
	}
	var unset []string
	var walk func(path string, value reflect.Value)
	walk = func(path string, value reflect.Value) {
		for i := range value.NumField() {
			name := path + value.Type().Field(i).Name
			if value.Field(i).Kind() == reflect.Struct {
				walk(name+".", value.Field(i))
			} else if value.Field(i).IsZero() {
				unset = append(unset, name)
			}
		}
	}
	walk("", reflect.ValueOf(optionsOf(t, given).Settings))
	// Not beside ReuseValues.
	if !slices.Equal(unset, []string{"Upgrade.ResetThenReuseValues"}) {
		t.Errorf("no option sets %v", unset)
	}
}
