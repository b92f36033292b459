// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
)

// step is what brings a release from where its history ends to where it
// should be.
type step string

const (
	stepNone step = "None"
	// stepInstall installs, as the first revision or in place of one that
	// never worked.
	stepInstall step = "Install"
	// stepReinstall uninstalls what is left of a release, and installs.
	stepReinstall step = "Reinstall"
	stepUpgrade   step = "Upgrade"
)

// target is what a release should be.
type target struct {
	chart, version, valuesHash, postRenderHash, optionsHash string
}

func (t target) isAt(r *helmrelease.Release) bool {
	if r.Chart == nil || r.Chart.Metadata == nil || r.Chart.Metadata.Name != t.chart || r.Chart.Metadata.Version != t.version {
		return false
	}
	if r.Labels[postRenderLabel] != t.postRenderHash || r.Labels[optionsLabel] != t.optionsHash {
		return false
	}
	hash, err := hashValues(r.Config)
	return err == nil && hash == t.valuesHash
}

// decide says what to do about a release with this history, oldest first. It
// repairs what a process that was killed has left: abandon says that the newest
// revision is pending and has to be marked as failed first, or Helm would wait
// for ever for whoever began it. Nobody else did: calls for one release don't
// overlap, and a term ends with all of its requests. A release that never worked is
// uninstalled when recoverAfter attempts to install it have failed, if that is not
// zero: something of the attempts may be what is in the way.
func decide(history []*helmrelease.Release, to target, recoverAfter int) (do step, abandon bool) {
	if len(history) == 0 {
		return stepInstall, false
	}
	last := history[len(history)-1]
	status := last.Info.Status
	worked := slices.ContainsFunc(history, func(r *helmrelease.Release) bool {
		return r.Info.Status == helmrelease.StatusDeployed || r.Info.Status == helmrelease.StatusSuperseded
	})
	switch {
	case status == helmrelease.StatusDeployed && to.isAt(last):
		return stepNone, false
	case status == helmrelease.StatusUninstalled:
		return stepInstall, false
	case status == helmrelease.StatusUninstalling:
		return stepReinstall, false
	case worked:
		return stepUpgrade, status.IsPending()
	case to.isAt(last) && (recoverAfter <= 0 || attempts(history) < recoverAfter):
		// What the failed attempt made is what this one makes: it is adopted.
		return stepInstall, status.IsPending()
	}
	return stepReinstall, false
}

// attempts counts the last revisions that were begun and came to no end, those that
// were forgotten meanwhile too.
func attempts(history []*helmrelease.Release) int {
	for i, r := range slices.Backward(history) {
		if !isUnfinished(r) {
			return history[len(history)-1].Version - history[i].Version
		}
	}
	return history[len(history)-1].Version
}

// readHistory returns the revisions of a release, oldest first; none is no error.
func readHistory(releases *storage.Storage, name string) ([]*helmrelease.Release, error) {
	history, err := releases.History(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the release's history: %w", err)
	}
	releaseutil.SortByRevision(history)
	return history, nil
}

// hashValues hashes values so that they compare equal after having been
// stored: none and an empty map are the same, 1 and 1.0 too.
func hashValues(values map[string]any) (string, error) {
	if len(values) == 0 {
		values = map[string]any{}
	}
	data, err := json.Marshal(values)
	if err != nil {
		return "", fmt.Errorf("the values are not representable as JSON: %w", err)
	}
	var stored map[string]any
	if err := json.Unmarshal(data, &stored); err != nil {
		return "", fmt.Errorf("reading the values back: %w", err)
	}
	if data, err = json.Marshal(stored); err != nil {
		return "", fmt.Errorf("the values are not representable as JSON: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// copyValues returns a copy that Helm may write to.
func copyValues(values map[string]any) map[string]any {
	out := make(map[string]any, len(values))
	for key, value := range values {
		out[key] = copyValue(value)
	}
	return out
}

func copyValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		return copyValues(value)
	case []any:
		out := make([]any, len(value))
		for i := range value {
			out[i] = copyValue(value[i])
		}
		return out
	}
	return value
}
