// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew instead of comparing with them")

// TestGolden keeps discovery and OpenAPI as users and their tools know them: a
// tag that changes shows in a diff.
func TestGolden(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for name, path := range map[string]string{
		"discovery-lib":             "/apis/lib.projectsveltos.io",
		"discovery-lib-v1beta1":     "/apis/lib.projectsveltos.io/v1beta1",
		"discovery-lib-v1alpha1":    "/apis/lib.projectsveltos.io/v1alpha1",
		"discovery-config":          "/apis/config.projectsveltos.io",
		"discovery-config-v1beta1":  "/apis/config.projectsveltos.io/v1beta1",
		"discovery-config-v1alpha1": "/apis/config.projectsveltos.io/v1alpha1",
		"openapi-lib-v1beta1":       "/openapi/v3/apis/lib.projectsveltos.io/v1beta1",
		"openapi-lib-v1alpha1":      "/openapi/v3/apis/lib.projectsveltos.io/v1alpha1",
		"openapi-config-v1beta1":    "/openapi/v3/apis/config.projectsveltos.io/v1beta1",
		"openapi-config-v1alpha1":   "/openapi/v3/apis/config.projectsveltos.io/v1alpha1",
	} {
		t.Run(name, func(t *testing.T) {
			got := lines(t, s.kubectl("get", "--raw", path))
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; go test ./test/e2e -run TestGolden -update writes it", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s changed (-want +got); if that is meant, go test ./test/e2e -run TestGolden -update\n%s", path, diff)
			}
		})
	}
}

// lines is JSON in a form that diffs well and stays small: a line for each path,
// schema and resource, with sorted keys.
func lines(t *testing.T, raw string) []byte {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(raw), &document); err != nil {
		t.Fatalf("%v: %.200s", err, raw)
	}
	var out bytes.Buffer
	write := func(prefix string, value any) {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", prefix, encoded)
	}
	for _, key := range slices.Sorted(maps.Keys(document)) {
		switch value := document[key].(type) {
		case map[string]any:
			for _, inner := range slices.Sorted(maps.Keys(value)) {
				if schemas, ok := value[inner].(map[string]any); ok && key == "components" {
					for _, name := range slices.Sorted(maps.Keys(schemas)) {
						write(inner+"/"+name, schemas[name])
					}
					continue
				}
				write(key+"/"+inner, value[inner])
			}
		case []any:
			for _, item := range value {
				write(key, item)
			}
		default:
			write(key, value)
		}
	}
	return out.Bytes()
}
