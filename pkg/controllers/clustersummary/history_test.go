// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/render/remote"
	"github.com/muster-project/muster/pkg/storage/records/recordstest"
)

// recorded is a reconciler with a history, a host with a ConfigMap and a Secret, a
// server of manifests, and a profile that is deployed from all three.
type recorded struct {
	*Reconciler
	t      *testing.T
	host   hostObjects
	served string
	url    string
	spec   configv1beta1.ProfileSpec
	// tenant is the host as the profile's tenant sees it, nil if it has none.
	tenant client.Reader
}

func newRecorded(t *testing.T) *recorded {
	r := &recorded{t: t, Reconciler: New(Options{History: history.NewStore(recordstest.New(), 10), Now: time.Now}), served: named("served-1")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(r.served)) }))
	t.Cleanup(server.Close)
	r.url = "http://manifests.example.com/all.yaml"
	r.host = hostObjects{"ConfigMap/apps/open": configMap("apps", "open", map[string]string{"a.yaml": named("open-1")})}
	r.keepSecret("closed-1")
	r.spec.PolicyRefs = []configv1beta1.PolicyRef{
		{Kind: "ConfigMap", Namespace: "apps", Name: "open"}, {Kind: "Secret", Namespace: "apps", Name: "closed"},
		{RemoteURL: &configv1beta1.RemoteURL{URL: r.url, PlainHTTP: true, SecretRef: &libv1beta1.SecretReference{Namespace: "apps", Name: "token"}}},
	}
	r.host["Secret/apps/token"] = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "token"},
		Type:       "addons.projectsveltos.io/cluster-profile", Data: map[string][]byte{"token": []byte("t")},
	}
	r.Fetcher = remote.NewFetcher(remote.Options{Mirror: func(string) string { return server.URL + "/all.yaml" }})
	return r
}

func named(name string) string {
	return strings.Replace(namespaceManifest, "made", name, 1)
}

func (r *recorded) keepSecret(name string) {
	r.host["Secret/apps/closed"] = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "closed"},
		Type:       "addons.projectsveltos.io/cluster-profile", Data: map[string][]byte{"a.yaml": []byte(named(name))},
	}
}

// deploy renders the profile and records it, and returns the names of what it
// rendered.
func (r *recorded) deploy(pinned *revision.Contents) (string, error) {
	r.t.Helper()
	b, _ := newBuilder(r.t, "", r.host)
	// Each job fetches anew.
	b.fetcher = r.Fetcher
	if r.tenant != nil {
		b.host, b.asTenant = r.tenant, true
	}
	rev := revision.Revision{Name: "plain", Spec: &r.spec, Pinned: pinned}
	if pinned != nil {
		rev.Name = "pinned"
	}
	b.observed = r.observe(rev)
	list := b.objects(r.t.Context(), r.spec.PolicyRefs)
	result := deploy.Result{Features: map[deploy.Feature]deploy.FeatureResult{deploy.Resources: {Err: list.Err}}}
	r.record(r.t.Context(), clusterref.Of("civo", "cluster1"), inventory.Owner{Kind: "ClusterProfile", Name: "web"}, rev, b.observed, result)
	var names []string
	for _, object := range list.Objects {
		names = append(names, object.Content.GetName())
	}
	return strings.Join(names, " "), list.Err
}

// pins are the contents of the first entry.
func (r *recorded) pins() *revision.Contents {
	r.t.Helper()
	p, err := r.History.Profile(r.t.Context(), revision.Owner{Kind: "ClusterProfile", Name: "web"})
	if err != nil {
		r.t.Fatal(err)
	}
	out := &revision.Contents{Of: p.Entries[0].Number, Salt: p.Salt}
	for _, s := range p.Entries[0].Sources {
		out.Pins = append(out.Pins, revision.Pin{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, Digest: s.Digest})
	}
	return out
}

// A rollback deploys what ConfigMaps and URLs held then, though neither holds it any
// more, and one of them is gone.
func TestARollbackDeploysFormerContents(t *testing.T) {
	r := newRecorded(t)
	if got, err := r.deploy(nil); err != nil || got != "open-1 closed-1 served-1" {
		t.Fatalf("deployed %q, %v", got, err)
	}
	pins := r.pins()
	if len(pins.Pins) != 3 {
		t.Fatalf("pinned are %v", pins.Pins)
	}
	delete(r.host, "ConfigMap/apps/open")
	// Credentials are not needed for what is kept.
	delete(r.host, "Secret/apps/token")
	r.served = "not: [YAML"
	if got, err := r.deploy(pins); err != nil || got != "open-1 closed-1 served-1" {
		t.Errorf("rolled back to %q, %v", got, err)
	}
	if _, err := r.deploy(nil); err == nil {
		t.Error("without the rollback the ConfigMap is not missed")
	}
}

