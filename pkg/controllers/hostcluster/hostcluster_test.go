// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostcluster_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-project/muster/pkg/controllers/hostcluster"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// host answers with an object for each path, and notes who asked.
type host struct {
	mu    sync.Mutex
	asked map[string]string
}

func (h *host) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h.mu.Lock()
	h.asked[req.URL.Path] = req.Header.Get("Impersonate-User")
	h.mu.Unlock()
	var body any
	code := http.StatusOK
	switch path := req.URL.Path; {
	case path == "/api/v1/namespaces/kube-system":
		body = corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "the-host"}}
	case path == "/api":
		body = metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case path == "/apis":
		body = metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}}
	case path == "/api/v1":
		body = metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "configmaps", SingularName: "configmap", Namespaced: true, Kind: "ConfigMap", Verbs: metav1.Verbs{"get"}},
		}}
	case strings.HasSuffix(path, "/configmaps/a"):
		body = corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: "teams", Name: "a"}}
	case strings.HasSuffix(path, "/serviceaccounts/eng"):
		body = corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Namespace: "teams", Name: "eng"}}
	case strings.Contains(path, "/namespaces/closed/"):
		code = http.StatusForbidden
		body = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: "no right"}
	default:
		code = http.StatusNotFound
		body = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// by is who asked for a path last, and whether anybody did.
func (h *host) by(path string) (user string, asked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	user, asked = h.asked[path]
	return user, asked
}

func start(t *testing.T, namespaces reach.Namespaces) (*hostcluster.Host, *host) {
	t.Helper()
	h := &host{asked: map[string]string{}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	made, err := hostcluster.New(&rest.Config{Host: server.URL}, scheme.Scheme, namespaces)
	if err != nil {
		t.Fatal(err)
	}
	return made, h
}

func TestTheHostIsReadAndWrittenAsTheTenant(t *testing.T) {
	const tenant = "system:serviceaccount:teams:eng"
	as := fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}
	made, h := start(t, nil)
	cluster, err := made.Cluster(t.Context(), as)
	if err != nil || cluster.ID != "the-host" || cluster.Ref != inventory.Host() {
		t.Fatalf("the host is %v %s, %v", cluster.Ref, cluster.ID, err)
	}
	reader, err := made.Reader(as)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Get(t.Context(), client.ObjectKey{Namespace: "teams", Name: "a"}, &corev1.ConfigMap{}); err != nil {
		t.Fatal(err)
	}
	gvr := corev1.SchemeGroupVersion.WithResource("configmaps")
	if _, err := cluster.Dynamic.Resource(gvr).Namespace("other").Get(t.Context(), "a", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/api/v1/namespaces/teams/configmaps/a": tenant, "/api/v1/namespaces/other/configmaps/a": tenant, "/api/v1/namespaces/kube-system": "",
	} {
		if got, asked := h.by(path); !asked || got != want {
			t.Errorf("%s was asked for by %q", path, got)
		}
	}
}

func TestATenantReadsWhatIsInReachAlone(t *testing.T) {
	made, _ := start(t, reach.Namespaces{"near"})
	reader, err := made.Reader(fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"})
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Get(t.Context(), client.ObjectKey{Namespace: "teams", Name: "a"}, &corev1.ConfigMap{}); err == nil {
		t.Error("a tenant reads what Muster was told not to")
	}
}

func TestAnAccountHasToExist(t *testing.T) {
	made, h := start(t, nil)
	for _, tc := range []struct{ namespace, name, says string }{
		{"teams", "eng", ""}, {"teams", "ghost", "does not exist"}, {"closed", "other", "rbac.tenantNamespaces"},
	} {
		err := made.CheckAccount(t.Context(), fleet.Identity{ServiceAccountNamespace: tc.namespace, ServiceAccountName: tc.name})
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s/%s: %v", tc.namespace, tc.name, err)
		}
	}
	if by, _ := h.by("/api/v1/namespaces/teams/serviceaccounts/eng"); by != "" {
		t.Errorf("asked as %q", by)
	}
}

// Whoever watches the host asks for a client whenever a watch begins, and an account may be
// gone by then.
func TestAClientIsOfAnAccountThatExists(t *testing.T) {
	made, h := start(t, nil)
	for name, exists := range map[string]bool{"eng": true, "ghost": false} {
		as := fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: name}
		client, err := made.Client(t.Context(), as)
		if (err == nil) != exists {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		const path = "/api/v1/namespaces/teams/configmaps/a"
		response, err := client.HTTP.Get(client.Config.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if by, _ := h.by(path); by != as.UserName() || client.As != as {
			t.Errorf("it asks as %q", by)
		}
	}
}
