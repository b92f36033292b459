// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

func requirement(key string, operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: operator, Values: values}
}

func TestParseSelector(t *testing.T) {
	const in, notIn, exists, absent = metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist
	type expressions = []metav1.LabelSelectorRequirement
	tests := map[string]struct {
		text        string
		matchLabels map[string]string
		expressions expressions
		canonical   string
	}{
		"empty":                  {text: "", canonical: ""},
		"equal":                  {text: "env=prod", matchLabels: map[string]string{"env": "prod"}, canonical: "env=prod"},
		"equal, twice":           {text: "env==prod", matchLabels: map[string]string{"env": "prod"}, canonical: "env=prod"},
		"equal to nothing":       {text: "env=", matchLabels: map[string]string{"env": ""}, canonical: "env="},
		"repeated":               {text: "env=prod,env=prod", matchLabels: map[string]string{"env": "prod"}, canonical: "env=prod"},
		"not equal":              {text: "env!=prod", expressions: expressions{requirement("env", notIn, "prod")}, canonical: "env notin (prod)"},
		"in":                     {text: "env in (b, a)", expressions: expressions{requirement("env", in, "a", "b")}, canonical: "env in (a,b)"},
		"in one":                 {text: "env in (a)", expressions: expressions{requirement("env", in, "a")}, canonical: "env in (a)"},
		"not in":                 {text: "env notin (a,b)", expressions: expressions{requirement("env", notIn, "a", "b")}, canonical: "env notin (a,b)"},
		"exists":                 {text: "env", expressions: expressions{requirement("env", exists)}, canonical: "env"},
		"absent":                 {text: "!env", expressions: expressions{requirement("env", absent)}, canonical: "!env"},
		"prefixed key":           {text: "example.com/env=prod", matchLabels: map[string]string{"example.com/env": "prod"}, canonical: "example.com/env=prod"},
		"contradiction":          {text: "env=b,env=a", matchLabels: map[string]string{"env": "a"}, expressions: expressions{requirement("env", in, "b")}, canonical: "env in (b),env=a"},
		"three values":           {text: "env=b,env=a,env=c", matchLabels: map[string]string{"env": "a"}, expressions: expressions{requirement("env", in, "b"), requirement("env", in, "c")}, canonical: "env in (b),env in (c),env=a"},
		"exists and does not":    {text: "env,!env", expressions: expressions{requirement("env", absent), requirement("env", exists)}, canonical: "!env,env"},
		"expressions twice":      {text: "a in (x),a in (x)", expressions: expressions{requirement("a", in, "x")}, canonical: "a in (x)"},
		"several":                {text: "tier notin (db),env=prod,!old", matchLabels: map[string]string{"env": "prod"}, expressions: expressions{requirement("old", absent), requirement("tier", notIn, "db")}, canonical: "!old,env=prod,tier notin (db)"},
		"spaces":                 {text: " env = prod , a ", matchLabels: map[string]string{"env": "prod"}, expressions: expressions{requirement("a", exists)}, canonical: "a,env=prod"},
		"upper case value":       {text: "env=PROD", matchLabels: map[string]string{"env": "PROD"}, canonical: "env=PROD"},
		"in with an empty value": {text: "env in (,a)", expressions: expressions{requirement("env", in, "", "a")}, canonical: "env in (,a)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ParseSelector(tt.text)
			want := Selector{LabelSelector: metav1.LabelSelector{MatchLabels: tt.matchLabels, MatchExpressions: tt.expressions}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("ParseSelector(%q) (-want +got):\n%s", tt.text, diff)
			}
			if err := got.ParseError(); err != nil {
				t.Errorf("ParseError() = %v", err)
			}
			if got.String() != tt.canonical {
				t.Errorf("String() = %q, want %q", got.String(), tt.canonical)
			}
			if diff := cmp.Diff(got, ParseSelector(got.String())); diff != "" {
				t.Errorf("the canonical string parses to another selector:\n%s", diff)
			}
		})
	}
}

