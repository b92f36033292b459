// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
)

func TestText(t *testing.T) {
	tests := map[string]struct {
		text    string
		secrets []string
		want    string
	}{
		"plain":                 {"bad value hunter22 here", []string{"hunter22"}, "bad value *** here"},
		"quoted":                {`bad value "a\"b\nc"`, []string{"a\"b\nc"}, `bad value "***"`},
		"in JSON":               {`bad value "a\u003cb\u003e\u0026c"`, []string{"a<b>&c"}, `bad value "***"`},
		"base64":                {"illegal aHVudGVyMjI=", []string{"hunter22"}, "illegal ***"},
		"one line of many":      {"got correct horse battery", []string{"x: 1\n  correct horse battery\n"}, "got ***"},
		"part of another":       {"hunter22hunter", []string{"hunter", "hunter22"}, "******"},
		"too short to be known": {"abc is in abcdef", []string{"abc"}, "abc is in abcdef"},
		"an ordinary line":      {"true or false", []string{"true\nfalse\n"}, "true or false"},
		"none":                  {"nothing", nil, "nothing"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Text(tc.text, tc.secrets); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTextLeavesNoSecret(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		secrets := rapid.SliceOfN(rapid.StringMatching(`[a-zA-Z0-9+/=" \n]{8,40}`), 1, 4).Draw(rt, "secrets")
		var text strings.Builder
		for _, s := range secrets {
			form := rapid.SampledFrom([]string{s, fmt.Sprintf("%q", s), base64.StdEncoding.EncodeToString([]byte(s))}).Draw(rt, "form")
			text.WriteString(" and " + form)
		}
		got := Text(text.String(), secrets)
		for _, s := range secrets {
			if strings.Contains(got, s) || strings.Contains(got, base64.StdEncoding.EncodeToString([]byte(s))) {
				rt.Fatalf("%q is left in %q", s, got)
			}
		}
	})
}

func TestErrorKeepsItsChain(t *testing.T) {
	cause := errors.New("invalid value hunter22")
	err := Error(fmt.Errorf("applying: %w", cause), []string{"hunter22"})
	if err.Error() != "applying: invalid value ***" || !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if got := Error(cause, []string{"something else"}); got != cause {
		t.Error("an error without secrets was wrapped")
	}
	if Error(nil, []string{"hunter22"}) != nil {
		t.Error("nil became an error")
	}
}

func TestValues(t *testing.T) {
	secret := &unstructured.Unstructured{Object: map[string]any{
		"kind":       "Secret",
		"data":       map[string]any{"a": "aHVudGVyMjI=", "n": int64(1)},
		"stringData": map[string]any{"b": "Y29ycmVjdA=="},
	}}
	got := Values(secret)
	slices.Sort(got)
	if want := []string{"Y29ycmVjdA==", "aHVudGVyMjI=", "hunter22"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	secret.SetKind("ConfigMap")
	if got := Values(secret); got != nil {
		t.Errorf("a ConfigMap has the secrets %v", got)
	}
}

func TestContentIsEverythingButTheName(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "web", "namespace": "shop", "annotations": map[string]any{"a": "hunter22"}},
		"spec":     map[string]any{"replicas": int64(3), "list": []any{map[string]any{"value": "correct horse"}, "battery"}},
	}}
	got := Content(obj)
	slices.Sort(got)
	if want := []string{"battery", "correct horse", "hunter22"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
