// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/muster-project/muster/pkg/script/fieldpath"
)

// DataResources is the key of a template's data that holds the objects of the host by
// their identifiers, nil for one that is optional and missing. The functions that take an
// identifier look there.
const DataResources = "MgmtResources"

// resourceFuncs are the functions of Sveltos' templates that take an object of the host by
// its identifier, or a copy of one. None changes what another one sees. Where Sveltos
// returns nothing for an identifier that does not exist, and would deploy that, they fail.
func resourceFuncs(data map[string]any) template.FuncMap {
	resources, _ := data[DataResources].(map[string]any)
	known := hostResources(resources)
	return template.FuncMap{
		"getResource":      known.get,
		"getField":         known.field,
		"copy":             known.copy,
		"setField":         known.with,
		"removeField":      known.without,
		"chainSetField":    chainSetField,
		"chainRemoveField": chainRemoveField,
	}
}

// hostResources are objects of the host by their identifiers.
type hostResources map[string]any

// get returns an object without what belongs to it alone, nil if it is optional and
// missing.
func (r hostResources) get(identifier string) (map[string]any, error) {
	value, found := r[identifier]
	if !found {
		return nil, fmt.Errorf("there is no %q in templateResourceRefs%s", identifier, r.identifiers())
	}
	object, _ := value.(map[string]any)
	return own(object), nil
}

// identifiers are those that there are, for an error.
func (r hostResources) identifiers() string {
	if len(r) == 0 {
		return ", which are empty"
	}
	return ", only " + strings.Join(slices.Sorted(maps.Keys(r)), ", ")
}

// present returns an object that has to be there.
func (r hostResources) present(identifier string) (map[string]any, error) {
	object, err := r.get(identifier)
	if err == nil && object == nil {
		err = fmt.Errorf("the resource %q is missing, which is allowed: ask with {{ if getResource %q }} first", identifier, identifier)
	}
	return object, err
}

// field returns a field of an object, an empty string if it is not there.
func (r hostResources) field(identifier, field string) (any, error) {
	object, err := r.present(identifier)
	if err != nil {
		return nil, err
	}
	path, err := pathOf(field)
	if err != nil {
		return nil, err
	}
	if value, found := path.Get(object); found && value != nil {
		return value, nil
	}
	return "", nil
}

// copy returns an object as YAML.
func (r hostResources) copy(identifier string) (string, error) {
	object, err := r.present(identifier)
	if err != nil {
		return "", err
	}
	return toYAML(object)
}

// with returns an object with another value in a field, as YAML.
func (r hostResources) with(identifier, field string, value any) (string, error) {
	object, err := r.present(identifier)
	if err != nil {
		return "", err
	}
	changed, err := chainSetField(object, field, value)
	if err != nil {
		return "", err
	}
	return toYAML(changed)
}

// without returns an object without a field, as YAML.
func (r hostResources) without(identifier, field string) (string, error) {
	object, err := r.present(identifier)
	if err != nil {
		return "", err
	}
	changed, err := chainRemoveField(object, field)
	if err != nil {
		return "", err
	}
	return toYAML(changed)
}

func chainSetField(object map[string]any, field string, value any) (any, error) {
	path, err := pathOf(field)
	if err != nil {
		return nil, err
	}
	changed, err := path.With(object, value)
	if err != nil {
		return nil, fmt.Errorf("setting field %s: %w", field, err)
	}
	return changed, nil
}

func chainRemoveField(object map[string]any, field string) (any, error) {
	path, err := pathOf(field)
	if err != nil {
		return nil, err
	}
	return path.Without(object), nil
}

func pathOf(field string) (fieldpath.Path, error) {
	path, err := fieldpath.Parse(field)
	if err != nil {
		return nil, fmt.Errorf("the path of field %q %w", field, err)
	}
	return path, nil
}

// own returns an object without what the host has written into it to tell it from others:
// a cluster would refuse to take it with that.
func own(object map[string]any) map[string]any {
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return object
	}
	metadata = maps.Clone(metadata)
	for _, field := range []string{"managedFields", "resourceVersion", "uid"} {
		delete(metadata, field)
	}
	object = maps.Clone(object)
	object["metadata"] = metadata
	return object
}
