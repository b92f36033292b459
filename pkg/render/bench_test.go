// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkObjects reads one source of many objects again and again.
func BenchmarkObjects(b *testing.B) {
	const count = 1000
	for suffix, parsed := range map[string]*Parsed{"": nil, "/known": NewParsed(1 << 20)} {
		for name, format := range map[string]string{
			"block": "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: read-%d\n  namespace: default\ndata:\n  value: \"1\"\n  other: text\n",
			"flow":  "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: read-%d, namespace: default}, data: {value: \"1\", other: text}}\n",
		} {
			b.Run(name+suffix, func(b *testing.B) {
				var text strings.Builder
				for i := range count {
					fmt.Fprintf(&text, format, i)
				}
				source := Source{Kind: "ConfigMap", Namespace: "n", Name: "n", Data: map[string][]byte{"a.yaml": []byte(text.String())}}
				r := &Renderer{Parsed: parsed}
				for b.Loop() {
					if _, err := r.Objects(b.Context(), source, nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/object")
			})
		}
	}
}
