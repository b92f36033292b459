// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var ref = ChartRef{RepositoryURL: "https://charts.example/stable/", RepositoryName: "kyverno", ChartName: "kyverno/kyverno", Version: "v3.3.3"}

func newRepositoryManager(t testing.TB, change func(*Options)) (*Manager, *chartServer) {
	t.Helper()
	server := newChartServer(t)
	server.serveIndex(t, "/stable", "kyverno", "3.3.3", "3.0.1")
	options := Options{Mirror: mirrorTo(server)}
	if change != nil {
		change(&options)
	}
	return NewManager(options), server
}

func mustLoad(t testing.TB, m *Manager, ref ChartRef) *Chart {
	t.Helper()
	c, err := m.LoadChart(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chartError(t testing.TB, err error) *ChartError {
	t.Helper()
	var chartErr *ChartError
	if !errors.As(err, &chartErr) {
		t.Fatalf("error %v is no *ChartError", err)
	}
	return chartErr
}

func TestLoadChart(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	got := mustLoad(t, m, ref)
	want := &Chart{
		Ref: ref, Name: "kyverno", Version: "3.3.3", AppVersion: "app-3.3.3", Icon: "https://example.com/icon.png",
		Digest: digestOf(server.content["/stable/kyverno-3.3.3.tgz"]), archive: server.content["/stable/kyverno-3.3.3.tgz"],
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Chart{})); diff != "" {
		t.Errorf("chart (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/stable/index.yaml", "/stable/kyverno-3.3.3.tgz"}, server.take()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestLoadChartNames(t *testing.T) {
	m, _ := newRepositoryManager(t, nil)
	for _, tc := range []ChartRef{
		{RepositoryURL: "https://charts.example/stable", ChartName: "kyverno"},
		{RepositoryURL: "https://charts.example/stable", ChartName: "other/kyverno"},
		{RepositoryURL: "https://charts.example/stable", RepositoryName: "a/b", ChartName: "a/b/kyverno", Version: "~3.0"},
	} {
		if got := mustLoad(t, m, tc); got.Name != "kyverno" {
			t.Errorf("%v: %s", tc, got.Name)
		}
	}
}

func TestLoadChartAsksOnlyForWhatItDoesNotKnow(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	server.etags["/stable/index.yaml"] = `"one"`
	now := time.Now()
	m.repository.now = func() time.Time { return now }
	mustLoad(t, m, ref)
	server.take()

	mustLoad(t, m, ref)
	if got := server.take(); len(got) > 0 {
		t.Errorf("within the index's time: %v", got)
	}
	other := ref
	other.Version = "3.0.1"
	mustLoad(t, m, other)
	if diff := cmp.Diff([]string{"/stable/kyverno-3.0.1.tgz"}, server.take()); diff != "" {
		t.Errorf("another version (-want +got):\n%s", diff)
	}
	now = now.Add(2 * time.Minute)
	mustLoad(t, m, ref)
	if diff := cmp.Diff([]string{"304 /stable/index.yaml"}, server.take()); diff != "" {
		t.Errorf("after the index's time (-want +got):\n%s", diff)
	}
	server.etags["/stable/index.yaml"] = `"two"`
	now = now.Add(2 * time.Minute)
	mustLoad(t, m, ref)
	if diff := cmp.Diff([]string{"/stable/index.yaml"}, server.take()); diff != "" {
		t.Errorf("the same digest in a new index (-want +got):\n%s", diff)
	}
}

func TestLoadChartForgetsTheLeastRecentlyUsed(t *testing.T) {
	var size int64
	{
		_, server := newRepositoryManager(t, nil)
		size = int64(len(server.content["/stable/kyverno-3.3.3.tgz"]))
	}
	m, server := newRepositoryManager(t, func(o *Options) { o.CacheLimit = size + size/2 })
	older := ref
	older.Version = "3.0.1"
	for _, r := range []ChartRef{ref, older, ref} {
		mustLoad(t, m, r)
	}
	want := []string{"/stable/index.yaml", "/stable/kyverno-3.3.3.tgz", "/stable/kyverno-3.0.1.tgz", "/stable/kyverno-3.3.3.tgz"}
	if diff := cmp.Diff(want, server.take()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestLoadChartFromMemoryWhileTheRepositoryIsDown(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	now := time.Now()
	m.repository.now = func() time.Time { return now }
	mustLoad(t, m, ref)
	now = now.Add(time.Hour)
	server.intercept = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	mustLoad(t, m, ref)
	other := ref
	other.Version = "3.0.1"
	if _, err := m.LoadChart(context.Background(), other); chartError(t, err).Reason != Unreachable {
		t.Errorf("what was never loaded: %v", err)
	}
	// That it has gone from the repository is an answer.
	server.intercept = nil
	server.serveIndex(t, "/stable", "kyverno", "3.0.1")
	if _, err := m.LoadChart(context.Background(), ref); chartError(t, err).Reason != NotFound {
		t.Errorf("a version that was withdrawn: %v", err)
	}
}

func TestLoadChartFromMemoryWhileTheRepositoryHasEnough(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	now := time.Now()
	m.repository.now = func() time.Time { return now }
	mustLoad(t, m, ref)
	now = now.Add(time.Hour)
	server.intercept = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	mustLoad(t, m, ref)
}

func TestLoadChartOnceForAllWhoAsk(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	release := make(chan struct{})
	arrived := make(chan struct{}, 1)
	index := server.content["/stable/index.yaml"]
	server.intercept = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stable/index.yaml" {
			arrived <- struct{}{}
			<-release
			_, _ = w.Write(index)
			return
		}
		_, _ = w.Write(server.content[r.URL.Path])
	}
	var callers sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		callers.Go(func() { _, errs[i] = m.LoadChart(context.Background(), ref) })
	}
	<-arrived
	close(release)
	callers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if got := server.take(); len(got) != 2 {
		t.Errorf("requests: %v", got)
	}
}

func TestLoadChartWaitersAreNotFailedByOneThatLeaves(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	content := server.content
	server.intercept = func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			close(arrived)
			select {
			case <-r.Context().Done():
			case <-goOn:
			}
		})
		_, _ = w.Write(content[r.URL.Path])
	}
	ctx, cancel := context.WithCancel(context.Background())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() { _, err := m.LoadChart(ctx, ref); left <- err }()
	<-arrived
	go func() { _, err := m.LoadChart(context.Background(), ref); stayed <- err }()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that left: %v", err)
	}
	close(goOn)
	if err := <-stayed; err != nil {
		t.Errorf("the one that stayed: %v", err)
	}
}

