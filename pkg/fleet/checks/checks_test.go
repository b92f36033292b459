// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// configMaps are the ConfigMaps of a list: a, which is well, b, which is not, and c, which
// is being deleted.
const configMaps = `{"kind":"ConfigMapList","apiVersion":"v1","items":[
	{"kind":"ConfigMap","apiVersion":"v1","metadata":{"namespace":"n","name":"a","managedFields":[{"manager":"x"}],
		"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":{"state":"well"}},
	{"kind":"ConfigMap","apiVersion":"v1","metadata":{"namespace":"n","name":"b"},"data":{"state":"ill"}},
	{"kind":"ConfigMap","apiVersion":"v1","metadata":{"namespace":"n","name":"c","deletionTimestamp":"2026-01-01T00:00:00Z"}}]}`

// tellsNames is a condition that fails and names what it was given.
const tellsNames = `function evaluate()
  local names = {}
  for _, resource in ipairs(resources) do table.insert(names, resource.metadata.name) end
  return {pass = false, message = table.concat(names, " ")}
end`

func readiness(check libv1beta1.ClusterCheck) *libv1beta1.SveltosClusterSpec {
	check.Name = "it"
	return &libv1beta1.SveltosClusterSpec{ReadinessChecks: []libv1beta1.ClusterCheck{check}}
}

// selects is a readiness check on ConfigMaps.
func selects(condition string, change ...func(*libv1beta1.ResourceSelector)) *libv1beta1.SveltosClusterSpec {
	selector := libv1beta1.ResourceSelector{Version: "v1", Kind: "ConfigMap"}
	for _, c := range change {
		c(&selector)
	}
	return readiness(libv1beta1.ClusterCheck{Condition: condition, ResourceSelectors: []libv1beta1.ResourceSelector{selector}})
}

func TestWhatChecksSee(t *testing.T) {
	scripts := startScripts(t)
	api, client := startCluster(t)
	api.set("/api/v1/configmaps", configMaps)
	api.set("/api/v1/namespaces/n/configmaps", configMaps)
	api.set("/api/v1/secrets", `{"kind":"SecretList","apiVersion":"v1","items":[
		{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"data":{"password":"Y2FuYXJ5"},"stringData":{"p":"canary"}}]}`)
	with := func(change func(*libv1beta1.ResourceSelector)) func(*libv1beta1.ResourceSelector) { return change }
	for name, tc := range map[string]struct {
		spec *libv1beta1.SveltosClusterSpec
		want string
	}{
		"all but what is being deleted": {selects(tellsNames), "a b"},
		"that too":                      {selects(tellsNames, with(func(s *libv1beta1.ResourceSelector) { s.IncludeDeletingResources = true })), "a b c"},
		"by a rule": {selects(tellsNames, with(func(s *libv1beta1.ResourceSelector) {
			s.EvaluateCEL = []libv1beta1.CELRule{{Name: "x", Rule: "resource.nope"}, {Name: "r", Rule: `resource.data.state == "well"`}}
		})), "a"},
		"by a script": {selects(tellsNames, with(func(s *libv1beta1.ResourceSelector) {
			s.Evaluate = `function evaluate() return {matching = obj.data.state == "ill"} end`
		})), "b"},
		"by either": {selects(tellsNames, with(func(s *libv1beta1.ResourceSelector) {
			s.EvaluateCEL = []libv1beta1.CELRule{{Name: "r", Rule: `self.data.state == "well"`}}
			s.Evaluate = `function evaluate() return {matching = obj.data.state == "ill"} end`
		})), "a b"},
		"a kind that is not there":  {selects(tellsNames, with(func(s *libv1beta1.ResourceSelector) { s.Kind = "Nope" })), "it says no more"},
		"a group that is not there": {selects(tellsNames, with(func(s *libv1beta1.ResourceSelector) { s.Group = "nope.io" })), "it says no more"},
		"nodes of a namespace":      {selects(tellsNames, with(func(s *libv1beta1.ResourceSelector) { s.Kind, s.Namespace = "Node", "n" })), "it says no more"},
		"nothing":                   {readiness(libv1beta1.ClusterCheck{Condition: tellsNames}), "it says no more"},
		"no managed fields": {selects(`function evaluate()
			local m = resources[1].metadata
			return {pass = false, message = tostring(m.managedFields) .. " " .. tostring(m.annotations)}
		end`), "nil nil"},
		"no Secret's value": {selects(`function evaluate()
			local s = resources[1]
			return {pass = false, message = "[" .. s.data.password .. s.stringData.p .. "]"}
		end`, with(func(s *libv1beta1.ResourceSelector) { s.Kind = "Secret" })), "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := New(scripts, tc.spec).Run(t.Context(), client, false)
			if want := "readiness check it failed: " + tc.want; verdict.State != fleet.ChecksFailed || verdict.Message != want {
				t.Errorf("got %+v, want %q", verdict, want)
			}
		})
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	scripts := startScripts(t)
	api, client := startCluster(t)
	api.set("/api/v1/namespaces/n/configmaps", configMaps)
	checks := New(scripts, selects(tellsNames, func(s *libv1beta1.ResourceSelector) {
		s.Namespace, s.Name = "n", "x"
		s.LabelFilters = []libv1beta1.LabelFilter{
			{Key: "a", Operation: libv1beta1.LabelOperationEqual, Value: "b"}, {Key: "c", Operation: libv1beta1.LabelOperationDifferent, Value: "d"},
			{Key: "e", Operation: libv1beta1.LabelOperationHas}, {Key: "f", Operation: libv1beta1.LabelOperationDoesNotHave},
		}
		s.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"g": "h"}}
	}))
	for range 3 {
		checks.Run(t.Context(), client, false)
	}
	lists := api.requests("/api/v1/namespaces/n/configmaps?")
	want := "fieldSelector=metadata.name%3Dx&labelSelector=a%3Db%2Cc%21%3Dd%2Ce%2C%21f%2Cg%3Dh&limit=250"
	if len(lists) != 3 || !strings.HasSuffix(lists[0], want) {
		t.Errorf("asked for %q, want %q", lists, want)
	}
	if kinds := api.requests("/api/v1"); len(kinds) != 4 {
		t.Errorf("what a ConfigMap is was asked more than once: %q", kinds)
	}
}

