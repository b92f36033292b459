// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fieldpath finds and changes fields of objects by paths that users write, such
// as spec.replicas.
package fieldpath

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxSteps is how deep a path may lead. Objects with schemas in them come to 60.
const maxSteps = 100

// Path leads from an object to a field. A step that is a number finds an element of a
// list as well as a key.
type Path []string

// Parse reads a path: names with dots between them, and in front if need be. A name with
// dots in it, and the number of an element, stands in brackets:
// metadata.labels['app.kubernetes.io/name'], spec.ports[0].port.
func Parse(text string) (Path, error) {
	var path Path
	rest := strings.TrimPrefix(text, ".")
	if rest == "" {
		return nil, errors.New("names no field")
	}
	for first := true; rest != ""; first = false {
		var step string
		var err error
		switch {
		case rest[0] == '[':
			step, rest, err = bracketed(rest)
		case first || rest[0] == '.':
			step, rest = plain(rest, first)
		default:
			return nil, fmt.Errorf("%q is no dot or bracket", rest[:1])
		}
		if err != nil {
			return nil, err
		}
		if step == "" {
			return nil, errors.New("has an empty name in it")
		}
		if path = append(path, step); len(path) > maxSteps {
			return nil, fmt.Errorf("leads deeper than %d fields", maxSteps)
		}
	}
	return path, nil
}

// plain takes a name off a path.
func plain(text string, first bool) (step, rest string) {
	if !first {
		text = text[1:]
	}
	end := strings.IndexAny(text, ".[")
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

// bracketed takes a name in brackets off a path.
func bracketed(text string) (step, rest string, err error) {
	inner := text[1:]
	if inner != "" && (inner[0] == '\'' || inner[0] == '"') {
		name, rest, found := strings.Cut(inner[1:], inner[:1]+"]")
		if !found {
			return "", "", errors.New("has a quotation that does not end")
		}
		return name, rest, nil
	}
	name, rest, found := strings.Cut(inner, "]")
	if !found {
		return "", "", errors.New("has a bracket that is not closed")
	}
	if _, err := strconv.ParseUint(name, 10, 31); err != nil {
		return "", "", fmt.Errorf("has [%s] in it, neither a number nor a name in quotation marks", name)
	}
	return name, rest, nil
}

// Get returns the field, which belongs to the object still.
func (p Path) Get(object any) (value any, found bool) {
	for _, step := range p {
		switch at := object.(type) {
		case map[string]any:
			if object, found = at[step]; !found {
				return nil, false
			}
		case []any:
			i, err := index(step, len(at))
			if err != nil {
				return nil, false
			}
			object = at[i]
		default:
			return nil, false
		}
	}
	return object, true
}

// With returns the object with another value in the field, which is made if need be. What
// is changed on the way is copied; the object is not written to.
func (p Path) With(object, value any) (any, error) {
	if len(p) == 0 {
		return value, nil
	}
	switch at := object.(type) {
	case nil:
		object = map[string]any{}
	case []any:
		i, err := index(p[0], len(at))
		if err != nil {
			return nil, err
		}
		changed := slices.Clone(at)
		changed[i], err = p[1:].With(at[i], value)
		return changed, err
	case map[string]any:
	default:
		return nil, fmt.Errorf("there is no field %s in what is neither an object nor a list", p[0])
	}
	changed := maps.Clone(object.(map[string]any))
	if changed == nil {
		changed = map[string]any{}
	}
	inner, err := p[1:].With(changed[p[0]], value)
	if err != nil {
		return nil, err
	}
	changed[p[0]] = inner
	return changed, nil
}

// Without returns the object without the field. What is changed on the way is copied; the
// object is not written to. Removing what is not there changes nothing.
func (p Path) Without(object any) any {
	if _, found := p.Get(object); !found || len(p) == 0 {
		return object
	}
	switch at := object.(type) {
	case map[string]any:
		changed := maps.Clone(at)
		if len(p) == 1 {
			delete(changed, p[0])
		} else {
			changed[p[0]] = p[1:].Without(at[p[0]])
		}
		return changed
	case []any:
		i, err := index(p[0], len(at))
		if err != nil {
			return object
		}
		changed := slices.Clone(at)
		if len(p) == 1 {
			return slices.Delete(changed, i, i+1)
		}
		changed[i] = p[1:].Without(at[i])
		return changed
	}
	return object
}

// index reads the number of an element.
func index(step string, length int) (int, error) {
	i, err := strconv.Atoi(step)
	if err != nil {
		return 0, fmt.Errorf("%s is no number of an element of a list", strconv.Quote(step))
	}
	if i < 0 || i >= length {
		return 0, fmt.Errorf("there is no element %d in a list of %d", i, length)
	}
	return i, nil
}
