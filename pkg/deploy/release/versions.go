// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"strings"

	"github.com/Masterminds/semver/v3"
)

// pickVersion returns the version of a repository that a reference means: the
// same string, the same with or without a leading v, or the highest that meets
// the constraint. Pre-releases meet none that doesn't name one; nothing asked
// for is the highest stable version.
func pickVersion(wanted string, available []string) (string, error) {
	for _, same := range []string{wanted, toggleV(wanted)} {
		for _, version := range available {
			if wanted != "" && version == same {
				return version, nil
			}
		}
	}
	expression := wanted
	if expression == "" {
		expression = "*"
	}
	constraint, err := semver.NewConstraint(expression)
	if err != nil {
		return "", faultf(Invalid, "version %q is neither a version nor a constraint", wanted)
	}
	var best *semver.Version
	for _, text := range available {
		version, err := semver.NewVersion(text)
		if err != nil || !constraint.Check(version) {
			continue
		}
		if best == nil || version.GreaterThan(best) {
			best = version
		}
	}
	if best == nil {
		return "", faultf(NotFound, "no version %s among the %d that the repository has", orNewest(wanted), len(available))
	}
	return best.Original(), nil
}

// toggleV adds a leading v, or takes it away.
func toggleV(version string) string {
	if rest, ok := strings.CutPrefix(version, "v"); ok {
		return rest
	}
	return "v" + version
}

// isVersion reports whether a reference names one version, not a range.
func isVersion(wanted string) bool {
	_, err := semver.StrictNewVersion(strings.TrimPrefix(wanted, "v"))
	return err == nil
}

func orNewest(wanted string) string {
	if wanted == "" {
		return "that is stable"
	}
	return wanted
}