func TestPages(t *testing.T) {
	scripts := startScripts(t)
	api, client := startCluster(t)
	page := func(name, next string) string {
		return fmt.Sprintf(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"continue":%q},"items":[
			{"kind":"ConfigMap","apiVersion":"v1","metadata":{"namespace":"n","name":%q}}]}`, next, name)
	}
	api.set("/api/v1/configmaps#", page("a", "two"))
	api.set("/api/v1/configmaps#two", page("b", ""))
	verdict := New(scripts, selects(tellsNames)).Run(t.Context(), client, false)
	if verdict.Message != "readiness check it failed: a b" {
		t.Errorf("got %+v", verdict)
	}
}

func TestVerdicts(t *testing.T) {
	scripts := startScripts(t)
	for name, tc := range map[string]struct {
		spec  *libv1beta1.SveltosClusterSpec
		harm  func(*apiServer)
		state fleet.CheckState
		says  string
	}{
		"passes":          {spec: selects("function evaluate() return {pass = true, message = 'x'} end"), state: fleet.ChecksPassed},
		"empty condition": {spec: selects(""), state: fleet.ChecksPassed},
		"runtime error": {spec: selects("function evaluate()\n return resources[1].x\nend"), state: fleet.ChecksErred,
			says: "readiness check it has a script that fails: line 2: attempt to index"},
		"wrong value": {spec: selects("function evaluate() return {result = true} end"), state: fleet.ChecksErred,
			says: "readiness check it has a script that fails: evaluate has to return a table with a bool pass, not nil"},
		"syntax error that was stored": {spec: selects("end"), state: fleet.ChecksErred, says: "readiness check it has a script that fails: line 1: "},
		"rule that was stored": {spec: selects("", func(s *libv1beta1.ResourceSelector) {
			s.EvaluateCEL = []libv1beta1.CELRule{{Name: "r", Rule: "1 +"}}
		}), state: fleet.ChecksErred, says: "readiness check it has a script that fails: resourceSelectors[0]: rule r: line 1"},
		"script on an object": {spec: selects("", func(s *libv1beta1.ResourceSelector) { s.Evaluate = "function evaluate() return 1 end" }),
			harm:  func(a *apiServer) { a.set("/api/v1/configmaps", configMaps) },
			state: fleet.ChecksErred, says: "evaluate has to return a table with named fields, not a number"},
		"endless loop": {spec: selects("function evaluate() while true do end end"), state: fleet.ChecksUndecided,
			says: "readiness check it could not be run: script readiness check it: evaluation took too long (limit 1s)"},
		"memory bomb": {spec: selects("function evaluate() local s = 'x' while true do s = s .. s end end"), state: fleet.ChecksUndecided,
			says: "script readiness check it: evaluation "}, // out of memory or, on a slow machine, of time
		"expensive rule": {spec: selects("", func(s *libv1beta1.ResourceSelector) {
			const ten = "[1,2,3,4,5,6,7,8,9,0]"
			s.EvaluateCEL = []libv1beta1.CELRule{{Name: "r", Rule: ten + ".all(a, " + ten + ".all(b, " + ten + ".all(c, " + ten + ".all(d, " +
				ten + ".all(e, " + ten + ".all(f, " + ten + ".all(g, " + ten + ".all(h, true))))))))"}}
		}), harm: func(a *apiServer) { a.set("/api/v1/configmaps", configMaps) },
			state: fleet.ChecksUndecided, says: "ConfigMap n/a: rule r: evaluation cost too much"},
		"forbidden": {spec: selects(tellsNames), harm: func(a *apiServer) { a.fail("/api/v1/configmaps", http.StatusForbidden) },
			state: fleet.ChecksUndecided, says: "readiness check it could not be run: list configmaps: told to"},
		"unavailable": {spec: selects(tellsNames), harm: func(a *apiServer) { a.fail("/api/v1/configmaps", http.StatusServiceUnavailable) },
			state: fleet.ChecksFailed, says: "readiness check it failed: the API server answers 503"},
		"too large": {spec: selects(tellsNames), harm: func(a *apiServer) { a.set("/api/v1/configmaps", strings.Repeat(" ", 4<<20)+configMaps) },
			state: fleet.ChecksUndecided, says: "configmaps have more than 4194304 bytes"},
		"too many": {spec: selects(tellsNames), harm: func(a *apiServer) {
			a.set("/api/v1/configmaps", `{"kind":"ConfigMapList","apiVersion":"v1","items":[{"kind":"ConfigMap","apiVersion":"v1"}`+
				strings.Repeat(`,{"kind":"ConfigMap","apiVersion":"v1"}`, 1000)+"]}")
		}, state: fleet.ChecksUndecided, says: "more than 1000 objects"},
		"not JSON": {spec: selects(tellsNames), harm: func(a *apiServer) { a.set("/api/v1", "<html>") }, state: fleet.ChecksUndecided, says: "could not be run"},
	} {
		t.Run(name, func(t *testing.T) {
			api, client := startCluster(t)
			if tc.harm != nil {
				tc.harm(api)
			}
			verdict := New(scripts, tc.spec).Run(t.Context(), client, false)
			if verdict.State != tc.state || !strings.Contains(verdict.Message, tc.says) || tc.says == "" && verdict.Message != "" {
				t.Errorf("got %+v, want %s %q", verdict, tc.state, tc.says)
			}
		})
	}
}

func TestWhichChecksAreDue(t *testing.T) {
	scripts := startScripts(t)
	_, client := startCluster(t)
	check := func(name, body string) libv1beta1.ClusterCheck {
		return libv1beta1.ClusterCheck{Name: name, Condition: "function evaluate() " + body + " end"}
	}
	passes, fails, errs := check("passes", "return {pass = true}"), check("fails", "return {pass = false, message = 'm'}"), check("errs", "error('e', 0)")
	for name, tc := range map[string]struct {
		readiness, liveness []libv1beta1.ClusterCheck
		ready               bool
		want                fleet.Verdict
	}{
		"not ready":           {[]libv1beta1.ClusterCheck{passes, fails}, nil, false, fleet.Verdict{State: fleet.ChecksFailed, Message: "readiness check fails failed: m"}},
		"ready":               {[]libv1beta1.ClusterCheck{fails}, []libv1beta1.ClusterCheck{passes}, true, fleet.Verdict{State: fleet.ChecksPassed}},
		"ready and ill":       {nil, []libv1beta1.ClusterCheck{passes, fails}, true, fleet.Verdict{State: fleet.ChecksFailed, Message: "liveness check fails failed: m"}},
		"would not stay":      {[]libv1beta1.ClusterCheck{passes}, []libv1beta1.ClusterCheck{fails}, false, fleet.Verdict{State: fleet.ChecksFailed, Message: "liveness check fails failed: m"}},
		"the worst is told":   {[]libv1beta1.ClusterCheck{errs, fails}, nil, false, fleet.Verdict{State: fleet.ChecksFailed, Message: "readiness check fails failed: m"}},
		"readiness is behind": {[]libv1beta1.ClusterCheck{fails}, nil, true, fleet.Verdict{State: fleet.ChecksPassed}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &libv1beta1.SveltosClusterSpec{ReadinessChecks: tc.readiness, LivenessChecks: tc.liveness}
			if got := New(scripts, spec).Run(t.Context(), client, tc.ready); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	if New(scripts, &libv1beta1.SveltosClusterSpec{}) != nil {
		t.Error("a cluster without checks has some")
	}
}

func TestChecksEndWithTheirContext(t *testing.T) {
	scripts := startScripts(t)
	_, client := startCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if verdict := New(scripts, selects(tellsNames)).Run(ctx, client, false); verdict.State != fleet.ChecksUndecided {
		t.Errorf("got %+v", verdict)
	}
}
