// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// scrape returns what a Prometheus server would be given.
func scrape(t *testing.T, gatherers ...prometheus.Gatherer) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	Handler(gatherers...).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	return recorder.Body.String()
}

func counter(t *testing.T, registry *prometheus.Registry, name, label, value string, count float64) {
	t.Helper()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "Help of " + name, ConstLabels: prometheus.Labels{label: value}})
	registry.MustRegister(c)
	c.Add(count)
}

func TestMetricsOfAllRegistriesAreServed(t *testing.T) {
	a, b := prometheus.NewRegistry(), prometheus.NewRegistry()
	counter(t, a, "requests_total", "verb", "get", 1)
	counter(t, b, "requests_total", "verb", "list", 2)
	counter(t, b, "reconciles_total", "controller", "set", 3)
	body := scrape(t, a, b)
	for _, want := range []string{
		`requests_total{verb="get"} 1`, `requests_total{verb="list"} 2`, `reconciles_total{controller="set"} 3`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing from\n%s", want, body)
		}
	}
	if n := strings.Count(body, "# TYPE requests_total"); n != 1 {
		t.Errorf("requests_total is introduced %d times", n)
	}
}

func TestTheFirstRegistryCountsForASeriesThatTwoHave(t *testing.T) {
	a, b := prometheus.NewRegistry(), prometheus.NewRegistry()
	counter(t, a, "requests_total", "verb", "get", 1)
	counter(t, b, "requests_total", "verb", "get", 99)
	for _, r := range []*prometheus.Registry{a, b} {
		r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	body := scrape(t, a, b)
	if !strings.Contains(body, `requests_total{verb="get"} 1`) || strings.Contains(body, `{verb="get"} 99`) {
		t.Errorf("another registry's value is served:\n%s", body)
	}
	if n := strings.Count(body, "\ngo_goroutines "); n != 1 {
		t.Errorf("go_goroutines is served %d times", n)
	}
}

func TestFamiliesOfDifferentTypesAreNotMixed(t *testing.T) {
	a, b := prometheus.NewRegistry(), prometheus.NewRegistry()
	counter(t, a, "things", "of", "a", 1)
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "things", Help: "Help of things", ConstLabels: prometheus.Labels{"of": "b"}})
	b.MustRegister(gauge)
	body := scrape(t, a, b)
	if !strings.Contains(body, `things{of="a"} 1`) || strings.Contains(body, `of="b"`) {
		t.Errorf("a gauge is served as a counter, or nothing is:\n%s", body)
	}
}

type failing struct{ prometheus.Gatherer }

func (f failing) Gather() ([]*dto.MetricFamily, error) {
	families, _ := f.Gatherer.Gather()
	return families, errors.New("one collector failed")
}

func TestAFailingRegistryHidesNothing(t *testing.T) {
	a, b := prometheus.NewRegistry(), prometheus.NewRegistry()
	counter(t, a, "first_total", "x", "y", 1)
	counter(t, b, "second_total", "x", "y", 2)
	body := scrape(t, failing{a}, b)
	for _, want := range []string{"first_total", "second_total"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing from\n%s", want, body)
		}
	}
}
