// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Manager is a field manager, as an API server tells them apart.
type Manager struct {
	Name      string
	Operation metav1.ManagedFieldsOperationType
}

func (m Manager) owns(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == m.Name && entry.Operation == m.Operation && entry.Subresource == "" && entry.FieldsV1 != nil
}

// Fields is a hash of which fields of an object a manager has, 32 characters long,
// and empty if it has none. Whoever gives one of them another value, or removes it,
// takes it away from the manager: while the hash is the same, everything is as the
// manager has written it, defaults and conversions of the server included. It costs
// no request, and metadata is enough for it.
func Fields(object metav1.Object, manager Manager) string {
	sum, found := sha256.New(), false
	for _, entry := range object.GetManagedFields() {
		if !manager.owns(entry) {
			continue
		}
		// Servers differ in the order of keys, the encoder sorts them.
		var fields any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			continue
		}
		sorted, err := json.Marshal(fields)
		if err != nil {
			continue
		}
		found = true
		sum.Write(sorted)
	}
	if !found {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// LastOther is the name of the field manager that has written an object last, the
// given one and those of subresources like status aside. It is empty if there is none.
func LastOther(object metav1.Object, manager Manager) string {
	var last *metav1.ManagedFieldsEntry
	entries := object.GetManagedFields()
	for i := range entries {
		entry := &entries[i]
		if entry.Manager == manager.Name || entry.Subresource == "status" {
			continue
		}
		if last == nil || entry.Time != nil && (last.Time == nil || last.Time.Before(entry.Time)) {
			last = entry
		}
	}
	if last == nil {
		return ""
	}
	return last.Manager
}

// HandOver returns the managedFields of an object after a manager has handed the
// fields that JSON pointers lead to, and what is below them, over to another manager,
// and false if it has none of them. A field that is left out of the next apply would be
// removed if nobody else had it.
func HandOver(object *unstructured.Unstructured, from, to Manager, pointers []string) ([]metav1.ManagedFieldsEntry, bool, error) {
	var out []metav1.ManagedFieldsEntry
	var moved *metav1.ManagedFieldsEntry
	given := fieldpath.NewSet()
	for _, entry := range object.GetManagedFields() {
		switch {
		case from.owns(entry):
			all := &fieldpath.Set{}
			if err := all.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
				return nil, false, fmt.Errorf("reading the fields of manager %s: %w", from.Name, err)
			}
			handed := under(all, object.Object, pointers)
			if handed.Empty() {
				return nil, false, nil
			}
			given = given.Union(handed)
			kept, err := withFields(entry, all.Difference(handed))
			if err != nil {
				return nil, false, err
			}
			out = append(out, kept)
			moved = entry.DeepCopy()
		case to.owns(entry):
			had := &fieldpath.Set{}
			if err := had.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
				return nil, false, fmt.Errorf("reading the fields of manager %s: %w", to.Name, err)
			}
			given = given.Union(had)
		default:
			out = append(out, entry)
		}
	}
	if moved == nil {
		return nil, false, nil
	}
	moved.Manager, moved.Operation = to.Name, to.Operation
	entry, err := withFields(*moved, given)
	return append(out, entry), true, err
}

func withFields(entry metav1.ManagedFieldsEntry, fields *fieldpath.Set) (metav1.ManagedFieldsEntry, error) {
	encoded, err := fields.ToJSON()
	if err != nil {
		return entry, fmt.Errorf("writing the fields of manager %s: %w", entry.Manager, err)
	}
	entry.FieldsV1 = &metav1.FieldsV1{}
	entry.FieldsV1.SetRawBytes(encoded)
	return entry, nil
}

// under returns those fields that pointers lead to, and what is below them.
func under(fields *fieldpath.Set, object map[string]any, pointers []string) *fieldpath.Set {
	found := fieldpath.NewSet()
	split := make([][]string, 0, len(pointers))
	for _, pointer := range pointers {
		split = append(split, Tokens(pointer))
	}
	fields.Iterate(func(path fieldpath.Path) {
		if slices.ContainsFunc(split, func(tokens []string) bool { return leadsTo(tokens, path, object) }) {
			found.Insert(path.Copy())
		}
	})
	return found
}

// Tokens are the parts of a JSON pointer (RFC 6901).
func Tokens(pointer string) []string {
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, token := range tokens {
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens
}

// leadsTo reports whether a path is a pointer's, or below it. Elements of lists, which
// paths know by their keys, are found in the object.
func leadsTo(tokens []string, path fieldpath.Path, within any) bool {
	if len(path) < len(tokens) {
		return false
	}
	for i, token := range tokens {
		element := path[i]
		if element.FieldName != nil {
			if *element.FieldName != token {
				return false
			}
			fields, _ := within.(map[string]any)
			within = fields[token]
			continue
		}
		list, _ := within.([]any)
		index, err := strconv.Atoi(token)
		if err != nil || index < 0 || index >= len(list) || !isElement(element, list[index], index) {
			return false
		}
		within = list[index]
	}
	return true
}

// isElement reports whether a path's element is this one of a list.
func isElement(element fieldpath.PathElement, item any, index int) bool {
	switch {
	case element.Index != nil:
		return *element.Index == index
	case element.Value != nil:
		return value.Equals(*element.Value, value.NewValueInterface(item))
	case element.Key != nil:
		fields, _ := item.(map[string]any)
		for _, key := range *element.Key {
			// A key that is left out has the schema's default, which is not known here.
			if has, ok := fields[key.Name]; ok && !value.Equals(key.Value, value.NewValueInterface(has)) {
				return false
			}
		}
		return true
	}
	return false
}
