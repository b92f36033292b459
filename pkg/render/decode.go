// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v2"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// CheckYAML returns an error if one of the documents in data is not YAML, or is more than
// a parser should be given: its aliases expand to more than MaxSet bytes, for example.
func CheckYAML(data []byte) error {
	documents, err := SplitYAML(data)
	if err != nil {
		return err
	}
	for _, document := range documents {
		if _, err := decodeDocument(document); err != nil {
			return err
		}
	}
	return nil
}

// decodeDocument decodes one YAML or JSON document to what JSON of the API decodes to:
// map[string]any, []any, string, int64, float64, bool and nil.
//
// It reads YAML as kubectl does (version 1.1, where yes is true), but not through JSON: an
// alias that stands for a megabyte of text costs nothing in a parsed document, and a
// thousand of them a gigabyte in its JSON.
func decodeDocument(document []byte) (any, error) {
	if len(document) > MaxDocument {
		return nil, tooLarge("the document", len(document), MaxDocument)
	}
	if bytes.HasPrefix(bytes.TrimSpace(document), []byte("{")) {
		var v any
		if err := utiljson.Unmarshal(document, &v); err == nil {
			return v, nil
		}
		// It may be a flow mapping of YAML; if it is broken, YAML's error has the line.
	}
	decoder := yaml.NewDecoder(bytes.NewReader(document))
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, syntaxError(err)
	}
	var second any
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, &contentError{what: "holds more than one document"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	c := converter{budget: MaxSet}
	return c.value(v)
}

// converter turns what the YAML parser returns into what a JSON parser would.
type converter struct {
	// budget is how many bytes the result may still have as JSON, escapes aside.
	budget int
}

var errExpanded = &contentError{
	what:   fmt.Sprintf("its aliases expand to more than %d bytes", MaxSet),
	reason: ErrTooLarge,
}

func (c *converter) spend(n int) error {
	if c.budget -= n; c.budget < 0 {
		return errExpanded
	}
	return nil
}

func (c *converter) value(v any) (any, error) {
	switch v := v.(type) {
	case map[any]any:
		return c.mapping(v)
	case []any:
		return c.sequence(v)
	case string:
		return c.text(v)
	case int:
		return int64(v), c.spend(1)
	case int64:
		return v, c.spend(1)
	case uint64:
		return float64(v), c.spend(1) // the parser returns it for what int64 cannot hold
	case float64:
		return c.number(v)
	case bool, nil:
		return v, c.spend(1)
	}
	return nil, &contentError{what: "holds a value that JSON cannot express", detail: fmt.Sprintf("%T", v)}
}

func (c *converter) mapping(m map[any]any) (map[string]any, error) {
	object := make(map[string]any, len(m))
	for k, v := range m {
		key, err := c.key(k)
		if err != nil {
			return nil, err
		}
		if _, found := object[key]; found {
			return nil, &contentError{what: "has a key twice", detail: strconv.Quote(key)}
		}
		if object[key], err = c.value(v); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// key writes a key as kubectl does: 1: is "1":, and yes: is "true":.
func (c *converter) key(k any) (string, error) {
	switch k := k.(type) {
	case string:
		return c.text(k)
	case int:
		return c.text(strconv.Itoa(k))
	case int64:
		return c.text(strconv.FormatInt(k, 10))
	case float64:
		return c.text(floatKey(k))
	case bool:
		return c.text(strconv.FormatBool(k))
	}
	return "", &contentError{what: "has a key that is no string", detail: fmt.Sprint(k)}
}

func floatKey(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	case math.IsNaN(f):
		return ".nan"
	}
	return strconv.FormatFloat(f, 'g', -1, 32)
}

func (c *converter) sequence(s []any) ([]any, error) {
	list := make([]any, len(s))
	for i, v := range s {
		var err error
		if list[i], err = c.value(v); err != nil {
			return nil, err
		}
	}
	return list, c.spend(len(list))
}

func (c *converter) text(s string) (string, error) {
	if !utf8.ValidString(s) { // of a !!binary tag
		return "", &contentError{what: "holds text that is not UTF-8"}
	}
	return s, c.spend(len(s) + len(`"":`))
}

// number returns a whole number as int64, however it is written: 1.0 and 1e3 are whole
// in JSON too.
func (c *converter) number(f float64) (any, error) {
	switch {
	case math.IsNaN(f), math.IsInf(f, 0):
		return nil, &contentError{what: "holds a number that JSON cannot express", detail: fmt.Sprint(f)}
	case f == math.Trunc(f) && f >= -1<<63 && f < 1<<63:
		return int64(f), c.spend(1)
	}
	return f, c.spend(1)
}
