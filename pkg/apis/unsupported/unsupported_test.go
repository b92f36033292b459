// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package unsupported

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type thing struct {
	mode    string
	count   int32
	limit   *int32
	names   []string
	tags    map[string]string
	nothing any
}

func errorsOf(errs field.ErrorList) []string {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return texts
}

func TestValidate(t *testing.T) {
	number := func(n int32) *int32 { return &n }
	table := Table[thing]{
		{Path: "mode", Supported: []string{"slow"}, Refused: []string{"fast"}, Reason: "walk", Value: func(x *thing) any { return x.mode }},
		{Path: "inner.count", Supported: []string{"7"}, Reason: "seven it is", Value: func(x *thing) any { return x.count }},
		{Path: "limit", Supported: []string{"2"}, Reason: "two it is", Value: func(x *thing) any { return x.limit }},
		{Path: "names", Reason: "nobody has one", Value: func(x *thing) any { return x.names }},
		{Path: "tags", Key: "a/b", Reason: "untag it", Value: func(x *thing) any { return x.tags["a/b"] }},
		{Path: "nothing", Reason: "no", Value: func(x *thing) any { return x.nothing }},
	}
	tests := map[string]struct {
		thing thing
		want  []string
	}{
		"nothing set":                        {thing{}, nil},
		"empty values":                       {thing{names: []string{}, tags: map[string]string{}}, nil},
		"supported value":                    {thing{mode: "slow"}, nil},
		"refused value":                      {thing{mode: "fast"}, []string{`spec.mode: Forbidden: "fast" is not supported yet, only slow: walk`}},
		"value that validation knows better": {thing{mode: "sideways"}, nil},
		"supported number":                   {thing{count: 7}, nil},
		"other number":                       {thing{count: 8}, []string{"spec.inner.count: Forbidden: not supported yet, only 7: seven it is"}},
		"supported pointer":                  {thing{limit: number(2)}, nil},
		"other pointer":                      {thing{limit: number(3)}, []string{"spec.limit: Forbidden: not supported yet, only 2: two it is"}},
		"pointer to zero":                    {thing{limit: number(0)}, []string{"spec.limit: Forbidden: not supported yet, only 2: two it is"}},
		"list":                               {thing{names: []string{""}}, []string{"spec.names: Forbidden: not supported yet: nobody has one"}},
		"key":                                {thing{tags: map[string]string{"a/b": "x", "c": "y"}}, []string{"spec.tags[a/b]: Forbidden: not supported yet: untag it"}},
		"two": {thing{mode: "fast", names: []string{"x"}}, []string{
			`spec.mode: Forbidden: "fast" is not supported yet, only slow: walk`, "spec.names: Forbidden: not supported yet: nobody has one",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, errorsOf(table.Validate(&tt.thing, field.NewPath("spec")))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// The value tells one error from another, and is not part of the message.
func TestErrorCarriesTheValue(t *testing.T) {
	table := Table[thing]{{Path: "names", Reason: "no", Value: func(x *thing) any { return x.names }}}
	errs := table.Validate(&thing{names: []string{"secret"}}, field.NewPath("spec"))
	if len(errs) != 1 || !cmp.Equal(errs[0].BadValue, []string{"secret"}) {
		t.Fatalf("errors = %+v", errs)
	}
	if got, want := errs[0].Error(), "spec.names: Forbidden: not supported yet: no"; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
}

func TestRows(t *testing.T) {
	table := Table[thing]{
		{Path: "mode", Supported: []string{"slow"}, Refused: []string{"fast"}, Reason: "walk"},
		{Path: "tags", Key: "a/b", Reason: "untag it"},
	}
	want := []Row{
		{Kinds: "Thing", Path: "spec.mode", Supported: []string{"slow"}, Refused: []string{"fast"}, Reason: "walk"},
		{Kinds: "Thing", Path: "spec.tags[a/b]", Reason: "untag it"},
	}
	if diff := cmp.Diff(want, table.Rows("Thing", "spec")); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := table.Rows("Thing", "")[0].Path; got != "mode" {
		t.Errorf("path without a prefix = %q", got)
	}
}
