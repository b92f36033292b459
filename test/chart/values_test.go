// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"
)

// Helm stops before it changes anything, and names the value.
func TestWrongValuesAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ values, want string }{
		"an unknown value":        {"replicas: 3", "additional properties 'replicas' not allowed"},
		"an unknown nested value": {"etcd: {replicaCount: 3}", "at '/etcd': additional properties 'replicaCount' not allowed"},
		"no replicas":             {"replicaCount: 0", "at '/replicaCount': minimum: got 0, want 1"},
		"a text for a number":     {"replicaCount: three", "at '/replicaCount': got string, want integer"},
		"two members":             {"etcd: {replicas: 2}", "at '/etcd/replicas': value must be one of 1, 3, 5"},
		"a quota above etcd's":    {"etcd: {quotaBytes: 10737418240}", "at '/etcd/quotaBytes': maximum"},
		"a size without a unit":   {"etcd: {storage: {size: \"8\"}}", "at '/etcd/storage/size'"},
		"half a mirror":           {"mirrors: [{from: \"https://a\"}]", "at '/mirrors/0': missing property 'to'"},
		"a name for an address":   {"sourceAddresses: {allow: [localhost]}", "at '/sourceAddresses/allow/0'"},
		"half an address":         {"sourceAddresses: {forbid: [10.0.0/8]}", "at '/sourceAddresses/forbid/0'"},
		"a log format":            {"logging: {format: xml}", "at '/logging/format': value must be one of 'text', 'json'"},
		"a tag with a digest":     {"image: {digest: abc}", "at '/image/digest'"},
		"too short a grace":       {"terminationGracePeriodSeconds: 30", "at '/terminationGracePeriodSeconds': minimum"},
		"an argument":             {"extraArgs: [v=4]", "at '/extraArgs/0'"},
		"a namespace":             {"rbac: {readNamespaces: [Fleet]}", "at '/rbac/readNamespaces/0'"},
		"a schedule":              {"backup: {schedule: daily}", "at '/backup/schedule'"},
		"an endpoint":             {"etcd: {endpoints: [\"a:2379\"]}", "at '/etcd/endpoints/0'"},

		"https without certificates": {"etcd: {endpoints: [\"https://a:2379\"]}", "etcd.certificatesSecret has to name a Secret"},
		"certificates without https": {"etcd: {endpoints: [\"http://a:2379\"], certificatesSecret: c}", "is not https"},
		"a key without encryption":   {"encryption: {enabled: false, existingSecret: k}", "encryption.enabled is false"},
		"a node's low port":          {"hostNetwork: true\nsecurePort: 443", "needs privileges"},
		"an argument of the chart's": {"extraArgs: [--etcd-servers=http://x]", "extraArgs must not have --etcd-servers: it follows from etcd.endpoints"},
		"namespaces by argument":     {"extraArgs: [--source-namespaces=a]", "it follows from rbac.readNamespaces"},
		"an embedded etcd":           {"extraArgs: [--data-dir=/data]", "extraArgs must not have --data-dir"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := template(t, test.values)
			if err == nil || stdout != "" {
				t.Fatalf("rendered, error %v", err)
			}
			if !strings.Contains(stderr, test.want) {
				t.Errorf("helm says %q, want %q", stderr, test.want)
			}
			if lines := strings.Count(strings.TrimSpace(stderr), "\n"); lines > 4 {
				t.Errorf("helm says it in %d lines:\n%s", lines, stderr)
			}
		})
	}
}

// The schema and the file of defaults name the same values, so that every value
// that is allowed can be read about.
func TestTheSchemaAndTheDefaultsNameTheSameValues(t *testing.T) {
	chart := filepath.Join(root(t), "artifacts", "chart", "muster")
	var schema node
	data, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if data, err = os.ReadFile(filepath.Join(chart, "values.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(data, &defaults); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global") // Helm's
	schema.compare(t, "", defaults)
}

// node is as much of a JSON schema as names values.
type node struct {
	Properties           map[string]node
	AdditionalProperties *json.RawMessage
}

func (n node) compare(t *testing.T, path string, defaults map[string]any) {
	t.Helper()
	if n.AdditionalProperties == nil || string(*n.AdditionalProperties) != "false" {
		t.Errorf("%s: other values are not refused", path)
	}
	for name := range sets.KeySet(n.Properties).Union(sets.KeySet(defaults)) {
		value, documented := defaults[name]
		property, allowed := n.Properties[name]
		if !documented || !allowed {
			t.Errorf("%s.%s: documented %t, allowed %t", path, name, documented, allowed)
		}
		if nested, ok := value.(map[string]any); ok && property.Properties != nil {
			property.compare(t, path+"."+name, nested)
		}
	}
}
