// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rendering

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/script"
)

// realistic is a chart with what charts have: sub-charts with conditions, helpers, files,
// notes, a schema.
func realistic(t testing.TB) Request {
	t.Helper()
	q := packed(t, map[string]string{
		"Chart.yaml":               "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: v9\nkubeVersion: '>=1.30.0-0'\ndependencies:\n- {name: cache, version: 0.1.0, condition: cache.enabled}\n- {name: idle, version: 0.1.0, condition: idle.enabled}\n",
		"values.yaml":              "replicas: 2\nmessage: 'of {{ .Release.Name }}'\ncache: {enabled: true, size: 1}\nidle: {enabled: false}\nglobal: {region: eu}\n",
		"values.schema.json":       `{"$schema": "https://json-schema.org/draft-07/schema#", "type": "object", "properties": {"replicas": {"$ref": "#/definitions/count"}}, "definitions": {"count": {"type": "integer", "minimum": 1}}}`,
		"templates/_helpers.tpl":   `{{- define "web.labels" -}}app: {{ .Chart.Name }}-{{ .Chart.AppVersion }}{{- end -}}`,
		"templates/a.yaml":         "labels: { {{ include \"web.labels\" . }} }\nreplicas: {{ .Values.replicas }}\nmessage: {{ tpl .Values.message . }}\nfile: {{ .Files.Get \"config.txt\" | b64enc }}\nrelease: {{ .Release.Namespace }}/{{ .Release.Name }} {{ .Release.Revision }} {{ .Release.IsInstall }} {{ .Release.IsUpgrade }} {{ .Release.Service }}\n",
		"templates/b.yaml":         "version: {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.KubeVersion.Minor }}\ndeployments: {{ .Capabilities.APIVersions.Has \"apps/v1/Deployment\" }}\nroutes: {{ .Capabilities.APIVersions.Has \"route.openshift.io/v1\" }}\n",
		"templates/NOTES.txt":      "Thanks for {{ .Chart.Name }}\n",
		"config.txt":               "hello",
		"charts/cache/Chart.yaml":  "apiVersion: v2\nname: cache\nversion: 0.1.0\n",
		"charts/cache/values.yaml": "size: 0\n", "charts/cache/templates/c.yaml": "size: {{ .Values.size }} {{ .Values.global.region }}\n",
		"charts/idle/Chart.yaml": "apiVersion: v2\nname: idle\nversion: 0.1.0\n", "charts/idle/templates/o.yaml": "never: there\n",
	})
	q.Values = map[string]any{"replicas": float64(3), "global": map[string]any{"region": "us"}}
	return q
}

func TestRender(t *testing.T) {
	renderer := New(runWorkers(t, script.Options{WallLimit: time.Minute, MemoryLimit: 512 << 20}))
	q := realistic(t)
	got, err := renderer.Render(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"web/templates/a.yaml":              "labels: { app: web-v9 }\nreplicas: 3\nmessage: of site\nfile: aGVsbG8=\nrelease: shop/site 1 true false Helm\n",
		"web/templates/b.yaml":              "version: v1.34.1 34\ndeployments: true\nroutes: false\n",
		"web/templates/NOTES.txt":           "Thanks for web\n",
		"web/charts/cache/templates/c.yaml": "size: 1 us\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"replicas": float64(3), "global": map[string]any{"region": "us"}}, q.Values); diff != "" {
		t.Errorf("the values were written to:\n%s", diff)
	}
	q.Release = Release{Name: "site", Namespace: "shop", Revision: 4, Upgrade: true}
	if got, err = renderer.Render(t.Context(), q); err != nil || !strings.Contains(got[onePath], "site 4 false true") {
		t.Errorf("an upgrade renders %q, %v", got[onePath], err)
	}
}

