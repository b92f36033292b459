// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// replica stands for a server that says whether it is ready, and who it is.
type replica struct {
	*httptest.Server
	unready atomic.Bool
}

func newReplicaForTest(t *testing.T, name string) *replica {
	t.Helper()
	r := &replica{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/readyz" && r.unready.Load() {
			http.Error(w, "shutting down", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *replica) address() string { return strings.TrimPrefix(r.URL, "https://") }

func TestRoundRobin(t *testing.T) {
	a, b := newReplicaForTest(t, "a"), newReplicaForTest(t, "b")
	probe := &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Scheme: corev1.URISchemeHTTPS}},
		PeriodSeconds:    1,
		FailureThreshold: 1,
	}
	front := reserveForTest(t)
	r, err := newRoundRobin(front, []string{a.address(), b.address()}, probe)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	ask := func() (string, error) {
		client := a.Client()
		client.Transport.(*http.Transport).DisableKeepAlives = true
		response, err := client.Get("https://" + front.address() + "/")
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		return string(data), err
	}
	answer := func() string {
		t.Helper()
		name, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	await(t, "both are asked", func() bool { name, err := ask(); return err == nil && name == "b" })
	if one, other := answer(), answer(); one == other {
		t.Errorf("%s was asked twice in a row", one)
	}
	b.unready.Store(true)
	await(t, "b is not asked any more", func() bool { return !slices.Contains([]string{answer(), answer()}, "b") })
	b.unready.Store(false)
	await(t, "b is asked again", func() bool { return answer() == "b" })

	// It goes by the last probe and nothing else: who died since is asked too.
	r.cancel()
	r.probing.Wait()
	b.Close()
	failed := 0
	for range 2 {
		if _, err := ask(); err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d of two connections failed at once when one of two replicas had died, want 1", failed)
	}
}

// Members and replicas have the shipped arguments, and only what means something
// inside a Pod alone is another.
func TestArgumentsOfReplicas(t *testing.T) {
	f := &Fleet{options: Options{Bin: t.TempDir(), Replicas: 2}, dir: t.TempDir(), ledger: &ledger{}}
	f.Host = &ControlPlane{api: reserveForTest(t)}
	t.Cleanup(func() {
		for _, p := range f.ports {
			p.release()
		}
	})
	charts, err := f.reserve()
	if err != nil {
		t.Fatal(err)
	}
	f.Charts = &Charts{port: charts}
	m, err := newMuster(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Members()) != 3 || len(m.Replicas()) != 2 {
		t.Fatalf("%d members, %d replicas", len(m.Members()), len(m.Replicas()))
	}
	for _, s := range m.servers() {
		shipped := m.shipped.args
		if s.command.args[0] == "etcd" {
			shipped = m.shipped.memberArgs
		}
		given := sets.New(s.command.args...)
		for _, argument := range shipped {
			flag, _, _ := strings.Cut(argument, "=")
			if !given.Has(argument) && !strings.Contains(argument, "/etc/muster/") && !strings.Contains(argument, ".svc:") && !strings.Contains(argument, "$(POD_NAME)") {
				t.Errorf("%s runs without the shipped %s", s.Name(), argument)
			}
			if !slices.ContainsFunc(s.command.args, func(a string) bool { return a == flag || strings.HasPrefix(a, flag+"=") }) {
				t.Errorf("%s runs without %s", s.Name(), flag)
			}
		}
		for _, argument := range s.command.args {
			if strings.Contains(argument, "/etc/muster/") || strings.Contains(argument, ".svc:") || strings.Contains(argument, "$(") {
				t.Errorf("%s: %s means nothing outside a Pod", s.Name(), argument)
			}
		}
	}
}
