// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-project/muster/pkg/script"
)

// Whatever is wrong with a Secret, the error holds nothing of it, not even with %+v or
// through errors.As.
func TestErrorsHoldNothingOfSecrets(t *testing.T) {
	const canary = "canary-8b1d"
	r := newRenderer(t)
	for name, text := range map[string]string{
		"text":                       canary,
		"a list":                     "- " + canary,
		"broken YAML":                "a: [" + canary,
		"unknown alias":              "a: *" + canary,
		"key of no text":             "? [" + canary + "]\n: 1",
		"colliding keys":             "{1: a, '1': " + canary + "}",
		"no apiVersion":              "kind: " + canary + "\nmetadata: {name: " + canary + "}",
		"wrong apiVersion":           "apiVersion: a/b/" + canary + "\nkind: A\nmetadata: {name: x}",
		"wrong name":                 "apiVersion: v1\nkind: A\nmetadata: {name: a/" + canary + "}",
		"wrong label":                "apiVersion: v1\nkind: A\nmetadata: {name: " + canary + ", labels: {" + canary + ": 1}}",
		"wrong item":                 "apiVersion: v1\nkind: List\nitems: [{kind: " + canary + "}]",
		"twice":                      strings.Repeat("---\n"+object("A", canary), 2),
		"large":                      object("A", canary) + "data: " + strings.Repeat(canary, MaxObject/len(canary)),
		"template: mistake":          "{{ " + canary,
		"template: unknown function": "{{ canary8b1d }}{{/* " + canary + " */}}",
		"template: missing key":      "{{ index . `" + canary + "` }}{{ .x }}",
		"template: fail":             "{{ fail `" + canary + "` }}",
		"template: error of a call":  "{{ atoi `1` | semver }}{{ semver `" + canary + "` }}",
		"template: broken output":    "{{ `a: [` }}" + canary,
		"template: time":             "{{ range 2000000000 }}{{ end }}" + canary,
		"template: memory":           "{{ repeat 2000000000 `" + canary + "` }}",
		"template: output":           "{{ range 2000000000 }}" + canary + "{{ end }}",
	} {
		t.Run(name, func(t *testing.T) {
			source := secret(map[string]string{"a.yaml": text})
			if strings.HasPrefix(name, "template") {
				source = annotated(source, AnnotationTemplate)
			}
			_, err := r.Objects(t.Context(), source, TemplateData(map[string]any{"x": canary}))
			if err == nil {
				t.Fatal("it was rendered")
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if said := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(said, "canary") {
					t.Errorf("the error quotes the Secret: %s", said)
				}
			}
			if !strings.HasPrefix(err.Error(), `Secret default/policy, key "a.yaml"`) {
				t.Errorf("the error does not say where it is: %v", err)
			}
		})
	}
}

func TestErrorsOfSecretsStillHelp(t *testing.T) {
	r := newRenderer(t)
	for name, tc := range map[string]struct {
		source Source
		want   string
		is     error
	}{
		"YAML": {
			secret(map[string]string{"a": object("A", "x") + "---\nb: 1\n\nc: ["}),
			`Secret default/policy, key "a", document 2: not valid YAML, line 4: the details are withheld because the source is a Secret`, ErrInvalid,
		},
		"a field": {
			secret(map[string]string{"a": "kind: A\nmetadata: {name: x}"}),
			`Secret default/policy, key "a", document 1: apiVersion is missing or no string`, ErrInvalid,
		},
		"a template": {
			annotated(secret(map[string]string{"a": "\n\n{{ .x }}"}), AnnotationTemplate),
			`Secret default/policy, key "a": template a, line 3: the details are withheld`, nil,
		},
		"a bomb": {
			annotated(secret(map[string]string{"a": "{{ range 2000000000 }}{{ end }}"}), AnnotationTemplate),
			`Secret default/policy, key "a": evaluation took too long`, script.ErrTimeout,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Objects(t.Context(), tc.source, nil)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestWithoutContent(t *testing.T) {
	for name, tc := range map[string]struct {
		err, is error
		want    string
	}{
		"nothing":          {nil, nil, ""},
		"anybody's error":  {errors.New("canary"), nil, withheld},
		"a wrapped limit":  {fmt.Errorf("canary: %w", script.ErrMemory), script.ErrMemory, script.ErrMemory.Error()},
		"the context's":    {fmt.Errorf("canary: %w", context.Canceled), context.Canceled, "context canceled"},
		"a template's":     {fmt.Errorf("canary: %w", &script.TemplateError{Name: "values", Line: 3, Message: "canary"}), nil, "template values, line 3: " + withheld},
		"nothing to hide":  {&contentError{what: "too bad"}, ErrInvalid, "too bad"},
		"something inside": {&contentError{what: "too bad", line: 2, detail: "canary"}, ErrInvalid, "too bad, line 2: " + withheld},
	} {
		t.Run(name, func(t *testing.T) {
			got := WithoutContent(tc.err)
			if tc.err == nil {
				if got != nil {
					t.Errorf("got %v for no error", got)
				}
				return
			}
			if got.Error() != tc.want || (tc.is != nil && !errors.Is(got, tc.is)) {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}
