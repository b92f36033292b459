// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	"pgregory.net/rapid"
)

// jsonValues generates what JSON can say: no nil in maps and lists, where Lua has none,
// and no whole numbers beyond Lua's.
func jsonValues(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Int64Range(-maxWhole, maxWhole).AsAny(),
		rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) any { return math.Trunc(f) + 0.5 }).Filter(func(v any) bool {
			return math.Trunc(v.(float64)) != v.(float64)
		}),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	inner := jsonValues(depth - 1)
	return rapid.OneOf(append(leaves,
		rapid.SliceOfN(inner, 1, 5).AsAny(),
		rapid.MapOfN(rapid.String(), inner, 0, 5).AsAny(),
	)...)
}

func TestValuesArriveAsTheyWereSent(t *testing.T) {
	codec, err := newLuaCodec()
	if err != nil {
		t.Fatal(err)
	}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	rapid.Check(t, func(t *rapid.T) {
		want := jsonValues(3).Draw(t, "value")
		data, err := codec.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		items := luaItems{state: l, rest: string(data) + "\xf5"}
		value, err := items.next()
		if err != nil || items.rest != "\xf5" {
			t.Fatalf("%v; %q is left", err, items.rest)
		}
		reader := luaReader{elements: maxLuaElements, bytes: MaxOutput}
		got, err := reader.read(value, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-sent +arrived)\n%s", diff)
		}
	})
}

func TestNumbersThatJSONHasNot(t *testing.T) {
	codec, err := newLuaCodec()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1 << 62, -1 << 62} {
		data, err := codec.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&luaItems{rest: string(data)}).next()
		if err != nil || float64(got.(lua.LNumber)) != want && !math.IsNaN(want) {
			t.Errorf("%g arrives as %v, %v", want, got, err)
		}
	}
}

// Whatever the data is, reading it ends with an error and without much memory.
func TestBrokenValues(t *testing.T) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, data := range map[string]string{
		"nothing":             "",
		"a cut number":        "\x19\x01",
		"a cut string":        "\x64abc",
		"a list of gigabytes": "\x9a\xff\xff\xff\xff",
		"a map of exabytes":   "\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
		"a map by number":     "\xa1\x01\x01",
		"an endless list":     "\x9f\x01",
		"a tag":               "\xc1\x01",
		"a short float":       "\xf9\x3c\x00",
		"a reserved argument": "\x1c",
		"an unknown word":     "\xf8\x20",
	} {
		if value, err := (&luaItems{state: l, rest: data}).next(); !errors.Is(err, errLuaData) {
			t.Errorf("%s: %v, %v", name, value, err)
		}
	}
}
