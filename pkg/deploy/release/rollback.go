// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"slices"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
)

// formerRevision is the newest revision in the history that is what a rollback asks
// for, 0 if there is none, or if none is asked for.
func formerRevision(release Release, history []*helmrelease.Release, to target) int {
	if !release.Rollback {
		return 0
	}
	for _, r := range slices.Backward(history) {
		if r.Info.Status == helmrelease.StatusSuperseded && to.isAt(r) {
			return r.Version
		}
	}
	return 0
}

// change makes the release another one: by Helm's own rollback where the revision
// that is asked for is still in the history, which runs the chart's hooks for it and
// renders nothing anew, and by an upgrade where it is not.
func (m *Manager) change(op *operation, history []*helmrelease.Release, release Release, parsed *chart.Chart) (*helmrelease.Release, error) {
	if op.former == 0 {
		return m.upgrade(op, history, release, parsed)
	}
	_, err := op.helm.Releases.Get(release.Name, op.former)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		// It was in the way of another attempt.
		return m.upgrade(op, history, release, parsed)
	}
	if err != nil {
		return nil, err
	}
	rollback := action.NewRollback(op.helm)
	rollback.Version = op.former
	settings := &release.Settings
	rollback.Timeout, rollback.Wait, rollback.WaitForJobs = m.timeout(settings.Timeout), settings.Wait, settings.WaitForJobs
	rollback.DisableHooks, rollback.Force = settings.Upgrade.DisableHooks, settings.Upgrade.Force
	rollback.Recreate, rollback.CleanupOnFail = settings.Upgrade.Recreate, settings.Upgrade.CleanupOnFail
	rollback.MaxHistory = 0 // settle sees to it
	if err := rollback.Run(release.Name); err != nil {
		return nil, err
	}
	return op.helm.Releases.Last(release.Name)
}
