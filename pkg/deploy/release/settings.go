// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"
	helmrelease "helm.sh/helm/v3/pkg/release"
)

// Settings say how a profile wants Helm to deploy a release. With the zero value
// hooks run, nothing is waited for, and the release has the values of the profile
// alone.
//
// What a change of one setting alone does:
//
//	Labels, Description             the release is upgraded: they are stored with it
//	PostRender                      the release is upgraded if anything is patched: its hooks are others
//	Upgrade.ReuseValues,
//	Upgrade.ResetThenReuseValues    the release is upgraded if its values become others
//	RunTests                        tests that have not passed are run, the release stays as it is
//	Uninstall                       is remembered for the uninstallation
//	all others                      nothing: they say how the next operation runs, whatever causes it
type Settings struct {
	// Timeout bounds each wait of an action on the release, for its hooks, its
	// CRDs, its objects; the Manager's if zero.
	Timeout time.Duration
	// Wait waits until the objects of the release are ready, and WaitForJobs, for
	// which Wait has to be set as well, until its Jobs are complete.
	Wait        bool
	WaitForJobs bool
	// Atomic uninstalls a release whose installation fails, and rolls one back
	// whose upgrade fails. It waits as Wait does.
	Atomic bool
	// SkipCRDs does not install what is in the chart's directory crds.
	SkipCRDs bool
	// DisableOpenAPIValidation does not hold objects against the cluster's schemas
	// before they are sent.
	DisableOpenAPIValidation bool
	// SkipSchemaValidation does not hold the values against the chart's schema.
	SkipSchemaValidation bool
	// RunTests runs the chart's tests once the release is as it should be, and
	// again for as long as they fail.
	RunTests bool
	// PostRender says whether Release.PostRender changes hooks as well.
	PostRender PostRenderStrategy
	// Labels are of the release's record.
	Labels map[string]string
	// Description is that of each revision, Helm's own if empty.
	Description string

	Install   InstallSettings
	Upgrade   UpgradeSettings
	Uninstall UninstallSettings
}

// PostRenderStrategy says what is done about the hooks of a chart.
type PostRenderStrategy string

const (
	// NoHooks leaves hooks as they are rendered; so does the zero value.
	NoHooks PostRenderStrategy = "nohooks"
	// Combined changes hooks together with all other objects, of which none may be
	// the same as a hook.
	Combined PostRenderStrategy = "combined"
	// Separate changes hooks by themselves.
	Separate PostRenderStrategy = "separate"
)

func (s PostRenderStrategy) changesHooks() bool { return s == Combined || s == Separate }

// InstallSettings are of installations.
type InstallSettings struct {
	DisableHooks bool
	// KeepNamespaces does not create a missing namespace.
	KeepNamespaces bool
	// KeepNames does not use the name of a release again that was uninstalled
	// and whose history was kept.
	KeepNames bool
	// TakeOwnership takes objects over that are there already, unless they are
	// those of a profile.
	TakeOwnership bool
	// RecoverAfter is the number of attempts to install in a row after whose
	// failure what is left of them is uninstalled first; never if zero. A release
	// that has worked once is never uninstalled.
	RecoverAfter int
}

// UpgradeSettings are of upgrades.
type UpgradeSettings struct {
	DisableHooks bool
	// Force replaces objects where Helm would patch them.
	Force bool
	// ReuseValues lays the values over those that the release has, and keeps the
	// defaults of the chart that it was deployed with; ResetThenReuseValues takes
	// the new chart's defaults.
	ReuseValues          bool
	ResetThenReuseValues bool
	// Recreate deletes the Pods of what was upgraded, so that they start anew.
	Recreate bool
	// MaxHistory is how many revisions are kept: the Manager's number if zero, all
	// if negative.
	MaxHistory int
	// CleanupOnFail deletes what a failed upgrade has created.
	CleanupOnFail bool
	// SubNotes renders the notes of subcharts too.
	SubNotes bool
	// UpgradeCRDs brings what is in the chart's directory crds up to date. It
	// deletes none.
	UpgradeCRDs bool
	// TakeOwnership is as in InstallSettings.
	TakeOwnership bool
}

