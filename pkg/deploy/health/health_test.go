// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

const isReady = `function evaluate(o)
  if o.status.readyReplicas >= 1 then return {healthy = true} end
  return {healthy = false, message = "no replica is ready"}
end`

// up is a check of Deployments.
func up(change ...func(*libv1beta1.ValidateHealth)) libv1beta1.ValidateHealth {
	check := libv1beta1.ValidateHealth{Name: "up", FeatureID: libv1beta1.FeatureHelm, Group: "apps", Version: "v1", Kind: "Deployment"}
	for _, c := range change {
		c(&check)
	}
	return check
}

func withScript(text string) func(*libv1beta1.ValidateHealth) {
	return func(c *libv1beta1.ValidateHealth) { c.Script = text }
}

func rules(expressions ...string) func(*libv1beta1.ValidateHealth) {
	return func(c *libv1beta1.ValidateHealth) {
		for _, expression := range expressions {
			c.EvaluateCEL = append(c.EvaluateCEL, libv1beta1.CELRule{Name: "r", Rule: expression})
		}
	}
}

func metrics(c *libv1beta1.ValidateHealth) {
	c.MetricSource = &libv1beta1.MetricSource{URL: "https://metrics.example.com"}
	c.MetricQueries = []libv1beta1.MetricQuery{{Name: "errors", Query: "sum(errors)"}}
}

func alone(c *libv1beta1.ValidateHealth) { c.Group, c.Version, c.Kind = "", "", "" }

func TestRun(t *testing.T) {
	lua := startScripts(t)
	api, client := startCluster(t)
	unknown := func(c *libv1beta1.ValidateHealth) { c.Kind = "Unicorn" }
	for name, tc := range map[string]struct {
		check   libv1beta1.ValidateHealth
		objects string
		removal bool
		want    string // part of the message, empty if it passes
	}{
		"healthy by a script":       {check: up(withScript(isReady)), objects: deployments(1, 2)},
		"not healthy by a script":   {check: up(withScript(isReady)), objects: deployments(1, 0), want: "Deployment n/web1 is not healthy: no replica is ready"},
		"healthy by a rule":         {check: up(rules("resource.nope", "resource.status.readyReplicas > 0")), objects: deployments(1)},
		"not healthy by rules":      {check: up(rules("self.status.readyReplicas > 5")), objects: deployments(1), want: "Deployment n/web0 is not healthy: no rule is true"},
		"healthy by either":         {check: up(rules("self.status.readyReplicas > 5"), withScript(isReady)), objects: deployments(9, 1)},
		"healthy by being there":    {check: up(), objects: deployments(0)},
		"nothing there":             {check: up(withScript(isReady)), objects: deployments(), want: "there is no Deployment"},
		"nothing left":              {check: up(withScript(isReady)), objects: deployments(), removal: true},
		"something left":            {check: up(withScript(`function evaluate() return {healthy=false, message="still there"} end`)), objects: deployments(1), removal: true, want: "still there"},
		"no such kind":              {check: up(unknown), want: "there is no Unicorn"},
		"no such kind left":         {check: up(unknown), removal: true},
		"a broken script":           {check: up(withScript("function evaluate()\n return obj.nope.x end")), objects: deployments(1), want: "its script fails: line 2"},
		"a script of another shape": {check: up(withScript("function evaluate() return {ok=true} end")), objects: deployments(1), want: "bool healthy"},
		"metrics by a script":       {check: up(alone, metrics, withScript("function evaluate() return {healthy = metrics.errors < 1} end"))},
		"metrics by a rule":         {check: up(alone, metrics, rules("metrics.errors < 0.25")), want: "what the metrics say is not healthy"},
		"metrics and objects":       {check: up(metrics, withScript("function evaluate(o) return {healthy = metrics.errors < o.status.readyReplicas} end")), objects: deployments(1)},
	} {
		t.Run(name, func(t *testing.T) {
			api.set("/apis/apps/v1/deployments", tc.objects)
			checks, err := Compile([]libv1beta1.ValidateHealth{tc.check}, tc.removal)
			if err != nil {
				t.Fatal(err)
			}
			failures := checks.Run(t.Context(), Environment{Client: client, Lua: lua, Query: func(_ context.Context, source *libv1beta1.MetricSource, query string) (float64, error) {
				if source.URL != "https://metrics.example.com" || query != "sum(errors)" {
					t.Errorf("%s is asked %s", source.URL, query)
				}
				return 0.5, nil
			}})
			switch {
			case tc.want == "" && len(failures) > 0:
				t.Errorf("it fails: %v", failures)
			case tc.want != "" && (len(failures) != 1 || !strings.Contains(failures[0].Error(), tc.want) || failures[0].Feature != libv1beta1.FeatureHelm):
				t.Errorf("%v, want %q", failures, tc.want)
			}
		})
	}
}

