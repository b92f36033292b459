// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rendering

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
)

var (
	// actions are the parts of a template that do something.
	actions = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	// chancy are functions that give another result each time, or in another cluster, when
	// they are called. A word that only looks like one has the chart rendered more often
	// than need be, and nothing else.
	chancy = regexp.MustCompile(`(^|[^.$\w"'/-])(lookup|now|ago|date|dateInZone|date_in_zone|htmlDate|htmlDateInZone|` +
		`rand\w+|shuffle|uuidv4|gen[A-Z]\w+|bcrypt|htpasswd|encryptAES)\b`)
	// remark is a comment.
	remark = regexp.MustCompile(`(?s)^\{\{-?\s*/\*.*\*/\s*-?\}\}$`)
)

// factsOf says what the result of a chart depends on besides the chart and the values.
// Values count too: tpl makes templates of them.
func factsOf(root *chart.Chart, values any) facts {
	known := facts{Capabilities: root.Metadata.KubeVersion != ""}
	look := func(text string) {
		for _, action := range actions.FindAllString(text, -1) {
			if remark.MatchString(action) {
				continue
			}
			known.Own = known.Own || chancy.MatchString(action)
			known.Capabilities = known.Capabilities || strings.Contains(action, "Capabilities")
		}
	}
	for _, c := range charts(root) {
		for _, template := range c.Templates {
			look(string(template.Data))
		}
		for _, file := range c.Files { // tpl (.Files.Get "x") .
			if strings.Contains(string(file.Data), "{{") {
				look(string(file.Data))
			}
		}
	}
	each(values, func(text string) {
		if strings.Contains(text, "{{") {
			look(text)
		}
	})
	return known
}

// each visits all strings in values.
func each(value any, visit func(string)) {
	switch value := value.(type) {
	case string:
		visit(value)
	case []any:
		for _, element := range value {
			each(element, visit)
		}
	case map[string]any:
		for _, element := range value {
			each(element, visit)
		}
	case chartutil.Values:
		each(map[string]any(value), visit)
	}
}

// keepSchemasLocal has no schema refer to another document: Helm would read it from the
// server's disk, or fetch it with its rights on the network. What such a reference would
// have checked is not checked.
func keepSchemasLocal(root *chart.Chart) {
	for _, c := range charts(root) {
		if len(c.Schema) == 0 {
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(c.Schema))
		decoder.UseNumber()
		var schema any
		if decoder.Decode(&schema) != nil || !dropForeign(schema) {
			continue // one that is broken is for Helm to refuse
		}
		if encoded, err := json.Marshal(schema); err == nil {
			c.Schema = encoded
		}
	}
}

// dropForeign takes the references to other documents out of a schema, and reports whether
// there were any.
func dropForeign(schema any) (dropped bool) {
	switch node := schema.(type) {
	case []any:
		for _, element := range node {
			dropped = dropForeign(element) || dropped
		}
	case map[string]any:
		// An address of its own would make local references foreign ones.
		for _, field := range []string{"$id", "id"} {
			if _, isText := node[field].(string); isText {
				delete(node, field)
				dropped = true
			}
		}
		for _, field := range []string{"$ref", "$dynamicRef", "$recursiveRef"} {
			if to, isText := node[field].(string); isText && !strings.HasPrefix(to, "#") {
				delete(node, field)
				dropped = true
			}
		}
		if to, isText := node["$schema"].(string); isText && !isMetaschema(to) {
			delete(node, "$schema")
			dropped = true
		}
		for _, element := range node {
			dropped = dropForeign(element) || dropped
		}
	}
	return dropped
}

// isMetaschema reports whether a schema's language is one that the library has with it.
func isMetaschema(url string) bool {
	_, rest, _ := strings.Cut(url, "://")
	return strings.HasPrefix(rest, "json-schema.org/draft")
}
