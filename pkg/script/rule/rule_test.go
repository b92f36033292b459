// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func object() map[string]any {
	return map[string]any{
		"kind":     "Deployment",
		"metadata": map[string]any{"name": "a", "labels": map[string]any{"app": "frontend"}},
		"spec":     map[string]any{"replicas": int64(3), "half": 0.5},
		"status":   map[string]any{"readyReplicas": int64(3), "conditions": []any{map[string]any{"type": "Available", "status": "True"}}},
	}
}

func variables() Variables {
	return Variables{Resource: object(), Self: object(), Resources: []any{object(), object()}}
}

func TestAny(t *testing.T) {
	for name, tc := range map[string]struct {
		rules []string
		want  bool
		says  string
	}{
		"none":                    {nil, false, ""},
		"true":                    {[]string{"true"}, true, ""},
		"false":                   {[]string{"false"}, false, ""},
		"numbers of JSON":         {[]string{"resource.status.readyReplicas >= resource.spec.replicas && resource.spec.half < 1.0"}, true, ""},
		"a list":                  {[]string{`resource.status.conditions.exists(c, c.type == "Available" && c.status == "True")`}, true, ""},
		"a field that may be":     {[]string{`has(resource.metadata.annotations) && resource.metadata.annotations["x"] == "y"`}, false, ""},
		"text":                    {[]string{`resource.metadata.name.startsWith("a") && resource.metadata.labels["app"].matches("^front")`}, true, ""},
		"self":                    {[]string{`self.kind == "Deployment"`}, true, ""},
		"all of them":             {[]string{`size(resources) == 2 && resources.all(r, r.metadata.name == "a")`}, true, ""},
		"any":                     {[]string{"false", "true"}, true, ""},
		"one fails, one is true":  {[]string{"resource.nope", "true"}, true, ""},
		"one fails, none is true": {[]string{"resource.nope == 1", "false"}, false, "rule r0: no such key: nope"},
		"no bool":                 {[]string{"resource.kind"}, false, "rule r0: it has to be of type bool, not string"},
		"types that do not match": {[]string{`resource.spec.replicas > "a"`}, false, "rule r0: no such overload"},
		"division by zero":        {[]string{"1 / (resource.spec.replicas - 3) == 1"}, false, "division by zero"},
		"the first that is true":  {[]string{"true", "resource.nope"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var rules []Rule
			for i, expression := range tc.rules {
				rules = append(rules, Rule{fmt.Sprintf("r%d", i), expression})
			}
			set, err := Compile(rules...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := set.Any(t.Context(), variables())
			if got != tc.want || (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Any() = %t, %v, want %t, %q", got, err, tc.want, tc.says)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for expression, want := range map[string]string{
		`resource.a == 1`:                       "",
		`resource.a`:                            "",
		`resource.a ==`:                         "line 1, column",
		"true &&\n object":                      "line 2, column 2: undeclared reference to 'object'",
		`1 + 1`:                                 "it has to be of type bool, not int",
		`"a" == 1`:                              "no matching overload",
		``:                                      "line 1",
		strings.Repeat(" ", MaxText+1):          "at most 16384 are allowed",
		strings.Repeat("(", MaxText/2):          "expression recursion limit exceeded",
		strings.Repeat("!", MaxText-4) + "true": "",
		strings.Repeat("[", 500) + strings.Repeat("]", 500) + " == resource.a": "recursion",
	} {
		err := Check(expression)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || len(err.Error()) > MaxMessage) {
			t.Errorf("Check(%.40q) = %v, want %q", expression, err, want)
		}
	}
}

// all is an expression with loops in loops, ten turns each.
func all(depth int, inner string) string {
	for i := range depth {
		inner = fmt.Sprintf("[1,2,3,4,5,6,7,8,9,0].all(v%d, %s)", i, inner)
	}
	return inner
}

// A bomb ends at its limit, without much memory, and others are evaluated meanwhile.
func TestBombs(t *testing.T) {
	text := strings.Repeat("x", 10<<10)
	for name, expression := range map[string]string{
		"loops in loops":     all(9, "true"),
		"text in loops":      all(6, fmt.Sprintf("size(%q + string(v0)) > 0", text)),
		"patterns in loops":  all(6, fmt.Sprintf(`!%q.matches("(x+x+)+y")`, text[:1000])),
		"lists of lists":     "size([1,2,3,4,5,6,7,8,9,0].map(a, " + strings.Repeat("[1,2,3,4,5,6,7,8,9,0].map(a, ", 7) + "a" + strings.Repeat(")", 8) + ") == 10 && false",
		"lists that double":  all(7, "size(resources + resources + resources) > 0"),
		"objects of objects": all(7, `{"a": resource, "b": resource}["a"] == resource`),
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Compile(Rule{"bomb", expression})
			if err != nil {
				t.Fatal(err)
			}
			neighbour, err := Compile(Rule{"neighbour", "resource.kind == 'Deployment'"})
			if err != nil {
				t.Fatal(err)
			}
			before := memory()
			exploded := make(chan error)
			began := time.Now()
			go func() {
				_, err := set.Any(t.Context(), variables())
				exploded <- err
			}()
			if ok, err := neighbour.Any(t.Context(), variables()); !ok || err != nil {
				t.Errorf("the neighbour was answered %t, %v", ok, err)
			}
			err = <-exploded
			if !errors.Is(err, ErrLimit) || !strings.HasPrefix(err.Error(), "rule bomb: ") {
				t.Errorf("got %v, want %v", err, ErrLimit)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the process grew by %d MiB", grown>>20)
			}
		})
	}
}

func memory() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys)
}

func TestEndOfContextEndsTheEvaluation(t *testing.T) {
	set, err := Compile(Rule{"a", all(4, "true")}, Rule{"b", all(4, "true")})
	if err != nil {
		t.Fatal(err)
	}
	reason := errors.New("nobody wants it any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if _, err := set.Any(ctx, variables()); !errors.Is(err, reason) || errors.Is(err, ErrLimit) {
		t.Errorf("got %v, want %v", err, reason)
	}
}

func TestVariablesAreNotChanged(t *testing.T) {
	set, err := Compile(Rule{"a", `size(resources + [resource]) == 3 && resource.status.conditions.map(c, c.type) == ["Available"]`})
	if err != nil {
		t.Fatal(err)
	}
	v := variables()
	if ok, err := set.Any(t.Context(), v); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := fmt.Sprint(v); got != fmt.Sprint(variables()) {
		t.Errorf("they are %s", got)
	}
}

// BenchmarkAny is one evaluation of a rule on an object.
func BenchmarkAny(b *testing.B) {
	set, err := Compile(Rule{"healthy", `resource.status.readyReplicas >= resource.spec.replicas && resource.status.conditions.exists(c, c.type == "Available")`})
	if err != nil {
		b.Fatal(err)
	}
	v := variables()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := set.Any(b.Context(), v); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