func TestLoadChartErrors(t *testing.T) {
	tests := map[string]struct {
		ref    ChartRef
		serve  func(*chartServer)
		reason Reason
		want   string
	}{
		"no such version":          {ChartRef{Version: "9.9.9"}, nil, NotFound, "9.9.9"},
		"no such chart":            {ChartRef{ChartName: "nginx"}, nil, NotFound, `"nginx"`},
		"no version of a range":    {ChartRef{Version: "^7"}, nil, NotFound, "^7"},
		"no version at all":        {ChartRef{Version: "three"}, nil, Invalid, "neither a version nor a constraint"},
		"no repository there":      {ChartRef{RepositoryURL: "https://charts.example/missing"}, nil, NotFound, "404"},
		"no URL":                   {ChartRef{RepositoryURL: "charts.example"}, nil, Invalid, "not the URL"},
		"a malformed URL":          {ChartRef{RepositoryURL: "https://[::1"}, nil, Invalid, "not the URL"},
		"a scheme of another time": {ChartRef{RepositoryURL: "gitrepository://ns/name/path"}, nil, Invalid, "no http, https or oci URL"},
		"a web page":               {ChartRef{}, func(s *chartServer) { s.set("/stable/index.yaml", []byte("<html><body>secret page</body></html>")) }, Invalid, "not the index of a chart repository"},
		"an index that is no YAML": {ChartRef{}, func(s *chartServer) { s.set("/stable/index.yaml", []byte("a: [")) }, Invalid, "not the index"},
		"an entry without a URL": {ChartRef{}, func(s *chartServer) {
			s.set("/stable/index.yaml", []byte("apiVersion: v1\nentries: {kyverno: [{version: 3.3.3}]}\n"))
		}, Invalid, "no URL"},
		"an archive that is another": {ChartRef{}, func(s *chartServer) {
			s.set("/stable/kyverno-3.3.3.tgz", pack(t, "kyverno", files("kyverno", "3.3.3", "templates/evil.yaml", "x")))
		}, Invalid, "is not what the index says"},
		"an archive that is none": {ChartRef{}, func(s *chartServer) {
			s.set("/stable/index.yaml", []byte("apiVersion: v1\nentries: {kyverno: [{version: 3.3.3, urls: [x.tgz]}]}\n"))
			s.set("/stable/x.tgz", []byte("garbage"))
		}, Invalid, "not a chart archive"},
		"a library": {ChartRef{}, func(s *chartServer) {
			s.serveArchive(t, files("kyverno", "3.3.3", "Chart.yaml", "apiVersion: v2\nname: kyverno\nversion: 3.3.3\ntype: library\n"))
		}, Invalid, "only application charts"},
		"a missing dependency": {ChartRef{}, func(s *chartServer) {
			s.serveArchive(t, files("kyverno", "3.3.3", "Chart.yaml", "apiVersion: v2\nname: kyverno\nversion: 3.3.3\ndependencies: [{name: redis, version: 1.0.0}]\n"))
		}, Invalid, "redis"},
		"a chart without a version": {ChartRef{}, func(s *chartServer) {
			s.serveArchive(t, files("kyverno", "3.3.3", "Chart.yaml", "apiVersion: v2\nname: kyverno\n"))
		}, Invalid, "version"},
		"too large": {ChartRef{}, func(s *chartServer) { s.set("/stable/index.yaml", make([]byte, 1<<20+1)) }, Invalid, "larger than 1048576 bytes"},
		"an error of the server": {ChartRef{}, func(s *chartServer) {
			s.intercept = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
		}, Unreachable, "503"},
		"too slow": {ChartRef{}, func(s *chartServer) {
			s.intercept = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, Unreachable, "deadline exceeded"},
		"redirected for ever": {ChartRef{}, func(s *chartServer) {
			s.intercept = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }
		}, Unreachable, "more than 5 redirects"},
		"redirected with credentials": {ChartRef{}, func(s *chartServer) {
			s.intercept = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, strings.Replace(s.URL, "://", "://user:hunter22@", 1), http.StatusFound)
			}
		}, Unreachable, "redirected to a URL with credentials"},
		"redirected to the metadata of a cloud": {ChartRef{}, func(s *chartServer) {
			s.intercept = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
			}
		}, Denied, "link-local"},
		"redirected to the server itself": {ChartRef{}, func(s *chartServer) {
			s.intercept = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			}
		}, Denied, "a loopback address"},
		"a URL to the metadata of a cloud": {ChartRef{RepositoryURL: "http://169.254.169.254/latest"}, nil, Denied, "link-local"},
		"a URL to the server itself":       {ChartRef{RepositoryURL: "http://127.0.0.1:1/"}, nil, Denied, "a loopback address"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m, server := newRepositoryManager(t, func(o *Options) { o.FetchLimit, o.FetchTimeout = 1<<20, 300*time.Millisecond })
			if tc.serve != nil {
				tc.serve(server)
			}
			asked := ref
			if tc.ref.RepositoryURL != "" {
				asked.RepositoryURL = tc.ref.RepositoryURL
			}
			if tc.ref.ChartName != "" {
				asked.ChartName = tc.ref.ChartName
			}
			if tc.ref.Version != "" {
				asked.Version = tc.ref.Version
			}
			_, err := m.LoadChart(context.Background(), asked)
			chartErr := chartError(t, err)
			if chartErr.Reason != tc.reason || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v", chartErr.Reason, err)
			}
			if chartErr.Chart != asked.ChartName || chartErr.Version != asked.Version {
				t.Errorf("the error names %s %s", chartErr.Chart, chartErr.Version)
			}
			for _, leak := range []string{"hunter22", "secret page"} {
				if strings.Contains(err.Error(), leak) {
					t.Errorf("the error carries %q: %v", leak, err)
				}
			}
		})
	}
}

