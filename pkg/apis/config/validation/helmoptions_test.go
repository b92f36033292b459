// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apis/config"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

func withOptions(change func(*config.HelmOptions)) []config.HelmChart {
	chart := validChart()
	chart.Options = &config.HelmOptions{}
	change(chart.Options)
	return []config.HelmChart{chart}
}

func TestValidateOptions(t *testing.T) {
	type options = config.HelmOptions
	labels := func(key, value string) func(*options) {
		return func(o *options) { o.Labels = map[string]string{key: value} }
	}
	tests := map[string]struct {
		change func(*options)
		want   []string
	}{
		"nothing": {func(*options) {}, nil},
		"much": {func(o *options) {
			o.Wait, o.Atomic, o.RunTests, o.PostRenderStrategy, o.Timeout = true, true, true, "combined", &metav1.Duration{Duration: time.Hour}
			o.Labels, o.Description = map[string]string{"example.com/team": "a", "on": "{{ .Cluster.metadata.name }}"}, "anything at all: {}"
			o.InstallOptions = config.HelmInstallOptions{CreateNamespace: ptr.To(false), Replace: ptr.To(false), RecoverAfterConsecutiveFailures: ptr.To[int32](0)}
			o.UpgradeOptions = config.HelmUpgradeOptions{MaxHistory: ptr.To[int32](0), ReuseValues: true}
			o.UninstallOptions = config.HelmUninstallOptions{DeletionPropagation: "foreground"}
		}, nil},
		"no time":             {func(o *options) { o.Timeout = &metav1.Duration{} }, nil},
		"negative timeout":    {func(o *options) { o.Timeout = &metav1.Duration{Duration: -time.Second} }, []string{"charts[0].options.timeout: must not be negative"}},
		"negative history":    {func(o *options) { o.UpgradeOptions.MaxHistory = ptr.To[int32](-1) }, []string{"charts[0].options.upgradeOptions.maxHistory: must not be negative"}},
		"negative failures":   {func(o *options) { o.InstallOptions.RecoverAfterConsecutiveFailures = ptr.To[int32](-1) }, []string{"charts[0].options.installOptions.recoverAfterConsecutiveFailures: must not be negative"}},
		"unknown strategy":    {func(o *options) { o.PostRenderStrategy = "all" }, []string{`charts[0].options.postRenderStrategy: Unsupported value: "all"`}},
		"unknown propagation": {func(o *options) { o.UninstallOptions.DeletionPropagation = "Orphan" }, []string{`charts[0].options.uninstallOptions.deletionPropagation: Unsupported value: "Orphan"`}},
		"no key":              {labels("a b", "c"), []string{"charts[0].options.labels[a b]: name part"}},
		"no value":            {labels("a", "b c"), []string{"charts[0].options.labels[a]: a valid label"}},
		"no label":            {labels("a", "null"), []string{"charts[0].options.labels[a]: is Helm's word"}},
		"Helm's label":        {labels("status", "deployed"), []string{"charts[0].options.labels[status]: Forbidden: is the key of a label by which releases are found"}},
		"Muster's label":      {labels("muster.projectsveltos.io/options", "x"), []string{"charts[0].options.labels[muster.projectsveltos.io/options]: Forbidden"}},
		"long template":       {labels("a", "{{"+strings.Repeat("1", maxTemplateSize)), []string{"charts[0].options.labels[a]: Too long"}},
		"long description":    {func(o *options) { o.Description = "{{" + strings.Repeat("1", maxTemplateSize) }, []string{"charts[0].options.description: Too long"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			expect(t, validateCharts(withOptions(tt.change), "civo", field.NewPath("charts")), tt.want...)
		})
	}
}

// What is stored is not refused for what it says, when something else changes.
func TestValidateOptionsRatchets(t *testing.T) {
	stored := withOptions(func(o *config.HelmOptions) { o.PostRenderStrategy = "all" })
	validate := func(charts []config.HelmChart) field.ErrorList {
		return validateCharts(charts, "civo", field.NewPath("charts"))
	}
	changed := withOptions(func(o *config.HelmOptions) { o.PostRenderStrategy, o.Wait = "all", true })
	expect(t, libvalidation.Ratchet(validate(changed), validate(stored)))
	changed[0].Options.PostRenderStrategy = "some"
	expect(t, libvalidation.Ratchet(validate(changed), validate(stored)), `charts[0].options.postRenderStrategy: Unsupported value: "some"`)
}

func TestWarningsOnOptions(t *testing.T) {
	type options = config.HelmOptions
	for name, tt := range map[string]struct {
		change func(*options)
		want   []string
	}{
		"nothing":      {func(*options) {}, nil},
		"a wait":       {func(o *options) { o.Wait, o.WaitForJobs = true, true }, nil},
		"atomic":       {func(o *options) { o.Atomic, o.WaitForJobs = true, true }, nil},
		"no wait":      {func(o *options) { o.WaitForJobs = true }, []string{"charts[0].options.waitForJobs: has no effect without wait or atomic"}},
		"reset, reuse": {func(o *options) { o.UpgradeOptions.ResetValues, o.UpgradeOptions.ReuseValues = true, true }, []string{"charts[0].options.upgradeOptions: no values are reused, because resetValues is set as well"}},
		"reuse twice":  {func(o *options) { o.UpgradeOptions.ReuseValues, o.UpgradeOptions.ResetThenReuseValues = true, true }, []string{"charts[0].options.upgradeOptions.resetThenReuseValues: has no effect beside reuseValues"}},
	} {
		if diff := cmp.Diff(tt.want, warningsOnCharts(withOptions(tt.change), field.NewPath("charts"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