func TestChartsThatCannotBeRendered(t *testing.T) {
	for name, tt := range map[string]struct {
		request func(*Request)
		files   map[string]string
		want    string
	}{
		"no archive":       {request: func(q *Request) { q.Archive, q.Digest = []byte("nonsense"), "n" }, want: "not a chart archive"},
		"no template":      {files: map[string]string{"templates/a.yaml": "a: {{ .Values.a"}, want: "parse error at (web/templates/a.yaml:1)"},
		"no such function": {files: map[string]string{"templates/a.yaml": "{{ env \"HOME\" }}"}, want: `function "env" not defined`},
		"a failure":        {files: map[string]string{"templates/a.yaml": "\n{{ fail \"give a name\" }}"}, want: "execution error at (web/templates/a.yaml:2:3): give a name"},
		"a nil":            {files: map[string]string{"templates/a.yaml": "{{ .Values.a.b.c }}"}, want: "nil pointer evaluating interface {}.b"},
		"required":         {files: map[string]string{"templates/a.yaml": "{{ required \"replicas!\" .Values.replicas }}"}, want: "replicas!"},
		"another version":  {files: map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '<1.20.0'\n"}, want: "chart requires kubeVersion: <1.20.0"},
		"recursion":        {files: map[string]string{"templates/a.yaml": `{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}`}, want: "nested reference name: x"},
		"itself":           {files: map[string]string{"templates/a.yaml": `{{ define "x" }}{{ template "x" (list . .) }}{{ end }}{{ template "x" 1 }}`}, want: "exceeded maximum template depth"},
		"the schema": {
			request: func(q *Request) { q.Values = map[string]any{"replicas": "many"} },
			files:   map[string]string{"values.schema.json": `{"properties": {"replicas": {"type": "integer"}}}`, "templates/a.yaml": "a: b"},
			want:    "don't meet the specifications of the schema",
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := packed(t, tt.files)
			if tt.request != nil {
				tt.request(&q)
			}
			got, err := New(&here{}).Render(t.Context(), q)
			var refused *Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) || got != nil {
				t.Errorf("rendered %q, %v, want %q", got, err, tt.want)
			}
			q.SkipSchema = true
			if _, err := New(&here{}).Render(t.Context(), q); (err == nil) != (name == "the schema") {
				t.Errorf("without a schema: %v", err)
			}
		})
	}
}

// A schema is checked by itself: what it refers to elsewhere is neither read nor fetched.
func TestSchemasReferToNothingElse(t *testing.T) {
	var reached atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Store(true)
		fmt.Fprint(w, `{"type": "string"}`)
	}))
	defer server.Close()
	for _, reference := range []string{server.URL + "/a", "file:///etc/passwd", "other.json", "urn:x:y", "//" + strings.TrimPrefix(server.URL, "http://") + "/b"} {
		schema := fmt.Sprintf(`{"$id": "%s/schema", "properties": {"a": {"$ref": %q}, "b": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "integer"}}}`, server.URL, reference)
		q := packed(t, map[string]string{"values.schema.json": schema, "templates/a.yaml": "a: b"})
		q.Values = map[string]any{"a": float64(1), "b": float64(1)}
		if _, err := New(&here{}).Render(t.Context(), q); err != nil {
			t.Errorf("%s: %v", reference, err)
		}
		q.Values = map[string]any{"b": "text"}
		if _, err := New(&here{}).Render(t.Context(), q); err == nil || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s: what the schema says itself is not checked: %v", reference, err)
		}
	}
	if reached.Load() {
		t.Error("it was fetched")
	}
}

// cluster is what charts look things up in.
type cluster struct {
	mu      sync.Mutex
	objects map[Query]map[string]any
	asked   []Query
}

func (c *cluster) lookup(_ context.Context, q Query) (map[string]any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, q)
	if q.Kind == "Forbidden" {
		return nil, errors.New("no right to read it")
	}
	return c.objects[q], nil
}

func TestLookup(t *testing.T) {
	const v1 = "v1"
	world := func() *cluster {
		return &cluster{objects: map[Query]map[string]any{
			{v1, "Secret", "shop", "first"}:     {"data": map[string]any{"next": "second"}},
			{v1, "Secret", "shop", "second"}:    {"data": map[string]any{"next": "end"}},
			{v1, "Namespace", "", "shop"}:       {"metadata": map[string]any{"name": "shop"}},
			{v1, "Pod", "shop", ""}:             {"kind": "PodList", "apiVersion": "v1", "items": []any{map[string]any{"kind": "Pod", "apiVersion": "v1", "metadata": map[string]any{"name": "p"}}}},
			{"apps/v1", "Deployment", "x", "y"}: nil,
		}}
	}
	for name, tt := range map[string]struct {
		template string
		want     string
		fails    string
		asked    int
	}{
		"an object":                {`{{ (lookup "v1" "Namespace" "" "shop").metadata.name }}`, "shop", "", 1},
		"nothing":                  {`{{ if not (lookup "apps/v1" "Deployment" "x" "y") }}none{{ end }}`, "none", "", 1},
		"the same twice":           {`{{ lookup "v1" "Secret" "a" "b" }}{{ lookup "v1" "Secret" "a" "b" }}`, "map[]map[]", "", 1},
		"a list":                   {`{{ range (lookup "v1" "Pod" "shop" "").items }}{{ .metadata.name }}{{ end }}`, "p", "", 1},
		"one depends on the other": {`{{ $n := "first" }}{{ range 3 }}{{ $s := lookup "v1" "Secret" "shop" $n }}{{ if $s }}{{ $n = $s.data.next }}{{ end }}{{ end }}{{ $n }}`, "end", "", 3},
		"what it is not given":     {`{{ $s := lookup "v1" "Secret" "shop" "first" }}{{ if not $s }}{{ lookup "v1" "Forbidden" "shop" "x" }}{{ end }}{{ $s.data.next }}`, "second", "", 2},
		"what it may not":          {`{{ lookup "v1" "Forbidden" "shop" "x" }}`, "", "no right to read it", 1},
		"too much":                 {`{{ range $i := until 300 }}{{ lookup "v1" "Secret" "shop" (print $i) }}{{ end }}`, "", "looks up more than 256 times", 0},
	} {
		t.Run(name, func(t *testing.T) {
			q, c := one(t, tt.template), world()
			q.Lookup = c.lookup
			got, err := New(&here{}).Render(t.Context(), q)
			if got[onePath] != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("rendered %q, %v", got[onePath], err)
			}
			if len(c.asked) != tt.asked {
				t.Errorf("looked up %v", c.asked)
			}
		})
	}
	if got, err := New(&here{}).Render(t.Context(), one(t, `{{ lookup "v1" "Secret" "a" "b" }}`)); err != nil || got[onePath] != "map[]" {
		t.Errorf("without a cluster: %q, %v", got, err)
	}
	endless := one(t, `{{ $n := "x" }}{{ range 100 }}{{ $s := lookup "v1" "Secret" "shop" $n }}{{ if $s }}{{ $n = $s.data.next }}{{ end }}{{ end }}`)
	endless.Lookup = func(_ context.Context, q Query) (map[string]any, error) {
		return map[string]any{"data": map[string]any{"next": q.Name + "x"}}, nil
	}
	if _, err := New(&here{}).Render(t.Context(), endless); err == nil || !strings.Contains(err.Error(), "something else in each of 32 attempts") {
		t.Errorf("endless: %v", err)
	}
	endless.Lookup = func(context.Context, Query) (map[string]any, error) {
		return map[string]any{"data": strings.Repeat("x", maxFound)}, nil
	}
	if _, err := New(&here{}).Render(t.Context(), endless); err == nil || !strings.Contains(err.Error(), "more than 8388608 bytes") {
		t.Errorf("too large: %v", err)
	}
}