// UninstallSettings are of uninstallations.
type UninstallSettings struct {
	DisableHooks bool
	// KeepHistory keeps the revisions of the release, the last one marked as
	// uninstalled.
	KeepHistory bool
	// DeletionPropagation is orphan, foreground or background, which it is if
	// empty.
	DeletionPropagation string
	// Timeout is as in Settings.
	Timeout time.Duration
}

func (m *Manager) timeout(wanted time.Duration) time.Duration {
	if wanted > 0 {
		return wanted
	}
	return m.options.Timeout
}

// mostRevisions is how many revisions are kept.
func (m *Manager) mostRevisions(release Release) int {
	switch most := release.Settings.Upgrade.MaxHistory; {
	case most < 0:
		return math.MaxInt
	case most > 0:
		return most
	}
	return m.options.MaxHistory
}

// optionsLabel is the label of a release's record that says what was asked for
// beside chart, values and patches. The labels themselves don't tell: somebody
// else may have added more of them.
const optionsLabel = "muster.projectsveltos.io/options"

// optionsHash is of what optionsLabel stands for, empty if nothing was asked for.
func (s *Settings) optionsHash() string {
	if len(s.Labels) == 0 && s.Description == "" {
		return ""
	}
	// Strings always have a JSON form.
	encoded, _ := json.Marshal([]any{s.Labels, s.Description})
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:16])
}

// postRenderHash is of what is changed in what the chart renders, hooks or not.
func (r *Release) postRenderHash() string {
	if r.PostRenderHash != "" && r.Settings.PostRender.changesHooks() {
		return r.PostRenderHash + "-hooks"
	}
	return r.PostRenderHash
}

// targetOf is what a release should be, given what it was.
func targetOf(release Release, history []*helmrelease.Release) (target, error) {
	hash, err := hashValues(mergedValues(release, history))
	if err != nil {
		return target{}, fmt.Errorf("comparing values: %w", err)
	}
	return target{
		chart: release.Chart.Name, version: release.Chart.Version, valuesHash: hash,
		postRenderHash: release.postRenderHash(), optionsHash: release.Settings.optionsHash(),
	}, nil
}

// mergedValues are the values that an upgrade stores, as Helm will do it: what is reused
// of the old chart is no value of the release.
func mergedValues(release Release, history []*helmrelease.Release) map[string]any {
	upgrade := &release.Settings.Upgrade
	former := reusable(history)
	if former == nil || !upgrade.ReuseValues && !upgrade.ResetThenReuseValues {
		return release.Values
	}
	return chartutil.CoalesceTables(copyValues(release.Values), copyValues(former.Config))
}

// upgradeValues are the values that the templates of an upgrade see beside the chart's own:
// with reuseValues those of the old chart too.
func upgradeValues(release Release, history []*helmrelease.Release) (map[string]any, error) {
	values := mergedValues(release, history)
	former := reusable(history)
	if former == nil || former.Chart == nil || !release.Settings.Upgrade.ReuseValues {
		return values, nil
	}
	old, err := chartutil.CoalesceValues(former.Chart, copyValues(former.Config))
	if err != nil {
		return nil, fmt.Errorf("reading the values of revision %d: %w", former.Version, err)
	}
	return chartutil.CoalesceTables(values, old), nil
}

// reusable is the revision whose values an upgrade reuses, nil if there is none.
func reusable(history []*helmrelease.Release) *helmrelease.Release {
	var found *helmrelease.Release
	for _, r := range history {
		if r.Info.Status == helmrelease.StatusDeployed || r.Info.Status == helmrelease.StatusSuperseded {
			found = r
		}
	}
	return found
}
