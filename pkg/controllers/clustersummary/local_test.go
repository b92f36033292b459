// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// shelf is inventories that can be listed.
type shelf struct{ inventories }

func (s shelf) List(_ context.Context, prefix string, visit func(string, []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(s.inventories)) {
		if strings.HasPrefix(key, prefix) {
			if err := visit(key, s.inventories[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// objectStore is a cluster's API server as far as ConfigMaps are applied, looked at and
// deleted there.
type objectStore struct {
	mu      sync.Mutex
	objects map[string]map[string]any
	// refuse answers in its place.
	refuse func(method, name string) *apierrors.StatusError
}

func (o *objectStore) RoundTrip(req *http.Request) (*http.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := path.Base(req.URL.Path)
	var err *apierrors.StatusError
	if o.refuse != nil {
		err = o.refuse(req.Method, name)
	}
	found := o.objects[name]
	if err == nil && found == nil && req.Method != http.MethodPatch {
		err = apierrors.NewNotFound(corev1.Resource("configmaps"), name)
	}
	if err != nil {
		status := err.ErrStatus
		status.Kind, status.APIVersion = "Status", "v1"
		return answer(int(status.Code), status)
	}
	switch {
	case req.Header.Get("Content-Type") == string(types.MergePatchType): // which takes marks away
	case req.Method == http.MethodPatch:
		var sent map[string]any
		if err := json.NewDecoder(req.Body).Decode(&sent); err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{Object: sent}
		u.SetUID(types.UID("uid-" + name))
		u.SetResourceVersion("1")
		o.objects[name], found = sent, sent
	case req.Method == http.MethodDelete:
		delete(o.objects, name)
	}
	return answer(http.StatusOK, found)
}

func answer(code int, body any) (*http.Response, error) {
	encoded, err := json.Marshal(body)
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(encoded)),
	}, err
}

func (o *objectStore) names() string { return strings.Join(slices.Sorted(maps.Keys(o.objects)), " ") }

type resettable struct{ *meta.DefaultRESTMapper }

func (resettable) Reset() {}

func (o *objectStore) cluster(t *testing.T, ref fleet.Ref) deploy.Cluster {
	t.Helper()
	config := &rest.Config{Host: "https://cluster.invalid", Transport: o, QPS: -1}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	mapper := resettable{meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	return deploy.Cluster{Ref: ref, UID: "u", ID: "id", Config: config, Dynamic: dynamicClient, Mapper: mapper}
}

// fixedHost is a HostCluster that is one cluster.
type fixedHost struct {
	cluster deploy.Cluster
	asked   []fleet.Identity
}

func (h *fixedHost) Cluster(_ context.Context, as fleet.Identity) (deploy.Cluster, error) {
	h.asked = append(h.asked, as)
	return h.cluster, nil
}

func (h *fixedHost) Reader(fleet.Identity) (client.Reader, error) { return hostObjects{}, nil }

func (h *fixedHost) CheckAccount(context.Context, fleet.Identity) error { return nil }

// twoClusters is a reconciler between a host and a managed cluster.
type twoClusters struct {
	*Reconciler
	host, managed *objectStore
	actor         actor
	hostCluster   *fixedHost
}

func newTwoClusters(t *testing.T) *twoClusters {
	t.Helper()
	w := &twoClusters{host: &objectStore{objects: map[string]map[string]any{}}, managed: &objectStore{objects: map[string]map[string]any{}}}
	w.hostCluster = &fixedHost{cluster: w.host.cluster(t, inventory.Host())}
	w.actor = actor{target: w.managed.cluster(t, clusterref.Of("civo", "cluster1"))}
	w.Reconciler = New(Options{
		Client: newClient(t), HostCluster: w.hostCluster,
		Deployer: deploy.New(deploy.Options{
			Inventory:   inventory.NewStore(shelf{inventories{}}),
			OwnerExists: func(context.Context, inventory.OwnerKey) (bool, error) { return true, nil },
		}),
	})
	return w
}

func objectsNamed(names string) []deploy.Object {
	var out []deploy.Object
	for _, name := range strings.Fields(names) {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
		u.SetName(name)
		u.SetNamespace("civo")
		out = append(out, deploy.Object{Content: u})
	}
	return out
}

// pass deploys objects to both.
func (w *twoClusters) pass(t *testing.T, remote, local string, change func(*deploy.Request)) deploy.Result {
	t.Helper()
	request := deploy.Request{
		Owner:   inventory.Owner{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"},
		Objects: []deploy.ObjectList{{Feature: deploy.Resources, Objects: objectsNamed(remote)}},
	}
	if change != nil {
		change(&request)
	}
	var o outcome
	var toHost map[deploy.Feature][]deploy.Object
	if local != "" {
		toHost = map[deploy.Feature][]deploy.Object{deploy.Resources: objectsNamed(local)}
	}
	if _, err := w.deploy(t.Context(), w.actor, types.NamespacedName{}, request, toHost, &o); err != nil {
		t.Fatal(err)
	}
	return o.result
}

func refusing(method string, names ...string) func(string, string) *apierrors.StatusError {
	return func(asked, name string) *apierrors.StatusError {
		if asked == method && slices.Contains(names, name) {
			return apierrors.NewForbidden(corev1.Resource("configmaps"), name, errors.New("no right"))
		}
		return nil
	}
}

func TestWhatIsLocalGoesToTheHost(t *testing.T) {
	w := newTwoClusters(t)
	result := w.pass(t, "there", "here", nil)
	if !result.OK() || w.host.names() != "here" || w.managed.names() != "there" {
		t.Fatalf("%v: the host has %q, the cluster %q", resultError(result), w.host.names(), w.managed.names())
	}
	if result.Features[deploy.Resources].Applied != 2 || len(result.Record.Objects) != 2 {
		t.Errorf("result %+v", result)
	}
	// What is no longer local, or no longer there, is pruned on both.
	if result := w.pass(t, "here", "", nil); !result.OK() || w.host.names() != "" || w.managed.names() != "here" {
		t.Errorf("%v: the host has %q, the cluster %q", resultError(result), w.host.names(), w.managed.names())
	}
	asked := len(w.hostCluster.asked)
	if w.pass(t, "here", "", nil); len(w.hostCluster.asked) != asked {
		t.Error("a profile that has nothing on the host asks for it")
	}
}

// What fails on one of the two keeps everything on both.
func TestNothingIsPrunedUnlessBothAreDeployed(t *testing.T) {
	broken := errors.New("a source is missing")
	for name, tc := range map[string]struct {
		fail   func(*twoClusters)
		change func(*deploy.Request)
	}{
		"the host refuses":    {func(w *twoClusters) { w.host.refuse = refusing(http.MethodPatch, "new-here") }, nil},
		"the cluster refuses": {func(w *twoClusters) { w.managed.refuse = refusing(http.MethodPatch, "new-there") }, nil},
		"a list is broken":    {func(*twoClusters) {}, func(r *deploy.Request) { r.Objects[0].Err = broken }},
		"a chart is broken":   {func(*twoClusters) {}, func(r *deploy.Request) { r.Charts.Err = broken }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTwoClusters(t)
			w.pass(t, "old-there", "old-here", nil)
			tc.fail(w)
			if result := w.pass(t, "new-there", "new-here", tc.change); result.OK() || result.Pruned > 0 {
				t.Errorf("%v, %d pruned", resultError(result), result.Pruned)
			}
			if !strings.Contains(w.host.names(), "old-here") || !strings.Contains(w.managed.names(), "old-there") {
				t.Errorf("the host has %q, the cluster %q", w.host.names(), w.managed.names())
			}
			w.host.refuse, w.managed.refuse = nil, nil
			if result := w.pass(t, "new-there", "new-here", nil); !result.OK() || w.host.names() != "new-here" || w.managed.names() != "new-there" {
				t.Errorf("%v: the host has %q, the cluster %q", resultError(result), w.host.names(), w.managed.names())
			}
		})
	}
}

func TestRightsOnTheHostAreExplained(t *testing.T) {
	w := newTwoClusters(t)
	w.host.refuse = refusing(http.MethodPatch, "here")
	err := resultError(w.pass(t, "there", "here", nil))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "rbac.hostRules") || !strings.Contains(err.Error(), "HostCluster host") {
		t.Errorf("error %v", err)
	}
	w.host.refuse, w.managed.refuse = nil, refusing(http.MethodPatch, "there", "more")
	if err := resultError(w.pass(t, "there more", "here", nil)); err == nil || strings.Contains(err.Error(), "rbac.hostRules") {
		t.Errorf("the cluster's error %v", err)
	}
}

func TestAProfileStaysInItsNamespaceOfTheHost(t *testing.T) {
	w := newTwoClusters(t)
	in := func(namespace string) func(*deploy.Request) {
		return func(r *deploy.Request) {
			r.Owner = inventory.Owner{Kind: configv1beta1.KindProfile, Namespace: namespace, Name: "web"}
		}
	}
	if err := resultError(w.pass(t, "there", "here", in("civo"))); err != nil {
		t.Error(err)
	}
	var outside *deploy.OutsideError
	if err := resultError(w.pass(t, "elsewhere", "elsewhere", in("other"))); !errors.As(err, &outside) {
		t.Errorf("error %v", err)
	}
}

// Muster may change its own APIServices, and profiles must not do it in its place.
func TestNoProfileDeploysMustersRegistration(t *testing.T) {
	w := newTwoClusters(t)
	result := w.pass(t, "there", "here", func(r *deploy.Request) {})
	if !result.OK() {
		t.Fatal(resultError(result))
	}
	apiService := objectsNamed("v1beta1.lib.projectsveltos.io")
	apiService[0].Content.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"})
	for _, as := range []fleet.Identity{{}, {ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}} {
		w.actor.as = as
		var o outcome
		request := deploy.Request{Owner: inventory.Owner{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"}, Objects: []deploy.ObjectList{{Feature: deploy.Resources}}}
		if _, err := w.deploy(t.Context(), w.actor, types.NamespacedName{}, request, map[deploy.Feature][]deploy.Object{deploy.Resources: apiService}, &o); err != nil {
			t.Fatal(err)
		}
		// What a tenant may do there the host says.
		if err := resultError(o.result); err == nil || strings.Contains(err.Error(), "own registration") != as.IsZero() {
			t.Errorf("as %+v: %v", as, err)
		}
	}
}

// The order of lists holds between the two clusters as well.
func TestTheHostWaitsForTheCluster(t *testing.T) {
	w := newTwoClusters(t)
	order := func(r *deploy.Request) {
		r.FeatureOrder = []deploy.Feature{deploy.Kustomize, deploy.Resources}
		r.Objects = append(r.Objects, deploy.ObjectList{Feature: deploy.Kustomize, Objects: objectsNamed("first")})
	}
	w.managed.refuse = refusing(http.MethodPatch, "first")
	result := w.pass(t, "there", "here", order)
	if !onlyWaits(result.Features[deploy.Resources].Err) || w.host.names() != "" || w.managed.names() != "" {
		t.Errorf("%v: the host has %q, the cluster %q", result.Features[deploy.Resources].Err, w.host.names(), w.managed.names())
	}
	w.managed.refuse = nil
	if result := w.pass(t, "there", "here", order); !result.OK() || w.host.names() != "here" || w.managed.names() != "first there" {
		t.Errorf("%v: the host has %q, the cluster %q", resultError(result), w.host.names(), w.managed.names())
	}
}

func TestWhatIsOnTheHostIsWithdrawn(t *testing.T) {
	owner := inventory.Owner{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"}
	for behavior, left := range map[deploy.Behavior]string{deploy.WithdrawPolicies: "", deploy.LeavePolicies: "here"} {
		w := newTwoClusters(t)
		w.pass(t, "there", "here", nil)
		var o outcome
		if err := w.withdraw(t.Context(), w.actor, owner, behavior, &o); err != nil || !o.withdrawn {
			t.Fatal(err)
		}
		if w.host.names() != left {
			t.Errorf("%s: the host has %q", behavior, w.host.names())
		}
	}
	// A cluster that is deregistered leaves what is there for it.
	w := newTwoClusters(t)
	w.pass(t, "there", "here", nil)
	if err := w.forget(t.Context(), w.actor.target.Ref, owner.Key()); err != nil {
		t.Fatal(err)
	}
	if owns, err := w.Deployer.Owns(t.Context(), inventory.Host(), owner.Key().For(w.actor.target.Ref)); owns || err != nil || w.host.names() != "here" {
		t.Errorf("owned %t, %v; the host has %q", owns, err, w.host.names())
	}
}

// A tenant's profile acts as the tenant on the host too.
func TestTheHostIsWrittenAsTheTenant(t *testing.T) {
	w := newTwoClusters(t)
	as := fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}
	w.actor.as = as
	w.pass(t, "there", "here", nil)
	if last := w.hostCluster.asked[len(w.hostCluster.asked)-1]; last != as {
		t.Errorf("written as %+v", last)
	}
}

func TestReferencesSayHowTheirObjectsAreApplied(t *testing.T) {
	host := hostObjects{
		"ConfigMap/civo/a": configMap("civo", "a", map[string]string{"a.yaml": namespaceManifest}),
		"ConfigMap/civo/b": configMap("civo", "b", map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: one}}, {metadata: {name: two}}]\n"}),
	}
	host["ConfigMap/civo/a"].SetAnnotations(map[string]string{"projectsveltos.io/subresources": "status, scale,"})
	refs := []configv1beta1.PolicyRef{
		{Kind: "ConfigMap", Name: "a", Tier: 7, Force: true},
		{Kind: "ConfigMap", Name: "gone"},
		{Kind: "ConfigMap", Name: "b", DeploymentType: libv1beta1.DeploymentTypeLocal},
	}
	b, _ := newBuilder(t, "", host)
	b.continueOnError = true
	list := b.objects(t.Context(), refs)
	if len(list.Objects) != 1 || list.Err == nil || !strings.Contains(list.Err.Error(), "policyRefs[1]") {
		t.Fatalf("%d objects, %v", len(list.Objects), list.Err)
	}
	got := list.Objects[0]
	if !got.Force || got.Source.Tier != 7 {
		t.Errorf("object %+v", got)
	}
	if diff := cmp.Diff([]string{"status", "scale"}, got.Subresources); diff != "" {
		t.Errorf("subresources (-want +got):\n%s", diff)
	}
	if local := b.local[deploy.Resources]; len(local) != 2 || local[1].Content.GetName() != "two" {
		t.Errorf("local %v", local)
	}
	// Without leave to go on, what comes behind is not even looked at.
	b, _ = newBuilder(t, "", host)
	if b.objects(t.Context(), refs); len(b.local) != 0 {
		t.Errorf("local %v", b.local)
	}
}