func TestEachListIsCheckedForItself(t *testing.T) {
	api, client := startCluster(t)
	api.set("/apis/apps/v1/deployments", deployments(1))
	named := func(name string, feature libv1beta1.FeatureID, rule string) libv1beta1.ValidateHealth {
		return up(rules(rule), func(c *libv1beta1.ValidateHealth) { c.Name, c.FeatureID = name, feature })
	}
	checks, err := Compile([]libv1beta1.ValidateHealth{
		named("a", libv1beta1.FeatureHelm, "false"), named("b", libv1beta1.FeatureHelm, "false"),
		named("c", libv1beta1.FeatureResources, "true"), named("d", libv1beta1.FeatureKustomize, "false"),
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	failures := checks.Run(t.Context(), Environment{Client: client})
	if len(failures) != 2 || failures[0].Check != "a" || failures[1].Check != "d" {
		t.Errorf("%v, want the first of each list that fails", failures)
	}
	if all := checks.Fail("no"); len(all) != 3 {
		t.Errorf("%v, want one for each list", all)
	}
}

func TestMetricsThatCannotBeRead(t *testing.T) {
	checks, err := Compile([]libv1beta1.ValidateHealth{up(alone, metrics, rules("true"))}, false)
	if err != nil {
		t.Fatal(err)
	}
	failures := checks.Run(t.Context(), Environment{Query: func(context.Context, *libv1beta1.MetricSource, string) (float64, error) {
		return 0, errors.New("no answer")
	}})
	if len(failures) != 1 || failures[0].Message != `metric query "errors": no answer` {
		t.Errorf("%v", failures)
	}
}

func TestParseMetric(t *testing.T) {
	for answer, want := range map[string]any{
		`{"status":"success","data":{"resultType":"scalar","result":[1700000000.1,"1.5"]}}`:                  1.5,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"-2"]}]}}`:      -2.0,
		`{"status":"success","data":{"resultType":"vector","result":[]}}`:                                    "0 elements",
		`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"1"]}]}}`: "2 elements",
		`{"status":"success","data":{"resultType":"matrix","result":[]}}`:                                    "matrix",
		`{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}`:                             "NaN",
		`{"status":"success","data":{"resultType":"scalar","result":[1]}}`:                                   "Prometheus",
		`{"status":"error","errorType":"bad_data","error":"parse error"}`:                                    "parse error",
		`{"status":"error","error":"` + strings.Repeat("x", 600) + `"}`:                                      "xxx",
		`<html>`: "Prometheus",
	} {
		got, err := ParseMetric([]byte(answer))
		if number, ok := want.(float64); ok {
			if err != nil || got != number {
				t.Errorf("%s: %v, %v", answer, got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want.(string)) || len(err.Error()) > 550 {
			t.Errorf("%s: %v, want %s", answer, err, want)
		}
	}
}

func TestMetricURL(t *testing.T) {
	for want, source := range map[string]libv1beta1.MetricSource{
		"https://a.b/api/v1/query?query=sum%28x%29":      {URL: "https://a.b"},
		"https://a.b/prom/api/v1/query?query=sum%28x%29": {URL: "https://a.b/prom/"},
		"https://a.b/select/0?query=sum%28x%29":          {URL: "https://a.b", Path: "/select/0"},
	} {
		if got, err := MetricURL(&source, "sum(x)"); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

// What becomes healthy is seen at once.
func TestWatch(t *testing.T) {
	api, client := startCluster(t)
	checks, err := Compile([]libv1beta1.ValidateHealth{up()}, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		checks.Watch(ctx, func(context.Context) (*fleet.Client, error) { return client, nil }, func() { changed <- struct{}{} })
	}()
	await := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("nobody was told %s", what)
		}
	}
	await("that the watch has begun")
	api.events <- `{"type":"MODIFIED","object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"web0"}}}`
	await("of the change")
	cancel()
	<-ended
}