// What is kept was read with the rights that the profile had then. A tenant whose profile
// it is now is given none of it that the tenant may not read.
func TestARollbackGivesATenantNothingMore(t *testing.T) {
	r := newRecorded(t)
	if _, err := r.deploy(nil); err != nil {
		t.Fatal(err)
	}
	pins := r.pins()
	delete(r.host, "ConfigMap/apps/open")
	r.served = "not: [YAML"
	r.tenant = r.host
	if got, err := r.deploy(pins); err != nil || got != "open-1 closed-1 served-1" {
		t.Errorf("a tenant who may read all of it is given %q, %v", got, err)
	}
	r.tenant = forbidding{}
	if got, err := r.deploy(pins); !apierrors.IsForbidden(err) || got != "" {
		t.Errorf("a tenant who may read nothing is given %q, %v", got, err)
	}
	r.spec.PolicyRefs = r.spec.PolicyRefs[2:]
	if got, err := r.deploy(pins); !apierrors.IsForbidden(err) || got != "" {
		t.Errorf("a tenant who may not read the token is given %q, %v", got, err)
	}
}

func TestARollbackRefusesASecretThatChanged(t *testing.T) {
	r := newRecorded(t)
	if _, err := r.deploy(nil); err != nil {
		t.Fatal(err)
	}
	pins := r.pins()
	r.keepSecret("canary-2")
	got, err := r.deploy(pins)
	var source *SourceError
	if !errors.As(err, &source) || !strings.Contains(err.Error(), "Secret apps/closed") || !strings.Contains(err.Error(), "has changed since revision 1") || got != "open-1" {
		t.Errorf("deployed %q, %v", got, err)
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("the error has the Secret's content: %v", err)
	}
	r.keepSecret("closed-1")
	if got, err := r.deploy(pins); err != nil || got != "open-1 closed-1 served-1" {
		t.Errorf("with the former Secret it deploys %q, %v", got, err)
	}
}

func TestAContentThatIsNotKeptIsNamed(t *testing.T) {
	r := newRecorded(t)
	pins := &revision.Contents{Of: 7, Pins: []revision.Pin{{Kind: "ConfigMap", Namespace: "apps", Name: "open", Digest: "gone"}}}
	if got, err := r.deploy(pins); err == nil || !strings.Contains(err.Error(), "ConfigMap apps/open") || !strings.Contains(err.Error(), "not kept any more since revision 7") || got != "" {
		t.Errorf("deployed %q, %v; want nothing: what is there now is not what was asked for", got, err)
	}
}

func TestTheHistoryTellsHowADeploymentEnded(t *testing.T) {
	r := newRecorded(t)
	owner := revision.Owner{Kind: "ClusterProfile", Name: "web"}
	rev := revision.Revision{Name: "plain", Spec: &r.spec}
	results := []struct {
		err  error
		want history.State
		says string
	}{
		{nil, history.StateDeployed, ""},
		{&deploy.PendingError{}, history.StateDeploying, ""},
		{errors.New(strings.Repeat("quota exceeded ", 100)), history.StateFailed, "quota exceeded"},
	}
	for _, step := range results {
		result := deploy.Result{Features: map[deploy.Feature]deploy.FeatureResult{deploy.Helm: {Err: step.err}}}
		r.record(t.Context(), clusterref.Of("civo", "cluster1"), inventory.Owner{Kind: "ClusterProfile", Name: "web"}, rev, r.observe(rev), result)
		clusters, err := r.History.Clusters(t.Context(), owner)
		if err != nil || len(clusters) != 1 || len(clusters[0].Deployments) != 1 {
			t.Fatalf("recorded is %+v, %v", clusters, err)
		}
		if d := clusters[0].Deployments[0]; d.State != step.want || !strings.Contains(d.Message, step.says) || len(d.Message) > maxRecorded {
			t.Errorf("%v is recorded as %+v", step.err, d)
		}
	}
}
