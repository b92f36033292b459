// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
)

func TestValidateHealths(t *testing.T) {
	metrics := func(c *lib.ValidateHealth) {
		c.Kind, c.Group, c.Version = "", "", ""
		c.MetricSource = &lib.MetricSource{URL: "https://prometheus.example.com/prom", SecretRef: &lib.SecretReference{Name: "token"}}
		c.MetricQueries = []lib.MetricQuery{{Name: "errors", Query: "sum(rate(errors[1m]))"}}
		c.Script = "function evaluate() return {healthy = metrics.errors < 1} end"
	}
	job := func(c *lib.ValidateHealth) {
		c.Kind, c.Group, c.Version = "", "", ""
		c.JobCheck = &lib.JobCheck{JobRef: lib.JobReference{Kind: "ConfigMap", Namespace: "civo", Name: "job"}}
	}
	tests := map[string]struct {
		change func(*lib.ValidateHealth)
		want   []string
	}{
		"objects":            {func(*lib.ValidateHealth) {}, nil},
		"metrics":            {metrics, nil},
		"a Job":              {job, nil},
		"no name":            {func(c *lib.ValidateHealth) { c.Name = "" }, []string{"c[0].name: Required value"}},
		"no list":            {func(c *lib.ValidateHealth) { c.FeatureID = "" }, []string{"c[0].featureID: Unsupported value"}},
		"no version":         {func(c *lib.ValidateHealth) { c.Version = "" }, []string{"c[0].version: Required value"}},
		"no kind":            {func(c *lib.ValidateHealth) { c.Kind = "" }, []string{"c[0].kind: Required value"}},
		"nothing":            {func(c *lib.ValidateHealth) { c.Group, c.Version, c.Kind = "", "", "" }, []string{"c[0].kind: Required value: there is nothing to check"}},
		"an unknown filter":  {func(c *lib.ValidateHealth) { c.LabelFilters = []lib.LabelFilter{{Key: "a", Operation: "Like"}} }, []string{"c[0].labelFilters[0].operation: Unsupported value"}},
		"no Lua":             {func(c *lib.ValidateHealth) { c.Script = "function" }, []string{"c[0].script: not a Lua script"}},
		"no CEL":             {func(c *lib.ValidateHealth) { c.EvaluateCEL = []lib.CELRule{{Name: "a", Rule: "1 +"}} }, []string{"c[0].evaluateCEL[0].rule: not a CEL rule"}},
		"CEL about metrics":  {func(c *lib.ValidateHealth) { c.EvaluateCEL = []lib.CELRule{{Name: "a", Rule: "metrics.a < 1.0"}} }, nil},
		"queries to nowhere": {func(c *lib.ValidateHealth) { c.MetricQueries = []lib.MetricQuery{{Name: "a", Query: "b"}} }, []string{"c[0].metricSource: Required value"}},
		"no queries":         {func(c *lib.ValidateHealth) { metrics(c); c.MetricQueries = nil }, []string{"c[0].metricQueries: Required value"}},
		"a query twice":      {func(c *lib.ValidateHealth) { metrics(c); c.MetricQueries = append(c.MetricQueries, c.MetricQueries[0]) }, []string{"c[0].metricQueries[1].name: Duplicate value"}},
		"nobody judges":      {func(c *lib.ValidateHealth) { metrics(c); c.Script = "" }, []string{"c[0].script: Required value"}},
		"a password":         {func(c *lib.ValidateHealth) { metrics(c); c.MetricSource.URL = "https://u:secret@a" }, []string{"c[0].metricSource.url: must not have credentials"}},
		"a file":             {func(c *lib.ValidateHealth) { metrics(c); c.MetricSource.URL = "file:///etc/passwd" }, []string{"c[0].metricSource.url: is not an http"}},
		"a Secret elsewhere": {func(c *lib.ValidateHealth) { metrics(c); c.MetricSource.SecretRef.Namespace = "other" }, []string{"c[0].metricSource.secretRef.namespace: has to be civo"}},
		"a Job elsewhere":    {func(c *lib.ValidateHealth) { job(c); c.JobCheck.JobRef.Namespace = "other" }, []string{"c[0].jobCheck.jobRef.namespace: has to be civo"}},
		"a Job of a Pod":     {func(c *lib.ValidateHealth) { job(c); c.JobCheck.JobRef.Kind = "Pod" }, []string{"c[0].jobCheck.jobRef.kind: Unsupported value"}},
		"no time": {func(c *lib.ValidateHealth) { job(c); c.JobCheck.Timeout = &metav1.Duration{Duration: time.Millisecond} },
			[]string{"c[0].jobCheck.timeout: Invalid value"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			check := lib.ValidateHealth{Name: "up", FeatureID: lib.FeatureResources, Group: "apps", Version: "v1", Kind: "Deployment"}
			tt.change(&check)
			expect(t, ValidateHealths([]lib.ValidateHealth{check}, "civo", field.NewPath("c")), tt.want...)
		})
	}
	twice := lib.ValidateHealth{Name: "up", FeatureID: lib.FeatureResources, Version: "v1", Kind: "Pod"}
	expect(t, ValidateHealths([]lib.ValidateHealth{twice, twice}, "", field.NewPath("c")), "c[1].name: Duplicate value")
	expect(t, ValidateHealths(make([]lib.ValidateHealth, maxHealths+1), "", field.NewPath("c")), "c: Too many")
}