// A chart is rendered once for all clusters that its result is the same for, and for each
// by itself if it looks something up or asks chance.
func TestWhatIsRenderedOnce(t *testing.T) {
	const clusters = 6
	for name, tt := range map[string]struct {
		files map[string]string
		// versions is how many there are of the clusters.
		versions int
		want     int64
	}{
		"the same everywhere":      {map[string]string{"templates/a.yaml": "a: {{ .Release.Name }}"}, 10, 1},
		"clusters of one version":  {map[string]string{"templates/a.yaml": "{{ .Capabilities.KubeVersion }}"}, 1, 1},
		"clusters of two versions": {map[string]string{"templates/a.yaml": "{{ .Capabilities.KubeVersion }}"}, 2, 2},
		"in a helper":              {map[string]string{"templates/_x.tpl": `{{ define "x" }}{{ .Capabilities.KubeVersion }}{{ end }}`, "templates/a.yaml": `{{ include "x" . }}`}, 2, 2},
		"in a value":               {map[string]string{"values.yaml": "a: '{{ .Capabilities.KubeVersion }}'", "templates/a.yaml": "{{ tpl .Values.a . }}"}, 2, 2},
		"in a file":                {map[string]string{"x.txt": "{{ .Capabilities.KubeVersion }}", "templates/a.yaml": `{{ tpl (.Files.Get "x.txt") . }}`}, 2, 2},
		"of a version":             {map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>1.20.0'\n", "templates/a.yaml": "a: b"}, 2, 2},
		"chance":                   {map[string]string{"templates/a.yaml": "{{ randAlphaNum 20 }}"}, 1, clusters},
		"a certificate":            {map[string]string{"templates/a.yaml": `{{ $ca := genCA "x" 1 }}{{ sha1sum $ca.Cert }}`}, 1, clusters},
		"the clock":                {map[string]string{"templates/a.yaml": `{{ now | unixEpoch }}`}, 1, clusters},
		"only words":               {map[string]string{"templates/a.yaml": "{{/* now: a lookup of Capabilities */}}# now\na: {{ .Values.date | default \"now\" }}"}, 10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			workers := &here{}
			renderer := New(workers)
			results := map[string]bool{}
			for i := range clusters {
				q := packed(t, tt.files)
				q.Capabilities.Minor = fmt.Sprint(i % tt.versions)
				got, err := renderer.Render(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				results[got[onePath]] = true
				got[onePath] = "changed by its owner"
			}
			if used := workers.used.Load(); used != tt.want {
				t.Errorf("rendered %d times, want %d", used, tt.want)
			}
			if name == "chance" && len(results) != clusters {
				t.Errorf("%d different results", len(results))
			}
			if results["changed by its owner"] {
				t.Error("one release has another one's files")
			}
		})
	}
}

// Also at the same time, when nothing is known of the chart yet.
func TestRenderedAtTheSameTime(t *testing.T) {
	pool := runWorkers(t, script.Options{WallLimit: time.Minute, MemoryLimit: 512 << 20})
	for template, alike := range map[string]bool{"a: {{ .Release.Name }}": true, "{{ randAlphaNum 30 }}": false} {
		renderer := New(pool)
		q := one(t, template)
		var mu sync.Mutex
		results := map[string]bool{}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				got, err := renderer.Render(t.Context(), q)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				results[got[onePath]] = true
			})
		}
		all.Wait()
		if want := map[bool]int{true: 1, false: 20}[alike]; len(results) != want {
			t.Errorf("%s: %d different results, want %d", template, len(results), want)
		}
	}
}

