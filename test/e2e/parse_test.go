// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parseTable reads a table as kubectl prints it, where cells may be blank: a
// column begins where its header does.
func parseTable(text string) (header []string, rows []map[string]string) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	header = strings.Fields(lines[0])
	begins, at := make([]int, len(header)), 0
	for i, name := range header {
		at += strings.Index(lines[0][at:], name)
		begins[i] = at
		at += len(name)
	}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range header {
			end := len(line)
			if i+1 < len(header) {
				end = min(begins[i+1], len(line))
			}
			row[name] = strings.TrimSpace(line[min(begins[i], end):end])
		}
		rows = append(rows, row)
	}
	return header, rows
}

// parseBorderedTable reads a table with lines around its cells.
func parseBorderedTable(text string) (header []string, rows [][]string) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		if header == nil {
			header = cells
		} else {
			rows = append(rows, cells)
		}
	}
	return header, rows
}

// contains fails unless everything in want is in got, which may have more.
func contains(got, want any) error {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s, want %s", asJSON(got), asJSON(want))
		}
		for key, value := range want {
			if err := contains(object[key], value); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		return nil
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Errorf("%s, want %s", asJSON(got), asJSON(want))
		}
		for i := range want {
			if err := contains(list[i], want[i]); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s, want %s", asJSON(got), asJSON(want))
	}
	return nil
}

func TestParseTable(t *testing.T) {
	t.Parallel()
	header, rows := parseTable("NAMESPACE   NAME       READY   AGE\ncivo        cluster1   true    1s\ncivo        cluster2           2s\nx           y\n")
	if diff := cmp.Diff([]string{"NAMESPACE", "NAME", "READY", "AGE"}, header); diff != "" {
		t.Error(diff)
	}
	want := []map[string]string{
		{"NAMESPACE": "civo", "NAME": "cluster1", "READY": "true", "AGE": "1s"},
		{"NAMESPACE": "civo", "NAME": "cluster2", "READY": "", "AGE": "2s"},
		{"NAMESPACE": "x", "NAME": "y", "READY": "", "AGE": ""},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}

func TestParseBorderedTable(t *testing.T) {
	t.Parallel()
	header, rows := parseBorderedTable("+---+---+\n|  A B  | C |\n+---+---+\n| helm chart |  |\n+---+---+\n")
	if diff := cmp.Diff([]string{"A B", "C"}, header); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"helm chart", ""}}, rows); diff != "" {
		t.Error(diff)
	}
}

func TestContains(t *testing.T) {
	t.Parallel()
	got := map[string]any{"a": map[string]any{"b": 1.0, "c": "x"}, "d": []any{"e"}}
	tests := map[string]struct {
		want any
		ok   bool
	}{
		"part of an object":  {map[string]any{"a": map[string]any{"b": 1.0}}, true},
		"another value":      {map[string]any{"a": map[string]any{"b": 2.0}}, false},
		"a missing field":    {map[string]any{"z": "x"}, false},
		"a whole list":       {map[string]any{"d": []any{"e"}}, true},
		"part of a list":     {map[string]any{"d": []any{}}, false},
		"an object for text": {map[string]any{"a": map[string]any{"c": map[string]any{}}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := contains(got, test.want); (err == nil) != test.ok {
				t.Errorf("contains(%v) = %v", test.want, err)
			}
		})
	}
}
