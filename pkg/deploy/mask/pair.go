// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package mask

// What stands in the place of a value.
const (
	masked = "***"
	before = "*** (before)"
	after  = "*** (after)"
)

// Pair returns two states of an object, either of which may be nil, with the values
// masked that nobody may read, so that a comparison still shows which of them differ:
// those in a Secret's data, or, of an object that is private, all but what names it.
// Neither is written to.
func Pair(old, current map[string]any, private bool) (maskedOld, maskedCurrent map[string]any) {
	fields := secretFields(old, current, private)
	return maskFields(old, current, fields, before), maskFields(current, old, fields, after)
}

// secretFields are the names of fields at the top of an object whose values are masked.
func secretFields(old, current map[string]any, private bool) map[string]bool {
	fields := map[string]bool{}
	for _, object := range []map[string]any{old, current} {
		if object["kind"] == "Secret" {
			fields["data"], fields["stringData"] = true, true
		}
		for name := range object {
			if private && name != "apiVersion" && name != "kind" {
				fields[name] = true
			}
		}
	}
	return fields
}

func maskFields(object, other map[string]any, fields map[string]bool, different string) map[string]any {
	if object == nil {
		return nil
	}
	out := make(map[string]any, len(object))
	for name, value := range object {
		switch {
		case !fields[name]:
			out[name] = value
		case name == "metadata":
			out[name] = maskMetadata(value, other[name], different)
		default:
			out[name] = maskValue(value, other[name], other != nil, different)
		}
	}
	return out
}

// maskMetadata leaves what names an object.
func maskMetadata(value, other any, different string) any {
	fields, ok := value.(map[string]any)
	if !ok {
		return masked
	}
	others, _ := other.(map[string]any)
	out := make(map[string]any, len(fields))
	for name, field := range fields {
		if name == "name" || name == "namespace" {
			out[name] = field
		} else {
			out[name] = maskValue(field, others[name], others != nil, different)
		}
	}
	return out
}

// maskValue masks all strings and numbers in a value. compared says that there is another object, in
// which other stands in the same place.
func maskValue(value, other any, compared bool, different string) any {
	switch value := value.(type) {
	case map[string]any:
		others, _ := other.(map[string]any)
		out := make(map[string]any, len(value))
		for name, field := range value {
			out[name] = maskValue(field, others[name], compared, different)
		}
		return out
	case []any:
		others, _ := other.([]any)
		out := make([]any, len(value))
		for i, item := range value {
			var counterpart any
			if i < len(others) {
				counterpart = others[i]
			}
			out[i] = maskValue(item, counterpart, compared, different)
		}
		return out
	case nil, bool:
		return value
	}
	if compared && other != value {
		return different
	}
	return masked
}
