// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMirror(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want Mirror
	}{
		"https":            {"https://a.example=https://b.example/charts", Mirror{"https://a.example", "https://b.example/charts"}},
		"http with a port": {"https://a.example/x=http://127.0.0.1:8080", Mirror{"https://a.example/x", "http://127.0.0.1:8080"}},
		"oci":              {"oci://a.example/x=oci://b.example/y", Mirror{"oci://a.example/x", "oci://b.example/y"}},
		"trailing slashes": {"https://a.example/x/=https://b.example//", Mirror{"https://a.example/x", "https://b.example"}},
		"capitals, blanks": {" HTTPS://A.Example/X = https://B.example ", Mirror{"https://a.example/X", "https://b.example"}},
		"an equals sign":   {"https://a.example=https://b.example/x=y", Mirror{"https://a.example", "https://b.example/x=y"}},
		"IPv6":             {"https://a.example=http://[::1]:80/x", Mirror{"https://a.example", "http://[::1]:80/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMirror(tc.text)
			if err != nil || got != tc.want {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
			if again, err := ParseMirror(got.String()); err != nil || again != got {
				t.Errorf("its text %q is read as %v, %v", got, again, err)
			}
		})
	}
}

func TestParseMirrorRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":           {"", "a mirror has the form from=to"},
		"one URL":           {"https://a.example", "a mirror has the form from=to"},
		"no scheme":         {"a.example=https://b.example", "left side of the mirror: a URL begins with http://, https:// or oci://"},
		"another scheme":    {"https://a.example=file:///charts", `right side of the mirror: scheme "file" is none of http, https, oci`},
		"no host":           {"https:///x=https://b.example", "left side of the mirror: the URL has no host"},
		"nothing on a side": {"https://a.example=", "right side of the mirror: a URL begins with"},
		"no URL":            {"https://a.example/%zz=https://b.example", "left side of the mirror: not a URL"},
		"a query":           {"https://a.example=https://b.example?canary", "right side of the mirror: a mirror's URL has no query and no fragment"},
		"an empty query":    {"https://a.example=https://b.example?", "no query"},
		"a fragment":        {"https://a.example=https://b.example#x", "no query and no fragment"},
		"credentials":       {"https://a.example=https://user:canary@b.example", "right side of the mirror: a mirror's URL holds no credentials"},
		"broken, with some": {"https://a.example=https://user:canary@b.example/%zz", "right side of the mirror: not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMirror(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want %s", got, err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error quotes what may be a password: %v", err)
			}
		})
	}
}

func TestParseMirrors(t *testing.T) {
	got, err := ParseMirrors([]string{"https://a.example=https://b.example", "https://a.example/x=https://c.example"})
	if err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := ParseMirrors([]string{"https://a.example=https://b.example", "x"}); err == nil {
		t.Error("a broken mirror was accepted")
	}
	_, err = ParseMirrors([]string{"https://a.example=https://b.example", "https://A.example/=https://c.example"})
	if err == nil || err.Error() != "https://a.example has two mirrors" {
		t.Errorf("two mirrors of one URL: %v", err)
	}
}

func TestResolve(t *testing.T) {
	mirrors, err := ParseMirrors([]string{
		"https://charts.example=http://127.0.0.1:8080/all",
		"https://charts.example/stable/=http://127.0.0.1:8080/stable",
		"oci://registry.example/charts=oci://mirror.example:5000/m",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ url, want string }{
		"the URL itself":         {"https://charts.example", "http://127.0.0.1:8080/all"},
		"with a slash":           {"https://charts.example/", "http://127.0.0.1:8080/all/"},
		"below":                  {"https://charts.example/x/index.yaml", "http://127.0.0.1:8080/all/x/index.yaml"},
		"the longest":            {"https://charts.example/stable/index.yaml", "http://127.0.0.1:8080/stable/index.yaml"},
		"the longest, no slash":  {"https://charts.example/stable", "http://127.0.0.1:8080/stable"},
		"a longer segment":       {"https://charts.example/stable2/x", "http://127.0.0.1:8080/all/stable2/x"},
		"with a query":           {"https://charts.example?x=y", "http://127.0.0.1:8080/all?x=y"},
		"with a fragment":        {"https://charts.example#x", "http://127.0.0.1:8080/all#x"},
		"capitals":               {"HTTPS://Charts.Example/X", "http://127.0.0.1:8080/all/X"},
		"oci":                    {"oci://registry.example/charts/web", "oci://mirror.example:5000/m/web"},
		"not: another path":      {"oci://registry.example/other", "oci://registry.example/other"},
		"not: a longer host":     {"https://charts.example.evil.example/x", "https://charts.example.evil.example/x"},
		"not: another port":      {"https://charts.example:444/x", "https://charts.example:444/x"},
		"not: another scheme":    {"http://charts.example/x", "http://charts.example/x"},
		"not: with credentials":  {"https://user:pass@charts.example/x", "https://user:pass@charts.example/x"},
		"not: climbing out":      {"https://charts.example/stable/../../secret", "https://charts.example/stable/../../secret"},
		"not: climbing, encoded": {"https://charts.example/stable/%2e%2e/x", "https://charts.example/stable/%2e%2e/x"},
		"not: somewhere else":    {"https://Other.example/x", "https://Other.example/x"},
		"not: no URL":            {"https://charts.example/%zz", "https://charts.example/%zz"},
		"not: nothing":           {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := mirrors.Resolve(tc.url); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// The order of mirrors means nothing but for equal prefixes, and no mirror changes what
// is not under it.
func TestResolveIsTheLongestPrefixInAnyOrder(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "ab"})
	path := rapid.Custom(func(t *rapid.T) string {
		return "https://h.example" + strings.Join(append([]string{""}, rapid.SliceOfN(segment, 0, 3).Draw(t, "segments")...), "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		froms := rapid.SliceOfDistinct(path, rapid.ID).Draw(t, "froms")
		asked := path.Draw(t, "asked")
		var mirrors Mirrors
		want, longest := asked, -1
		for i, from := range froms {
			to := "https://mirror.example/" + strings.Repeat("x", i+1)
			mirrors = append(mirrors, Mirror{from, to})
			if (asked == from || strings.HasPrefix(asked, from+"/")) && len(from) > longest {
				want, longest = to+strings.TrimPrefix(asked, from), len(from)
			}
		}
		if got := Mirrors(rapid.Permutation([]Mirror(mirrors)).Draw(t, "mirrors")).Resolve(asked); got != want {
			t.Fatalf("%s: got %s, want %s", asked, got, want)
		}
	})
}

func TestFirstOfEqualMirrorsWins(t *testing.T) {
	mirrors := Mirrors{{"https://a.example", "https://first.example"}, {"https://a.example", "https://second.example"}}
	if got := mirrors.Resolve("https://a.example/x"); got != "https://first.example/x" {
		t.Errorf("got %s", got)
	}
}
