// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-project/muster/pkg/render/egress"
)

const (
	robot  = "robot"
	secret = "hunter2-hunter2"
)

var basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(robot+":"+secret))

// onLoopback lets a manager reach test servers without a mirror, as if they were public.
func onLoopback() Options {
	return Options{FetchTimeout: 5 * time.Second, Addresses: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
}

// door lets those in who show the password, and notes what all have shown.
type door struct {
	next http.Handler
	open bool

	mu    sync.Mutex
	shown map[string]bool
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authorization := r.Header.Get("Authorization")
	d.mu.Lock()
	if d.shown == nil {
		d.shown = map[string]bool{}
	}
	d.shown[authorization] = true
	d.mu.Unlock()
	if d.open || authorization == basic {
		d.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Www-Authenticate", `Basic realm="test"`)
	w.WriteHeader(http.StatusUnauthorized)
}

func (d *door) wasShown(authorization string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shown[authorization]
}

// serveHandler serves over TLS or not, until the test ends.
func serveHandler(t testing.TB, handler http.Handler, secure bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

func authority(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func dockerConfig(host string) []byte {
	config, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]any{"auth": strings.TrimPrefix(basic, "Basic ")}}}) // strings
	return config
}

// newIndexed serves kyverno at 3.3.3, without TLS and a password of its own.
func newIndexed(t testing.TB) *chartServer {
	server := newChartServer(t)
	server.serveIndex(t, "", "kyverno", "3.3.3")
	return server
}

func kyvernoFrom(url string, access *Access) ChartRef {
	return ChartRef{RepositoryURL: url, ChartName: "kyverno", Version: "3.3.3", Access: access}
}

func TestRepositoryCredentials(t *testing.T) {
	guard := &door{next: newIndexed(t)}
	server := serveHandler(t, guard, true)
	ca, host := authority(server), server.Listener.Addr().String()
	for name, tc := range map[string]struct {
		access *Access
		reason Reason
		want   string
	}{
		"a user's password":         {access: &Access{Username: robot, Password: secret, CA: ca}},
		"a docker configuration":    {access: &Access{DockerConfig: dockerConfig(host), CA: ca}},
		"any certificate":           {access: &Access{Username: robot, Password: secret, InsecureSkipTLSVerify: true}},
		"a wrong password":          {access: &Access{Username: robot, Password: "another-" + secret, CA: ca}, reason: Denied, want: "401"},
		"none":                      {access: &Access{CA: ca}, reason: Denied, want: "401"},
		"another host's":            {access: &Access{DockerConfig: dockerConfig("registry.example"), CA: ca}, reason: Denied, want: "no credentials for " + host},
		"an unknown authority":      {access: &Access{Username: robot, Password: secret}, reason: Denied, want: "registryCredentialsConfig.ca"},
		"nobody":                    {reason: Denied, want: "registryCredentialsConfig.ca"},
		"an authority of nothing":   {access: &Access{CA: []byte(secret)}, reason: Invalid, want: "no certificate"},
		"a configuration of nought": {access: &Access{DockerConfig: []byte(secret), CA: ca}, reason: Invalid, want: "no docker configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NewManager(onLoopback()).LoadChart(t.Context(), kyvernoFrom(server.URL, tc.access))
			if tc.reason == "" {
				if err != nil || got.Version != "3.3.3" {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			if failed := chartError(t, err); failed.Reason != tc.reason || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", failed.Reason, err)
			}
		})
	}
}

