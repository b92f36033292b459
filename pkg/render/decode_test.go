// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

func TestDecodeDocument(t *testing.T) {
	for name, tc := range map[string]struct {
		document string
		want     any
	}{
		"null":              {"~", nil},
		"text":              {"a: b c", map[string]any{"a": "b c"}},
		"numbers":           {"[1, -2, 1.5, 0x10, 1.0, 1e3]", []any{int64(1), int64(-2), 1.5, int64(16), int64(1), int64(1000)}},
		"beyond int64":      {"9223372036854775808", float64(1 << 63)},
		"at the edge":       {"[9223372036854775807, -9223372036854775808]", []any{int64(math.MaxInt64), int64(math.MinInt64)}},
		"far beyond":        {"1e300", 1e300},
		"booleans of 1.1":   {"[yes, off, true, y, No]", []any{true, false, true, true, false}},
		"quoted":            {`["1", 'yes']`, []any{"1", "yes"}},
		"a date is text":    {"2001-02-03", "2001-02-03"},
		"a tagged date":     {"!!timestamp 2001-02-03", "2001-02-03"},
		"binary text":       {"!!binary aGVsbG8=", "hello"},
		"keys become text":  {"{1: a, 1.5: b, yes: c, .inf: d, -.inf: e, .nan: f}", map[string]any{"1": "a", "1.5": "b", "true": "c", ".inf": "d", "-.inf": "e", ".nan": "f"}},
		"aliases":           {"a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", map[string]any{"a": map[string]any{"b": int64(1)}, "c": map[string]any{"b": int64(1)}, "d": map[string]any{"b": int64(1), "e": int64(2)}}},
		"a key set twice":   {"{a: 1, a: 2}", map[string]any{"a": int64(2)}},
		"JSON":              {" {\"a\": [1, 2.5, \"\\u00e9\", null, true]}\n", map[string]any{"a": []any{int64(1), 2.5, "é", nil, true}}},
		"JSON with slashes": {`{"a": "\/"}`, map[string]any{"a": "/"}},
		"JSON that is YAML": {"{a: b}", map[string]any{"a": "b"}},
		"JSON after marker": {"--- \n{\"a\": 1}", map[string]any{"a": int64(1)}},
		"block scalar":      {"a: |\n  x\n  ---\n  y\n", map[string]any{"a": "x\n---\ny\n"}},
		"CR LF":             {"a: 1\r\nb: 2\r\n", map[string]any{"a": int64(1), "b": int64(2)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeDocument([]byte(tc.document))
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%v; value (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDecodeDocumentRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		document, want string
	}{
		"broken YAML":           {"a: 1\nb: [", "not valid YAML, line 2: did not find expected node content"},
		"broken JSON":           {"{\"a\": 1,\n\"b\": 2", "not valid YAML, line 2: did not find expected ',' or '}'"},
		"JSON twice":            {"{\"a\": 1}\n{\"b\": 2}", "not valid YAML"},
		"a tab":                 {"a:\n\tb: 1", "not valid YAML, line 2: found character that cannot start any token"},
		"an unknown alias":      {"a: *b", "not valid YAML: unknown anchor 'b' referenced"},
		"a cycle":               {"a: &a {b: *a}", "not valid YAML: anchor 'a' value contains itself"},
		"two documents":         {"a: 1\n---\nb: 2", "holds more than one document"},
		"not a number":          {"a: .nan", "holds a number that JSON cannot express: NaN"},
		"infinity":              {"a: -.inf", "holds a number that JSON cannot express: -Inf"},
		"a null key":            {"~: 1", "has a key that is no string: <nil>"},
		"colliding keys":        {"{1: a, \"1\": b}", `has a key twice: "1"`},
		"binary that is binary": {"!!binary /w==", "holds text that is not UTF-8"},
		"a list as key":         {"? [a]\n: b", "not valid YAML: invalid map key: []interface {}{\"a\"}"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeDocument([]byte(tc.document))
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, %v, want %s", got, err, tc.want)
			}
		})
	}
}

func TestDecodeDocumentIsBounded(t *testing.T) {
	for name, document := range map[string]string{
		"a long document":             "a: " + strings.Repeat("x", MaxDocument),
		"aliases of a large text":     "a: &x " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*x,", 1000) + "]",
		"aliases of a large key":      "a: &x\n  ? " + strings.Repeat("x", 1<<20) + "\n  : 1\nb: [" + strings.Repeat("*x,", 1000) + "]",
		"aliases of aliases of lists": laughs(9),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeDocument([]byte(document))
			if err == nil {
				t.Fatal("it was decoded")
			}
			if strings.Contains(name, "large") && !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v, want %v", err, ErrTooLarge)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// laughs is a billion of them.
func laughs(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [lol]\n")
	for i := 1; i <= levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	return b.String()
}

// Values that JSON can hold come out of YAML as the decoder of API objects would read
// them from JSON, however they are written.
func TestDecodeDocumentAgreesWithKubectl(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		document, err := yaml.Marshal(values(4).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := yaml.YAMLToJSON(document)
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := utiljson.Unmarshal(asJSON, &want); err != nil {
			t.Fatal(err)
		}
		for _, form := range [][]byte{document, asJSON} {
			got, err := decodeDocument(form)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %v (-kubectl +ours):\n%s", form, err, cmp.Diff(want, got))
			}
		}
	})
}

// texts leaves out the control characters that YAML's writers write and its readers refuse.
func texts() *rapid.Generator[string] {
	return rapid.StringOf(rapid.RuneFrom([]rune("\n\t :#-*&!|>'\"%@`{}[],?=<~"), unicode.L, unicode.N, unicode.P, unicode.Zs))
}

func values(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		texts().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
		rapid.Float64Range(-1e15, 1e15).AsAny(),
		rapid.SampledFrom([]string{"yes", "1", "1e3", "~", "null", "---", "a: b", "*x", "2001-01-01", "0o7", "<<", "="}).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	return rapid.OneOf(append(scalars,
		rapid.MapOfN(texts(), rapid.Deferred(func() *rapid.Generator[any] { return values(depth - 1) }), 0, 5).AsAny(),
		rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return values(depth - 1) }), 0, 5).AsAny(),
	)...)
}

// FuzzDecodeDocument decodes anything, and compares with kubectl's way where that gives a
// result.
func FuzzDecodeDocument(f *testing.F) {
	for _, seed := range []string{
		"a: 1", "{\"a\": [1.5, null]}", "a: &x {b: 1}\nc: {<<: *x}", "- 0x10\n- 1e3\n- yes\n- 2001-01-01", "1: a\n~: b", "!!binary aGk=", "a: !!float 1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		if documents, err := SplitYAML(document); err != nil || len(documents) != 1 {
			return
		}
		got, err := decodeDocument(document)
		if err != nil {
			return
		}
		asJSON, err := yaml.YAMLToJSON(document)
		if err != nil {
			return // of JSON, which we read as such
		}
		var want any
		if err := utiljson.Unmarshal(asJSON, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(numbersAsFloats(got), numbersAsFloats(want)) {
			t.Errorf("(-kubectl +ours):\n%s", cmp.Diff(want, got))
		}
	})
}

// numbersAsFloats forgets whether a whole number came as 1 or as 1.0.
func numbersAsFloats(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = numbersAsFloats(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbersAsFloats(v[k])
		}
	}
	return v
}