// Clusters that serve different kinds ask at the same time, before anybody knows whether
// that matters.
func TestOneFindsOutForAll(t *testing.T) {
	workers := &here{}
	renderer := New(workers)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			q := one(t, "a: {{ .Release.Name }}")
			q.Capabilities.Minor = fmt.Sprint(i)
			if got, err := renderer.Render(t.Context(), q); err != nil || got[onePath] != "a: site" {
				t.Errorf("rendered %q, %v", got[onePath], err)
			}
		})
	}
	all.Wait()
	if used := workers.used.Load(); used != 1 {
		t.Errorf("rendered %d times, want once", used)
	}
}

// A cluster that does not answer what a chart looks up holds up no other one.
func TestNobodyWaitsForAnothersLookup(t *testing.T) {
	renderer := New(&here{})
	asked, held := make(chan struct{}), make(chan struct{})
	slow := one(t, `{{ (lookup "v1" "ConfigMap" "n" "a").data.value }}`)
	slow.Lookup = func(ctx context.Context, _ Query) (map[string]any, error) {
		close(asked)
		<-held
		return map[string]any{"data": map[string]any{"value": "late"}}, nil
	}
	quick := slow
	quick.Lookup = func(context.Context, Query) (map[string]any, error) {
		return map[string]any{"data": map[string]any{"value": "soon"}}, nil
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		if got, err := renderer.Render(t.Context(), slow); err != nil || got[onePath] != "late" {
			t.Errorf("the slow cluster has %q, %v", got[onePath], err)
		}
	})
	<-asked
	if got, err := renderer.Render(t.Context(), quick); err != nil || got[onePath] != "soon" {
		t.Errorf("the quick cluster has %q, %v", got[onePath], err)
	}
	close(held)
	ended.Wait()
}

func memory() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys)
}

// Charts that want more than anybody may have end at a limit, are not tried again for each
// cluster, and disturb no other.
func TestBombs(t *testing.T) {
	pool := runWorkers(t, script.Options{WallLimit: 2 * time.Second, MemoryLimit: 512 << 20})
	renderer := New(pool)
	if _, err := renderer.Render(t.Context(), one(t, "a: first")); err != nil {
		t.Fatal(err)
	}
	for name, template := range map[string]string{
		"until":                 `{{ range $i := until 2000000000 }}{{ end }}`,
		"range over a number":   `{{ range 2000000000000 }}{{ end }}`,
		"doubling a string":     `{{ $s := "xx" }}{{ range 100 }}{{ $s = print $s $s }}{{ end }}`,
		"repeat":                `{{ repeat 2000000000 "x" }}`,
		"branching inclusion":   `{{ define "x" }}{{ if lt . 60 }}{{ include "x" (add1 .) }}{{ include "x" (add1 .) }}{{ end }}{{ end }}{{ include "x" 0 }}`,
		"templates of text":     `{{ tpl (repeat 200 "{{ range 100000000 }}{{ end }}") . }}`,
		"output":                `{{ range 2000000000 }}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{ end }}`,
		"more than may be sent": `{{ repeat 40000000 "x" }}`,
	} {
		t.Run(name, func(t *testing.T) {
			before := memory()
			exploded := make(chan error)
			q := one(t, template)
			go func() {
				_, err := renderer.Render(t.Context(), q)
				exploded <- err
			}()
			neighbour := one(t, "a: {{ .Values.name }}")
			neighbour.Values = map[string]any{"name": name}
			if got, err := renderer.Render(t.Context(), neighbour); err != nil || got[onePath] != "a: "+name {
				t.Errorf("the neighbour: %q, %v", got, err)
			}
			err := <-exploded
			if !errors.Is(err, script.ErrTimeout) && !errors.Is(err, script.ErrMemory) && !errors.Is(err, script.ErrOutput) {
				t.Fatalf("the bomb: %v", err)
			}
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the server grew by %d MiB", grown>>20)
			}
			began := time.Now()
			if _, again := renderer.Render(t.Context(), q); again == nil || time.Since(began) > time.Second {
				t.Errorf("another cluster waited %s: %v", time.Since(began), again)
			}
		})
	}
}