// Credentials are for the host that the profile names, whatever its index says.
func TestCredentialsStayAtHome(t *testing.T) {
	archive := pack(t, "kyverno", files("kyverno", "3.3.3"))
	elsewhere := newChartServer(t)
	elsewhere.set("/kyverno.tgz", archive)
	for name, tc := range map[string]struct {
		url      func(other *httptest.Server) string
		passAll  bool
		redirect bool
		shown    bool
	}{
		"another host":                     {url: func(o *httptest.Server) string { return o.URL + "/kyverno.tgz" }},
		"another host, without its scheme": {url: func(o *httptest.Server) string { return "//" + o.Listener.Addr().String() + "/kyverno.tgz" }},
		"another host, as the user wants":  {url: func(o *httptest.Server) string { return o.URL + "/kyverno.tgz" }, passAll: true, shown: true},
		"a redirect":                       {url: func(*httptest.Server) string { return "moved" }, redirect: true, passAll: true},
	} {
		t.Run(name, func(t *testing.T) {
			watch := &door{next: elsewhere, open: true}
			other := serveHandler(t, watch, false)
			home := newChartServer(t)
			home.set("/index.yaml", fmt.Appendf(nil, "apiVersion: v1\nentries: {kyverno: [{version: 3.3.3, urls: [%q]}]}\n", tc.url(other)))
			guard := &door{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/moved" {
					http.Redirect(w, r, other.URL+"/kyverno.tgz", http.StatusFound)
					return
				}
				home.ServeHTTP(w, r)
			})}
			server := serveHandler(t, guard, false)
			mustLoad(t, NewManager(onLoopback()), kyvernoFrom(server.URL, &Access{Username: robot, Password: secret, PassAll: tc.passAll}))
			if watch.wasShown(basic) != tc.shown || len(watch.shown) == 0 {
				t.Errorf("the other host was shown %v", watch.shown)
			}
		})
	}
}

func TestCredentialsAndMirrors(t *testing.T) {
	watch := &door{next: newIndexed(t), open: true}
	server := serveHandler(t, watch, false)
	options := Options{Mirror: func(url string) string { return strings.Replace(url, "https://charts.example", server.URL, 1) }}
	for _, access := range []*Access{
		{Username: robot, Password: secret, CA: []byte(pemOfAnother(t))}, {DockerConfig: dockerConfig("charts.example")}, {DockerConfig: dockerConfig(server.Listener.Addr().String()), PassAll: true},
	} {
		mustLoad(t, NewManager(options), kyvernoFrom("https://charts.example", access))
		if watch.wasShown(basic) {
			t.Error("a mirror was shown the password")
		}
	}
	mustLoad(t, NewManager(options), kyvernoFrom("https://charts.example", &Access{Username: robot, Password: secret, PassAll: true}))
	if !watch.wasShown(basic) {
		t.Error("a mirror was not shown what the user wants to be shown to all")
	}
}

// pemOfAnother is an authority that has signed nothing here.
func pemOfAnother(t testing.TB) string {
	return string(authority(serveHandler(t, http.NotFoundHandler(), true)))
}

// What one was given is not served to others from memory, whatever they call it.
func TestTheCacheIsNotForOthers(t *testing.T) {
	content := newIndexed(t)
	guard := &door{next: content}
	server := serveHandler(t, guard, false)
	own := newChartServer(t) // whoever writes a profile may have a server too
	index := strings.ReplaceAll(string(content.content["/index.yaml"]), "kyverno-3.3.3.tgz", "anything.tgz")
	own.set("/index.yaml", []byte(index))
	m := NewManager(onLoopback())
	may := &Access{Username: robot, Password: secret}
	mustLoad(t, m, kyvernoFrom(server.URL, may))
	for name, ref := range map[string]ChartRef{
		"nobody":                  kyvernoFrom(server.URL, nil),
		"another password":        kyvernoFrom(server.URL, &Access{Username: robot, Password: "another"}),
		"the digest in his index": kyvernoFrom(own.URL, nil),
	} {
		if got, err := m.LoadChart(t.Context(), ref); err == nil {
			t.Errorf("%s was given %s %s", name, got.Name, got.Version)
		}
	}
	content.take()
	mustLoad(t, m, kyvernoFrom(server.URL, &Access{Username: robot, Password: secret}))
	if got := content.take(); len(got) > 0 {
		t.Errorf("the same credentials have to ask again: %v", got)
	}
	// The password was changed, and the repository is down: what was given before stays.
	now := time.Now().Add(time.Hour)
	m.repository.now = func() time.Time { return now }
	content.intercept = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	mustLoad(t, m, kyvernoFrom(server.URL, may))
	content.intercept = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	if _, err := m.LoadChart(t.Context(), kyvernoFrom(server.URL, may)); chartError(t, err).Reason != Denied {
		t.Errorf("credentials that count no more: %v", err)
	}
}

