// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/lib"
)

const passes = "function evaluate() return {pass = true} end"

// aCheck is one that is good in every field.
func aCheck(name string) lib.ClusterCheck {
	return lib.ClusterCheck{
		Name: name, Condition: passes,
		ResourceSelectors: []lib.ResourceSelector{{
			Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "system:frontend",
			LabelFilters: []lib.LabelFilter{
				{Key: "example.com/a", Operation: lib.LabelOperationEqual, Value: "b"},
				{Key: "c", Operation: lib.LabelOperationDoesNotHave},
			},
			Selector:    &metav1.LabelSelector{MatchLabels: map[string]string{"app": "frontend"}},
			Evaluate:    "function evaluate() return {matching = true} end",
			EvaluateCEL: []lib.CELRule{{Name: "ready", Rule: "resource.status.readyReplicas > 0"}},
		}},
	}
}

func TestClusterChecks(t *testing.T) {
	selector := func(change func(*lib.ResourceSelector)) func(*lib.ClusterCheck) {
		return func(c *lib.ClusterCheck) { change(&c.ResourceSelectors[0]) }
	}
	at := "spec.readinessChecks[0]."
	in := at + "resourceSelectors[0]."
	for name, tc := range map[string]struct {
		change func(*lib.ClusterCheck)
		want   []string
	}{
		"good":            {func(*lib.ClusterCheck) {}, nil},
		"no selectors":    {func(c *lib.ClusterCheck) { c.ResourceSelectors = nil }, nil},
		"empty condition": {func(c *lib.ClusterCheck) { c.Condition = "" }, nil},
		"no name":         {func(c *lib.ClusterCheck) { c.Name = "" }, []string{at + "name: Required value"}},
		"syntax": {func(c *lib.ClusterCheck) { c.Condition = "function evaluate()\n local = {}\nend" },
			[]string{at + "condition: not a Lua script: line 2, column 8, near \"=\": syntax error"}},
		"cut off": {func(c *lib.ClusterCheck) { c.Condition = "function evaluate()" },
			[]string{at + "condition: not a Lua script: at its end: syntax error"}},
		"too long": {func(c *lib.ClusterCheck) { c.Condition = strings.Repeat(" ", 64<<10+1) },
			[]string{at + "condition: at most 65536 are allowed"}},
		"no kind":       {selector(func(s *lib.ResourceSelector) { s.Kind = "" }), []string{in + "kind: Required value"}},
		"no version":    {selector(func(s *lib.ResourceSelector) { s.Version = "" }), []string{in + "version: Required value"}},
		"path as kind":  {selector(func(s *lib.ResourceSelector) { s.Version = "../v1" }), []string{in + "version: Invalid value"}},
		"bad group":     {selector(func(s *lib.ResourceSelector) { s.Group = "a/b" }), []string{in + "group: Invalid value"}},
		"bad name":      {selector(func(s *lib.ResourceSelector) { s.Name = "a/b" }), []string{in + "name: Invalid value"}},
		"bad namespace": {selector(func(s *lib.ResourceSelector) { s.Namespace = "A" }), []string{in + "namespace: Invalid value"}},
		"bad operation": {selector(func(s *lib.ResourceSelector) { s.LabelFilters[0].Operation = "Like" }),
			[]string{in + "labelFilters[0].operation: Unsupported value"}},
		"bad label": {selector(func(s *lib.ResourceSelector) { s.LabelFilters[0].Key, s.LabelFilters[0].Value = "a b", "c d" }),
			[]string{in + "labelFilters[0].key: Invalid value", in + "labelFilters[0].value: Invalid value"}},
		"bad selector": {selector(func(s *lib.ResourceSelector) { s.Selector.MatchLabels["a b"] = "c" }), []string{in + "selector.matchLabels"}},
		"bad script":   {selector(func(s *lib.ResourceSelector) { s.Evaluate = "end" }), []string{in + "evaluate: not a Lua script: line 1"}},
		"bad rule": {selector(func(s *lib.ResourceSelector) { s.EvaluateCEL[0].Rule = "resource.a ==" }),
			[]string{in + "evaluateCEL[0].rule: not a CEL rule: line 1"}},
		"rule on something else": {selector(func(s *lib.ResourceSelector) { s.EvaluateCEL[0].Rule = "object.a == 1" }),
			[]string{in + "evaluateCEL[0].rule: undeclared reference to 'object'"}},
		"rule that is no bool": {selector(func(s *lib.ResourceSelector) { s.EvaluateCEL[0].Rule = "1 + 1" }),
			[]string{in + "evaluateCEL[0].rule: it has to be of type bool, not int"}},
		"empty rule": {selector(func(s *lib.ResourceSelector) { s.EvaluateCEL[0] = lib.CELRule{} }),
			[]string{in + "evaluateCEL[0].name: Required value", in + "evaluateCEL[0].rule: Required value"}},
		"many selectors": {func(c *lib.ClusterCheck) { c.ResourceSelectors = make([]lib.ResourceSelector, 33) },
			[]string{at + "resourceSelectors: Too many"}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := validCluster()
			check := aCheck("a")
			tc.change(&check)
			cluster.Spec.ReadinessChecks = []lib.ClusterCheck{check}
			expect(t, ValidateSveltosCluster(cluster), tc.want...)
			expect(t, ValidateSveltosClusterUpdate(cluster, validCluster()), tc.want...)
			expect(t, ValidateSveltosClusterUpdate(cluster, cluster))
		})
	}
}

func TestNamesOfClusterChecks(t *testing.T) {
	cluster := validCluster()
	cluster.Spec.ReadinessChecks = []lib.ClusterCheck{aCheck("a")}
	cluster.Spec.LivenessChecks = []lib.ClusterCheck{aCheck("a"), aCheck("b"), aCheck("a")}
	expect(t, ValidateSveltosCluster(cluster), "spec.livenessChecks[2].name: Duplicate value")
	cluster.Spec.LivenessChecks = nil
	for i := range 33 {
		cluster.Spec.LivenessChecks = append(cluster.Spec.LivenessChecks, aCheck(fmt.Sprint(i)))
	}
	expect(t, ValidateSveltosCluster(cluster), "spec.livenessChecks: Too many")
}
