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
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: lines(from), B: lines(to), FromFile: name + " (live)", ToFile: name + " (profile)", Context: diffContext,
	})
	if err != nil {
		return "", fmt.Errorf("comparing %s: %w", name, err)
	}
	if len(text) > maxDiff {
		cut := strings.LastIndexByte(text[:maxDiff], '\n') + 1
		text = text[:cut] + fmt.Sprintf("… %d more bytes are left out\n", len(text)-cut)
	}
	return text, nil
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
