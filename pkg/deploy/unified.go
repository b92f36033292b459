// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/deploy/mask"
)

const (
	// maxDiff bounds the diff of one object, in bytes.
	maxDiff = 32 << 10
	// maxLines is how many lines of an object are compared. Where every second line has
	// changed that takes the square of their number, and nothing interrupts it.
	maxLines = 4000
	// diffContext is how many lines that are the same stand around those that differ.
	diffContext = 3
)

// unifiedDiff compares an object before and after, either of which may be nil. Values
// of Secrets are masked; private masks all values, whatever the kind.
func unifiedDiff(name string, before, after map[string]any, private bool) (string, error) {
	before, after = mask.Pair(before, after, private)
	from, err := toYAML(before)
	if err != nil {
		return "", err
	}
	to, err := toYAML(after)
	if err != nil {
		return "", err
	}
	a, b := lines(from), lines(to)
	left := ""
	if len(a) > maxLines || len(b) > maxLines {
		same := sameStart(a, b)
		if same == len(a) && same == len(b) {
			return "", nil
		}
		a, b = a[same:min(len(a), same+maxLines)], b[same:min(len(b), same+maxLines)]
		left = fmt.Sprintf("… of this object only %d lines from the first difference on, in line %d, are compared\n", maxLines, same+1)
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: a, B: b, FromFile: name + " (live)", ToFile: name + " (profile)", Context: diffContext,
	})
	if err != nil {
		return "", fmt.Errorf("comparing %s: %w", name, err)
	}
	if len(text) > maxDiff {
		cut := strings.LastIndexByte(text[:maxDiff], '\n') + 1
		text = text[:cut] + fmt.Sprintf("… %d more bytes are left out\n", len(text)-cut)
	}
	return text + left, nil
}

// sameStart is how many lines two texts begin with alike.
func sameStart(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func toYAML(object map[string]any) (string, error) {
	if object == nil {
		return "", nil
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("writing an object: %w", err)
	}
	return string(text), nil
}

// lines keeps the ends of lines; nothing has no line.
func lines(text string) []string {
	split := strings.SplitAfter(text, "\n")
	return split[:len(split)-1] // what is behind the last end
}
