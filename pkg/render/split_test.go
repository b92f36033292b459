// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v2"
)

func TestSplitYAML(t *testing.T) {
	for name, tc := range map[string]struct {
		stream string
		want   []string
	}{
		"nothing":                    {"", nil},
		"blanks":                     {" \n\t\n\r\n", nil},
		"comments":                   {"# a\n  # b\n---\n# c\n--- # d\n", nil},
		"one":                        {"a: 1\n", []string{"a: 1\n"}},
		"one without a line break":   {"a: 1", []string{"a: 1"}},
		"two":                        {"a: 1\n---\nb: 2\n", []string{"a: 1\n", "---\nb: 2\n"}},
		"marker at the start":        {"---\na: 1\n", []string{"---\na: 1\n"}},
		"marker at the end":          {"a: 1\n---", []string{"a: 1\n"}},
		"markers in a row":           {"---\n---\n--- \na: 1\n---\n---\n", []string{"--- \na: 1\n"}},
		"marker with a comment":      {"a: 1\n--- # next\nb: 2\n", []string{"a: 1\n", "--- # next\nb: 2\n"}},
		"marker with content":        {"--- {a: 1}\n--- {b: 2}\n", []string{"--- {a: 1}\n", "--- {b: 2}\n"}},
		"marker with a tab":          {"a: 1\n---\tb\n", []string{"a: 1\n", "---\tb\n"}},
		"no marker: no space":        {"a: 1\n---b: 2\n", []string{"a: 1\n---b: 2\n"}},
		"no marker: four dashes":     {"a: 1\n----\n", []string{"a: 1\n----\n"}},
		"no marker: block scalar":    {"a: |\n  x\n  ---\n  y\nb: 2\n", []string{"a: |\n  x\n  ---\n  y\nb: 2\n"}},
		"no marker: within a line":   {"a: x --- y\n", []string{"a: x --- y\n"}},
		"CR LF":                      {"a: 1\r\n---\r\nb: 2\r\n", []string{"a: 1\r\n", "---\r\nb: 2\r\n"}},
		"CR":                         {"a: 1\r---\rb: 2\r", []string{"a: 1\r", "---\rb: 2\r"}},
		"NEL":                        {"a: 1\u0085---\u0085b: 2", []string{"a: 1\u0085", "---\u0085b: 2"}},
		"LS":                         {"a: 1\u2028---\u2028b: 2", []string{"a: 1\u2028", "---\u2028b: 2"}},
		"PS":                         {"a: 1\u2029--- b\u2029", []string{"a: 1\u2029", "--- b\u2029"}},
		"other letters of two bytes": {"\u00a0---\n", []string{"\u00a0---\n"}},
		"end marker":                 {"a: 1\n...\n---\nb: 2\n", []string{"a: 1\n", "---\nb: 2\n"}},
		"end marker alone":           {"a: 1\n...\nb: 2\n", []string{"a: 1\n", "b: 2\n"}},
		"end markers in a row":       {"...\n...\na: 1\n... # x\n", []string{"a: 1\n"}},
		"directive":                  {"%YAML 1.1\n---\na: 1\n", []string{"%YAML 1.1\n---\na: 1\n"}},
		"directive of the second":    {"a: 1\n...\n# x\n%YAML 1.1\n---\nb: 2\n", []string{"a: 1\n", "# x\n%YAML 1.1\n---\nb: 2\n"}},
		"directive of nothing":       {"%YAML 1.1\n---\n---\na: 1\n", []string{"---\na: 1\n"}},
		"directive without marker":   {"%YAML 1.1\n", nil},
		"percent sign in content":    {"a: 1\n%b\n---\nc: 3\n", []string{"a: 1\n%b\n", "---\nc: 3\n"}},
		"byte order mark":            {"\ufeff---\na: 1\n", []string{"---\na: 1\n"}},
		"comment before the content": {"# licence\na: 1\n", []string{"# licence\na: 1\n"}},
		"comment after the content":  {"a: 1\n# end\n---\n# none\n", []string{"a: 1\n# end\n"}},
		"JSON":                       {"{\"a\": 1}\n---\n{\"b\": 2}", []string{"{\"a\": 1}\n", "---\n{\"b\": 2}"}},
	} {
		t.Run(name, func(t *testing.T) {
			documents, err := SplitYAML([]byte(tc.stream))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, document := range documents {
				got = append(got, string(document))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSplitYAMLRefusesOtherEncodings(t *testing.T) {
	for name, stream := range map[string]string{
		"UTF-16":  "\xff\xfea\x00:\x001\x00",
		"Latin 1": "a: caf\xe9\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := SplitYAML([]byte(stream)); !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want %v", err, ErrInvalid)
			}
		})
	}
}

func TestDocumentsCannotGrowIntoEachOther(t *testing.T) {
	documents, err := SplitYAML([]byte("a: 1\n---\nb: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(documents[0], 'x')
	if got := string(documents[1]); got != "---\nb: 2\n" {
		t.Errorf("appending to a document changed the next to %q", got)
	}
}

// FuzzSplitYAML compares with the parser: whatever it reads from the whole stream must
// come out of the documents one by one, no document lost, cut or merged.
func FuzzSplitYAML(f *testing.F) {
	for _, seed := range []string{
		"a: 1\n---\nb: 2\n", "--- # c\na: |\n  ---\n", "%YAML 1.1\n---\na: 1\n...\n", "a: 1\r---\rb: 2",
		"{\"a\": 1}", "--- {a: 1}\n--- >\n x\n---\n", "\ufeffa: &x 1\n---\n*x\n", "a\u2028---\u2028b", "\"a\n---\nb\"", "'\n...\n'",
		"- a\n-\n---\n...\n", "? a\n: b\n---\t\n", "a: 1\n%b: 2\n", "%TAG ! tag:x,2000:\n---\n!y z\n", "---\n---\n", "&a\n---\n!!map\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		documents, err := SplitYAML(stream)
		if err != nil || bytes.LastIndex(stream, []byte("\ufeff")) > 0 {
			return // a byte order mark within a stream is text or not, depending on where one begins to read
		}
		for _, document := range documents {
			checkWhole(t, document)
		}
		whole, err := parse(stream)
		if err != nil {
			return // the parser would not read it; neither will ours read some part
		}
		var parts []any
		for _, document := range documents {
			values, err := parse(document)
			if err != nil {
				t.Fatalf("document %q of a valid stream does not parse: %v", document, err)
			}
			if len(values) > 1 {
				t.Fatalf("document %q holds %d documents", document, len(values))
			}
			parts = append(parts, values...)
		}
		if diff := cmp.Diff(withoutNulls(whole), withoutNulls(parts), cmp.Comparer(sameFloat)); diff != "" {
			t.Errorf("documents (-parser's +ours):\n%s", diff)
		}
	})
}

// checkWhole checks that a document is one, and holds something.
func checkWhole(t *testing.T, document []byte) {
	t.Helper()
	again, err := SplitYAML(document)
	if err != nil || len(again) != 1 || !bytes.Equal(again[0], document) {
		t.Fatalf("document %q is split again into %q, %v", document, again, err)
	}
}

func parse(stream []byte) ([]any, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(stream))
	var values []any
	for {
		var v any
		switch err := decoder.Decode(&v); {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil:
			return nil, err
		}
		values = append(values, v)
	}
}

func withoutNulls(values []any) []any {
	kept := []any{}
	for _, v := range values {
		if v != nil {
			kept = append(kept, v)
		}
	}
	return kept
}

// sameFloat says that NaN is NaN.
func sameFloat(a, b float64) bool { return a == b || (a != a && b != b) }

func BenchmarkSplitYAML(b *testing.B) {
	stream := []byte(strings.Repeat("kind: ConfigMap\nmetadata:\n  name: x\n---\n", 10000))
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if _, err := SplitYAML(stream); err != nil {
			b.Fatal(err)
		}
	}
}