func TestRegistryCredentials(t *testing.T) {
	content := newChartServer(t)
	content.serveOCI(t, "charts/nginx", chartLayerType, ociTags(t, "1.2.0"))
	for name, tc := range map[string]struct {
		secure bool
		access func(host string, ca []byte) *Access
		reason Reason
	}{
		"a password over TLS":      {secure: true, access: func(_ string, ca []byte) *Access { return &Access{Username: robot, Password: secret, CA: ca} }},
		"a password in plain text": {access: func(string, []byte) *Access { return &Access{Username: robot, Password: secret, PlainHTTP: true} }},
		"a docker configuration":   {secure: true, access: func(host string, ca []byte) *Access { return &Access{DockerConfig: dockerConfig(host), CA: ca} }},
		"as an URL": {secure: true, access: func(host string, ca []byte) *Access {
			return &Access{DockerConfig: dockerConfig("https://" + host + "/v2/"), CA: ca}
		}},
		"plain text is not asked for":  {access: func(string, []byte) *Access { return &Access{Username: robot, Password: secret} }, reason: Unreachable},
		"a wrong password":             {secure: true, access: func(_ string, ca []byte) *Access { return &Access{Username: robot, Password: "x" + secret, CA: ca} }, reason: Denied},
		"nobody":                       {secure: true, access: func(_ string, ca []byte) *Access { return &Access{CA: ca} }, reason: Denied},
		"no host in the configuration": {secure: true, access: func(_ string, ca []byte) *Access { return &Access{DockerConfig: dockerConfig("a.example"), CA: ca} }, reason: Denied},
	} {
		t.Run(name, func(t *testing.T) {
			server := serveHandler(t, &door{next: content}, tc.secure)
			var ca []byte
			if tc.secure {
				ca = authority(server)
			}
			host := server.Listener.Addr().String()
			_, err := NewManager(onLoopback()).LoadChart(t.Context(), ChartRef{
				RepositoryURL: "oci://" + host + "/charts", ChartName: "nginx", Version: "1.2.0", Access: tc.access(host, ca),
			})
			if tc.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if chartError(t, err).Reason != tc.reason || strings.Contains(err.Error(), secret) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestNamesOfHosts(t *testing.T) {
	for configured, asked := range map[string]string{
		"https://index.docker.io/v1/": "oci://docker.io/library", "docker.io": "oci://registry-1.docker.io/library",
		"registry.example": "oci://registry.example:443/a", "registry.example:443": "oci://registry.example/a", "http://registry.example:5000": "oci://registry.example:5000",
	} {
		home, err := url.Parse(asked)
		if err != nil {
			t.Fatal(err)
		}
		access := &Access{DockerConfig: dockerConfig(configured)}
		if got, err := access.login(t.Context(), home, place{asked: home, target: home}); err != nil || got.Password != secret {
			t.Errorf("%s for %s: %v", configured, asked, err)
		}
		other := &url.URL{Scheme: "https", Host: "other.example"}
		if got, err := access.login(t.Context(), home, place{asked: other, target: other}); err != nil || got.Password != "" {
			t.Errorf("%s for another host: %v", configured, err)
		}
	}
}

func TestAccessIsNotShown(t *testing.T) {
	access := &Access{Username: robot, Password: secret, DockerConfig: []byte(secret), CA: []byte(secret)}
	ref := kyvernoFrom("https://charts.example", access)
	encoded, err := json.Marshal(ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s", access, access, access, access), fmt.Sprintf("%v %+v %#v", ref, ref, ref), string(encoded), ref.key()} {
		if strings.Contains(shown, secret) || strings.Contains(shown, robot) || strings.Contains(shown, base64.StdEncoding.EncodeToString([]byte(secret))) {
			t.Errorf("shows %s", shown)
		}
	}
	other := *access
	other.PassAll = true
	if access.scope() == other.scope() || access.scope() == "" || (*Access)(nil).scope() != "" {
		t.Error("accesses have one scope")
	}
}