// serveArchive serves one archive as kyverno 3.3.3.
func (s *chartServer) serveArchive(t testing.TB, content map[string]string) {
	archive := pack(t, "kyverno", content)
	s.set("/stable/index.yaml", fmt.Appendf(nil, "apiVersion: v1\nentries: {kyverno: [{version: 3.3.3, urls: [x.tgz], digest: %q}]}\n", digestOf(archive)))
	s.set("/stable/x.tgz", archive)
}

func TestLoadChartTakesNoCredentials(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	asked := ref
	asked.RepositoryURL = "https://user:hunter22@charts.example/stable?token=hunter22"
	_, err := m.LoadChart(context.Background(), asked)
	if chartError(t, err).Reason != Invalid || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("error %v", err)
	}
	if got := server.take(); len(got) > 0 {
		t.Errorf("requests: %v", got)
	}
}

func TestLoadChartURLsOfAnIndex(t *testing.T) {
	archive := pack(t, "kyverno", files("kyverno", "3.3.3"))
	tests := map[string]struct{ urls, want string }{
		"relative":            {`["charts/k.tgz"]`, "/stable/charts/k.tgz"},
		"from the root":       {`["/k.tgz"]`, "/k.tgz"},
		"absolute, mirrored":  {`["https://charts.example/elsewhere/k.tgz"]`, "/elsewhere/k.tgz"},
		"the second of two":   {`["missing.tgz", "k.tgz"]`, "/stable/k.tgz"},
		"not over the garden": {`["ftp://charts.example/k.tgz", "k.tgz"]`, "/stable/k.tgz"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m, server := newRepositoryManager(t, nil)
			server.set("/stable/index.yaml", fmt.Appendf(nil, "apiVersion: v1\nentries: {kyverno: [{version: v3.3.3, urls: %s}]}\n", tc.urls))
			server.set(tc.want, archive)
			mustLoad(t, m, ref)
			requests := server.take()
			if got := requests[len(requests)-1]; got != tc.want {
				t.Errorf("fetched %s", got)
			}
		})
	}
}

func TestLoadChartReadsAnIndexInJSON(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	server.set("/stable/index.yaml", []byte(`{"apiVersion":"v1","entries":{"kyverno":[{"version":"3.3.3","urls":["kyverno-3.3.3.tgz"]}]}}`))
	mustLoad(t, m, ref)
}

// A mirror may be on an address that is the server's own. Its connections stay open, and
// serve nobody who names that address himself.
func TestConnectionsToAMirrorAreForMirrorsAlone(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	mustLoad(t, m, ref)
	server.serveIndex(t, "/internal", "kyverno", "3.3.3")
	server.take()
	direct := ref
	direct.RepositoryURL = server.URL + "/internal"
	_, err := m.LoadChart(t.Context(), direct)
	if refused := chartError(t, err); refused.Reason != Denied {
		t.Errorf("error %v", err)
	}
	if got := server.take(); len(got) > 0 {
		t.Errorf("requests %v", got)
	}
}
