// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	configvalidation "github.com/muster-project/muster/pkg/apis/config/validation"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

// served is what the server says of its types: golden files that test/e2e compares
// with a running one.
const served = "../../test/e2e/testdata/openapi-*.golden"

// schema is one type of an OpenAPI document, or one of its fields.
type schema struct {
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Ref        string            `json:"$ref"`
	AllOf      []schema          `json:"allOf"`
	Kinds      []struct {
		Kind string `json:"kind"`
	} `json:"x-kubernetes-group-version-kind"`
}

// refersTo is the name of the type of a field or of its elements, empty if that is
// none of ours.
func (s schema) refersTo() string {
	if s.Items != nil {
		return s.Items.refersTo()
	}
	ref := s.Ref
	if len(s.AllOf) == 1 {
		ref = s.AllOf[0].Ref
	}
	if !strings.Contains(ref, "io.muster-project.") {
		return ""
	}
	return ref[strings.LastIndex(ref, ".")+1:]
}

// isRoot reports whether a type is an object of the API.
func (s schema) isRoot() bool {
	_, hasMetadata := s.Properties["metadata"]
	return len(s.Kinds) > 0 && hasMetadata
}

// servedTypes reads what a golden file says of Muster's types, lists excepted.
func servedTypes(t *testing.T, path string) map[string]schema {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	types := map[string]schema{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, content, _ := strings.Cut(lines.Text(), " ")
		short := name[strings.LastIndex(name, ".")+1:]
		if !strings.HasPrefix(name, "schemas/io.muster-project.") || strings.HasSuffix(short, "List") {
			continue
		}
		var s schema
		if err := json.Unmarshal([]byte(content), &s); err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
		types[short] = s
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return types
}

func goldenFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(served)
	if err != nil || len(files) != 4 {
		t.Fatalf("found %q, %v; want two groups at two versions", files, err)
	}
	return files
}

func tables(t *testing.T) map[string]map[string]fieldRow {
	t.Helper()
	rows, err := parseFields(fieldTables)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// A field without a row, or a row without a field, fails.
func TestEveryServedFieldHasARow(t *testing.T) {
	rows, found := tables(t), map[string]bool{}
	for _, file := range goldenFiles(t) {
		for name, s := range servedTypes(t, file) {
			for field := range s.Properties {
				if s.isRoot() && slices.Contains([]string{"apiVersion", "kind", "metadata"}, field) {
					continue
				}
				if _, ok := rows[name][field]; !ok {
					t.Errorf("%s: %s.%s has no row in fields.md", filepath.Base(file), name, field)
				}
				found[name+"."+field] = true
			}
		}
	}
	for name, fields := range rows {
		for field := range fields {
			if !found[name+"."+field] {
				t.Errorf("fields.md: %s.%s is not served", name, field)
			}
		}
	}
}

// A row whose test does not exist fails. None can be skipped: hack/lint.sh sees to
// that.
func TestEveryRowHasItsTest(t *testing.T) {
	known := map[string]map[string]bool{}
	for name, fields := range tables(t) {
		for field, row := range fields {
			switch {
			case row.by == isRefused:
				continue // by a row of validation, whose tests refuse all of them
			case row.by == isNeverSet && row.difference == "":
				t.Errorf("%s.%s is never set, and nothing says why", name, field)
			case row.by != isNeverSet && len(row.tests) == 0:
				t.Errorf("%s.%s is obeyed by %s, and no test shows it", name, field, row.by)
			}
			for _, test := range row.tests {
				dir, function, _ := strings.Cut(test, ":")
				if known[dir] == nil {
					known[dir] = testsOf(t, dir)
				}
				if !known[dir][function] {
					t.Errorf("%s.%s: there is no %s in %s", name, field, function, dir)
				}
			}
			if dir := strings.Trim(row.by, "`"); strings.HasPrefix(row.by, "`") {
				if _, err := os.Stat(filepath.Join("../..", dir)); err != nil {
					t.Errorf("%s.%s is obeyed by nothing that exists: %v", name, field, err)
				}
			}
		}
	}
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsOf are the names of a package's tests.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range testFunction.FindAllStringSubmatch(string(content), -1) {
			tests[match[1]] = true
		}
	}
	return tests
}

// A field is called refused if, and only if, validation refuses it wherever a field
// of that type is.
func TestRefusedRowsAreRefused(t *testing.T) {
	refused := map[string]map[string]bool{}
	for _, row := range append(libvalidation.Rows(), configvalidation.Rows()...) {
		for kind := range strings.SplitSeq(row.Kinds, ", ") {
			if refused[kind] == nil {
				refused[kind] = map[string]bool{}
			}
			refused[kind][row.Path] = len(row.Refused) == 0 && len(row.Supported) == 0
		}
	}
	usable := map[string]map[string]bool{}
	for _, file := range goldenFiles(t) {
		types := servedTypes(t, file)
		for _, kind := range []string{"SveltosCluster", "ClusterSet", "Set", "ClusterProfile", "Profile"} {
			if spec := types[kind].Properties["spec"].refersTo(); spec != "" {
				collectUsable(usable, types, spec, "spec", refused[kind], false)
			}
		}
	}
	rows := tables(t)
	for name, fields := range usable {
		for field, used := range fields {
			if said := rows[name][field].by; (said == isRefused) == used {
				t.Errorf("fields.md says %q of %s.%s, and validation lets it pass somewhere: %t", said, name, field, used)
			}
		}
	}
}

// collectUsable notes of each field of a type, and of the types below it, whether a
// write can set it at this path. Below what is refused nothing can be set.
func collectUsable(usable map[string]map[string]bool, types map[string]schema, name, path string, refused map[string]bool, below bool) {
	if usable[name] == nil {
		usable[name] = map[string]bool{}
	}
	for field, s := range types[name].Properties {
		at := path + "." + field
		whole := below || refused[at]
		usable[name][field] = usable[name][field] || !whole
		if element := s.refersTo(); element != "" {
			if s.Items != nil {
				at += "[]"
			}
			collectUsable(usable, types, element, at, refused, whole)
		}
	}
}
