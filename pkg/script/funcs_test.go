// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"
)

// What templates may call is part of the API: a name that goes breaks users, and one that
// comes needs somebody who has looked at what it does.
func TestApprovedFunctions(t *testing.T) {
	golden, err := os.ReadFile("testdata/funcs.golden")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(golden))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(funcMap()))); diff != "" {
		t.Errorf("functions (-approved +offered):\n%s", diff)
	}
	for name, fn := range funcMap() {
		if fn == nil {
			t.Errorf("%s is approved, but sprig has no such function any more", name)
		}
	}
}

// Every function of sprig is either offered or refused for a reason given here.
func TestRefusedFunctions(t *testing.T) {
	refused := map[string]string{
		"surroundings":        "env expandenv getHostByName osBase osClean osDir osExt osIsAbs",
		"the clock":           "ago date dateInZone dateModify date_in_zone date_modify htmlDate htmlDateInZone now",
		"chance":              "encryptAES randAlpha randAlphaNum randAscii randBytes randInt randNumeric shuffle uuidv4",
		"chance, making keys": "genCA genCAWithKey genPrivateKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey",
		"chance, salt":        "bcrypt htpasswd",
		"makes credentials":   "buildCustomCert derivePassword",
	}
	offered := funcMap()
	left := sprig.TxtFuncMap()
	for reason, names := range refused {
		for name := range strings.FieldsSeq(names) {
			if _, found := offered[name]; found {
				t.Errorf("%s is offered in spite of %s", name, reason)
			}
			delete(left, name)
		}
	}
	for name := range left {
		if _, found := offered[name]; !found {
			t.Errorf("%s of sprig is neither offered nor refused", name)
		}
	}
}

func TestFunctions(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"toYaml":                 {`{{ toYaml .m }}`, "a: 1\nb:\n    - x\n    - \"yes\""},
		"toYaml of nothing":      {`{{ toYaml .nothing }}`, "null"},
		"fromYaml":               {`{{ (fromYaml "a: {b: 7}").a.b }}`, "7"},
		"fromYaml of a mistake":  {`{{ hasKey (fromYaml "a: [") "Error" }}`, "true"},
		"fromYamlArray":          {`{{ index (fromYamlArray "- a\n- b") 1 }}`, "b"},
		"fromYamlArray, mistake": {`{{ len (fromYamlArray "a: 1") }}`, "1"},
		"toJson":                 {`{{ toJson .m }}`, `{"a":1,"b":["x","yes"]}`},
		"fromJson":               {`{{ (fromJson "{\"a\":\"b\"}").a }}`, "b"},
		"fromJson of a mistake":  {`{{ (fromJson "[").Error }}`, "unexpected end of JSON input"},
		"fromJsonArray":          {`{{ index (fromJsonArray "[1,2]") 0 }}`, "1"},
		"toToml":                 {`{{ toToml .m }}`, "a = 1\nb = [\"x\", \"yes\"]\n"},
		"fromToml":               {`{{ (fromToml "a = 'b'").a }}`, "b"},
		"fromToml of a mistake":  {`{{ hasKey (fromToml "=") "Error" }}`, "true"},
		"keys":                   {`{{ keys .order (dict "b" 1 "a" 2) }}`, "[a b c d e f g h a b]"},
		"values":                 {`{{ values .order }}`, "[1 2 3 4 5 6 7 8]"},
		"durationRound":          {`{{ durationRound "2h10m5s" }}`, "2h"},
	} {
		t.Run(name, func(t *testing.T) {
			output, res := evaluate(testRequest(t), tc.text)
			if res != (result{}) || string(output) != tc.want {
				t.Errorf("got %q %v, want %q", output, res.Template, tc.want)
			}
		})
	}
}

func TestFunctionsThatFail(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"the clock by the back door": {`{{ durationRound (toDate "2006" "2020") }}`, "reads the clock"},
		"toJson of a cycle":          {`{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ toJson $d }}`, "toJson: json: unsupported value"},
		"toToml of no table":         {`{{ toToml .nothing }}`, "toToml: "},
	} {
		t.Run(name, func(t *testing.T) {
			output, res := evaluate(testRequest(t), tc.text)
			if res.Template == nil || !strings.Contains(res.Template.Message, tc.want) {
				t.Errorf("got %q %v, want an error with %q", output, res.Template, tc.want)
			}
		})
	}
}

func testRequest(t *testing.T) request {
	t.Helper()
	data, err := json.Marshal(map[string]any{
		"m":       map[string]any{"a": 1, "b": []string{"x", "yes"}},
		"order":   map[string]any{"h": 8, "g": 7, "f": 6, "e": 5, "d": 4, "c": 3, "b": 2, "a": 1},
		"nothing": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return request{Name: "test", Data: data}
}

func TestPosition(t *testing.T) {
	for name, tc := range map[string]struct {
		template, message string
		line              int
		rest              string
	}{
		"parser":              {"a", `template: a:12: unexpected EOF`, 12, "unexpected EOF"},
		"evaluation":          {"a", `template: a:3:14: executing "a" at <.x>: no: way`, 3, "at <.x>: no: way"},
		"named template":      {"a", `template: a:3:14: executing "b" at <.x>: no`, 3, `executing "b" at <.x>: no`},
		"name with colons":    {"a:b:1", `template: a:b:1:7: no`, 7, "no"},
		"message with colons": {"a", `template: a:7: 12: no`, 7, "12: no"},
		"no position":         {"a", `template: no template "x"`, 0, `no template "x"`},
		"something else":      {"a", `decoding: no`, 0, "decoding: no"},
		"no number":           {"a", `template: a:x: no`, 0, "template: a:x: no"},
	} {
		t.Run(name, func(t *testing.T) {
			line, rest := position(tc.template, tc.message)
			if line != tc.line || rest != tc.rest {
				t.Errorf("got %d %q, want %d %q", line, rest, tc.line, tc.rest)
			}
		})
	}
}

func TestTemplateErrorWithoutLine(t *testing.T) {
	err := &TemplateError{Name: "a", Message: "no"}
	if got := err.Error(); got != "template a: no" {
		t.Errorf("got %q", got)
	}
}