func TestParseSelectorKeepsWhatIsNone(t *testing.T) {
	tests := map[string]struct{ text, problem string }{
		"words":            {"env in prod", "not a label selector"},
		"no key":           {"=prod", "not a label selector"},
		"bad key":          {"-env=prod", "not a label selector"},
		"bad value":        {"env=pr od", "not a label selector"},
		"value too long":   {"env=" + strings.Repeat("a", 64), "not a label selector"},
		"open parenthesis": {"env in (a", "not a label selector"},
		"greater than":     {"size>3", `operator "gt"`},
		"less than":        {"env=prod,size<3", `operator "lt"`},
		"JSON":             {`{"matchLabels":{"env":"prod"}}`, "not a label selector"},
		"JSON of another":  {`{"matchExpressions":[{"key":"env","operator":"Like"}],"x":1}`, "not a label selector"},
		"bytes":            {"\xff\xfe", "not a label selector"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ParseSelector(tt.text)
			if diff := cmp.Diff(Selector{Raw: tt.text}, got); diff != "" {
				t.Fatalf("ParseSelector(%q) (-want +got):\n%s", tt.text, diff)
			}
			if err := got.ParseError(); err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("ParseError() = %v, want one with %q", err, tt.problem)
			}
			if got.String() != tt.text {
				t.Errorf("String() = %q, want what was written", got.String())
			}
			if got.IsEmpty() {
				t.Error("IsEmpty() = true: a bad selector would pass for one that matches nothing on purpose")
			}
			if back := SelectorFromLabelSelector(got.AsLabelSelector()); back.Raw != tt.text {
				t.Errorf("the way through a LabelSelector gives %+v", back)
			}
		})
	}
}

// A LabelSelector that is not valid survives as a string, so that validation sees it
// whatever versions it passes through.
func TestInvalidLabelSelectorSurvivesAsString(t *testing.T) {
	tests := map[string]metav1.LabelSelector{
		"operator":         {MatchExpressions: []metav1.LabelSelectorRequirement{requirement("env", "Like", "a")}},
		"no values":        {MatchExpressions: []metav1.LabelSelectorRequirement{requirement("env", metav1.LabelSelectorOpIn)}},
		"too many values":  {MatchExpressions: []metav1.LabelSelectorRequirement{requirement("env", metav1.LabelSelectorOpExists, "a")}},
		"key":              {MatchLabels: map[string]string{"no key": "a"}},
		"value":            {MatchLabels: map[string]string{"env": "no value", "a": "b"}},
		"the mark of ours": {MatchExpressions: []metav1.LabelSelectorRequirement{requirement("env", unparsedOperator, "a")}},
	}
	for name, selector := range tests {
		t.Run(name, func(t *testing.T) {
			text := Selector{LabelSelector: selector}.String()
			if _, err := labels.Parse(text); err == nil {
				t.Errorf("%q is a selector", text)
			}
			if diff := cmp.Diff(Selector{LabelSelector: selector}, ParseSelector(text)); diff != "" {
				t.Errorf("ParseSelector(%q) (-want +got):\n%s", text, diff)
			}
		})
	}
}

func TestSelectorIsEmpty(t *testing.T) {
	for text, want := range map[string]bool{"": true, "  ": true, "a": false, "a=b": false, "!!": false} {
		if got := ParseSelector(text).IsEmpty(); got != want {
			t.Errorf("ParseSelector(%q).IsEmpty() = %v, want %v", text, got, want)
		}
	}
}

// labelSets are sets of labels that differ in how they meet the requirements.
func labelSets(selectors ...labels.Selector) []labels.Set {
	sets := []labels.Set{{}}
	for _, selector := range selectors {
		requirements, _ := selector.Requirements()
		for _, r := range requirements {
			values := append(r.ValuesUnsorted(), "", "another")
			grown := make([]labels.Set, 0, len(sets)*2)
			for _, set := range sets {
				for _, value := range values {
					grown = append(grown, labels.Merge(set, labels.Set{r.Key(): value}))
				}
			}
			if sets = append(sets, grown...); len(sets) > 2000 {
				return sets
			}
		}
	}
	return sets
}

