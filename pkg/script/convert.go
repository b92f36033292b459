// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/Masterminds/sprig/v3"
	"go.yaml.in/yaml/v3"
)

// repeatableFuncs replaces functions of sprig whose result depends on chance or time by
// ones that do the same without.
func repeatableFuncs() template.FuncMap {
	round := sprig.HermeticTxtFuncMap()["durationRound"].(func(any) string)
	return template.FuncMap{
		"keys":   sortedKeys,
		"values": sortedValues,
		"durationRound": func(duration any) (string, error) {
			if _, isTime := duration.(time.Time); isTime {
				return "", errors.New("durationRound of a date reads the clock, which templates cannot; give it a duration")
			}
			return round(duration), nil
		},
	}
}

// sortedKeys is sprig's keys in the order of the alphabet, dictionary by dictionary,
// instead of the order that Go's maps draw by lot.
func sortedKeys(dicts ...map[string]any) []string {
	keys := []string{}
	for _, dict := range dicts {
		keys = slices.AppendSeq(keys, slices.Values(slices.Sorted(maps.Keys(dict))))
	}
	return keys
}

// sortedValues is sprig's values in the order of their keys.
func sortedValues(dict map[string]any) []any {
	values := make([]any, 0, len(dict))
	for _, key := range slices.Sorted(maps.Keys(dict)) {
		values = append(values, dict[key])
	}
	return values
}

// conversionFuncs are the functions that Sveltos' templates have beyond sprig's. Those
// that read return what they could not read under the key Error, or as the only element,
// as their documentation says and templates rely on; those that write fail, where
// Sveltos returns nothing or the error's text as if it were the value.
func conversionFuncs() template.FuncMap {
	return template.FuncMap{
		"toYaml":        toYAML,
		"fromYaml":      func(s string) map[string]any { return readMap(s, yaml.Unmarshal) },
		"fromYamlArray": func(s string) []any { return readArray(s, yaml.Unmarshal) },
		"toJson":        toJSON,
		"fromJson":      func(s string) map[string]any { return readMap(s, json.Unmarshal) },
		"fromJsonArray": func(s string) []any { return readArray(s, json.Unmarshal) },
		"toToml":        toTOML,
		"fromToml":      func(s string) map[string]any { return readMap(s, toml.Unmarshal) },
	}
}

func readMap(s string, unmarshal func([]byte, any) error) map[string]any {
	m := map[string]any{}
	if err := unmarshal([]byte(s), &m); err != nil {
		return map[string]any{"Error": err.Error()}
	}
	return m
}

func readArray(s string, unmarshal func([]byte, any) error) []any {
	a := []any{}
	if err := unmarshal([]byte(s), &a); err != nil {
		return []any{err.Error()}
	}
	return a
}

func toYAML(v any) (string, error) {
	data, err := yaml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("toYaml: %w", err)
	}
	return strings.TrimSuffix(string(data), "\n"), nil
}

func toJSON(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("toJson: %w", err)
	}
	return string(data), nil
}

func toTOML(v any) (string, error) {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(v); err != nil {
		return "", fmt.Errorf("toToml: %w", err)
	}
	return b.String(), nil
}