func FuzzSelector(f *testing.F) {
	for _, seed := range []string{
		"", "env=prod", "env==prod", "env!=prod", "env=a,env=b", "env in (a,b),env notin (b)", "!env", "env", "a=,b in ()",
		"size>3", "env in prod", "{", `{"matchLabels":{"a b":""}}`, "example.com/a=b , c", "a=b,,c=d", "a notin (x,,y)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		selector := ParseSelector(text)
		if again := ParseSelector(selector.String()); !cmp.Equal(selector, again) {
			t.Fatalf("%q: parsing the string of %+v gives %+v", text, selector, again)
		}
		if through := SelectorFromLabelSelector(selector.AsLabelSelector()); !cmp.Equal(selector, through) {
			t.Fatalf("%q: the way of %+v through a LabelSelector gives %+v", text, selector, through)
		}
		original, err := labels.Parse(text)
		if err != nil {
			if _, err := metav1.LabelSelectorAsSelector(&selector.LabelSelector); selector.ParseError() == nil && err == nil {
				t.Fatalf("%q is no selector and became %+v", text, selector)
			}
			return
		}
		if selector.ParseError() != nil {
			return // an operator that a LabelSelector does not have
		}
		converted, err := metav1.LabelSelectorAsSelector(&selector.LabelSelector)
		if err != nil {
			t.Fatalf("%q became %+v, which is not valid: %v", text, selector, err)
		}
		// An empty selector matches everything in this API and nothing in ours, on both
		// sides alike.
		if selector.IsEmpty() != original.Empty() {
			t.Fatalf("%q: IsEmpty() = %v, and the selector has requirements: %v", text, selector.IsEmpty(), !original.Empty())
		}
		for _, set := range labelSets(original, converted) {
			if !selector.IsEmpty() && original.Matches(set) != converted.Matches(set) {
				t.Fatalf("%q matches %v: %v; as %+v: %v", text, set, original.Matches(set), selector, converted.Matches(set))
			}
		}
	})
}

// Reading an object at v1alpha1 and writing it back changes no LabelSelector's
// meaning, in whatever form it was written.
func TestLabelSelectorKeepsItsMeaningAsString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom([]string{"env", "tier", "example.com/x"})
		value := rapid.SampledFrom([]string{"", "a", "b", "C-d.e"})
		before := metav1.LabelSelector{MatchLabels: rapid.MapOfN(key, value, 0, 2).Draw(t, "labels")}
		for range rapid.IntRange(0, 4).Draw(t, "expressions") {
			expression := requirement(key.Draw(t, "key"), rapid.SampledFrom([]metav1.LabelSelectorOperator{
				metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist,
			}).Draw(t, "operator"))
			if expression.Operator == metav1.LabelSelectorOpIn || expression.Operator == metav1.LabelSelectorOpNotIn {
				expression.Values = rapid.SliceOfN(value, 1, 3).Draw(t, "values")
			}
			before.MatchExpressions = append(before.MatchExpressions, expression)
		}
		after := ParseSelector(Selector{LabelSelector: before}.String())

		a, err := metav1.LabelSelectorAsSelector(&before)
		if err != nil {
			t.Fatalf("%+v: %v", before, err)
		}
		b, err := metav1.LabelSelectorAsSelector(&after.LabelSelector)
		if err != nil || after.Raw != "" {
			t.Fatalf("%+v became %+v: %v", before, after, err)
		}
		if a.Empty() != b.Empty() {
			t.Fatalf("%+v became %+v", before, after)
		}
		for _, set := range labelSets(a, b) {
			if a.Matches(set) != b.Matches(set) {
				t.Fatalf("%+v matches %v: %v; as %+v: %v", before, set, a.Matches(set), after, b.Matches(set))
			}
		}
	})
}
