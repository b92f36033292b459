// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	libv1alpha1 "github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/applyconfiguration/lib/v1beta1"
	musterinformers "github.com/muster-project/muster/pkg/generated/informers/externalversions"
)

// setManifest is a ClusterSet of a scope's clusters.
func (s *scope) setManifest(maxReplicas int) string {
	return fmt.Sprintf(`
apiVersion: lib.projectsveltos.io/v1beta1
kind: ClusterSet
metadata:
  name: %s
spec:
  clusterSelector:
    matchLabels:
      scope: %s
  maxReplicas: %d
`, s.name, s.name, maxReplicas)
}

func TestKubectlVerbs(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.apply(s.setManifest(1))

	if out := s.kubectl("explain", "clusterset.spec.maxReplicas"); !strings.Contains(out, "<integer>") || !strings.Contains(out, "matching clusters") {
		t.Errorf("explain has no type or no description:\n%s", out)
	}
	for _, kind := range []string{"clusterprofile.spec.helmCharts.options.upgradeOptions", "sveltoscluster.spec.workloadIdentity", "clustersummary.status.featureSummaries"} {
		if out := s.kubectl("explain", kind); !strings.Contains(out, "DESCRIPTION") {
			t.Errorf("explain %s has no description:\n%s", kind, out)
		}
	}
	s.kubectl("patch", "clusterset", s.name, "--type=merge", "-p", `{"spec":{"maxReplicas":2}}`)
	s.kubectl("patch", "clusterset", s.name, "--type=json", "-p", `[{"op":"test","path":"/spec/maxReplicas","value":2}]`)
	s.kubectl("label", "clusterset", s.name, "team=a")
	if out := s.kubectl("get", "clustersets", "-l", "team=a", "-o", "name"); !strings.Contains(out, "clusterset.lib.projectsveltos.io/"+s.name) {
		t.Errorf("a label selector does not find the set:\n%s", out)
	}
	if out := s.kubectl("get", "clustersets", "--field-selector", "metadata.name="+s.name, "-o", "name"); strings.Count(out, "\n") != 1 {
		t.Errorf("a field selector finds:\n%s", out)
	}
	if out := s.kubectl("get", "fleet", "-A"); !strings.Contains(out, s.name) {
		t.Errorf("category fleet has no set %s:\n%s", s.name, out)
	}
	s.kubectl("wait", "clusterset/"+s.name, "--for=jsonpath={.status.observedGeneration}=2", "--timeout=20s")
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	if out := s.apply(s.setManifest(0)); !strings.Contains(out, "Warning: ") || !strings.Contains(out, "maxReplicas") {
		t.Errorf("no warning about a set that selects nothing:\n%s", out)
	}
}

func TestStrictValidationAndDryRun(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.applyFails("unknown field", strings.Replace(s.setManifest(1), "maxReplicas", "maxReplica", 1))
	s.applyFails("spec.maxReplicas", s.setManifest(-1))
	result, err := s.fleet.Host.Kubectl().Input(s.Context(), s.setManifest(1), "create", "--dry-run=server", "-f", "-")
	if err != nil {
		t.Fatalf("dry run: %v %s", err, result.Stderr)
	}
	if _, err := s.muster.LibV1beta1().ClusterSets().Get(s.Context(), s.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run left something behind: %v", err)
	}
}

func TestServerSideApplyKnowsOwners(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	sets := s.muster.LibV1beta1().ClusterSets()
	s.deleteLater(s.setManifest(1))
	desired := v1beta1.ClusterSet(s.name).WithSpec(v1beta1.ClusterSetSpec().WithMaxReplicas(1))
	if _, err := sets.Apply(s.Context(), desired, metav1.ApplyOptions{FieldManager: "one"}); err != nil {
		t.Fatal(err)
	}
	desired.Spec.WithMaxReplicas(2)
	_, err := sets.Apply(s.Context(), desired, metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "one"`) {
		t.Errorf("another manager's change is answered with %v, want a conflict that names the owner", err)
	}
	if _, err := sets.Apply(s.Context(), desired, metav1.ApplyOptions{FieldManager: "two", Force: true}); err != nil {
		t.Errorf("forced: %v", err)
	}
}

func TestStatusAndSpecAreIsolated(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	ctx := s.Context()
	s.registerUnready("cluster1", s.labels())
	clusters := s.muster.LibV1beta1().SveltosClusters(s.name)
	patch := []byte(`{"spec":{"paused":true},"status":{"version":"v0.0.1-forged"}}`)

	got, err := clusters.Patch(ctx, "cluster1", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Spec.Paused || got.Status.Version == "v0.0.1-forged" {
		t.Errorf("a write of the object has paused=%t, version=%q; want the spec alone to change", got.Spec.Paused, got.Status.Version)
	}
	got, err = clusters.Patch(ctx, "cluster1", types.MergePatchType, []byte(`{"spec":{"paused":false},"status":{"version":"v0.0.1-forged"}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	if !got.Spec.Paused || got.Status.Version != "v0.0.1-forged" {
		t.Errorf("a write of the status has paused=%t, version=%q; want the status alone to change", got.Spec.Paused, got.Status.Version)
	}
}

// TestVersions writes at one version and reads at the other.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	manifest := strings.NewReplacer("v1beta1", "v1alpha1",
		"clusterSelector:\n    matchLabels:\n      scope: "+s.name, "clusterSelector: scope="+s.name+",tier in (gold,silver),!retired").Replace(s.setManifest(1))
	s.apply(manifest)
	beta, err := s.muster.LibV1beta1().ClusterSets().Get(s.Context(), s.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	selector, err := metav1.LabelSelectorAsSelector(&beta.Spec.ClusterSelector)
	if err != nil {
		t.Fatal(err)
	}
	if want := "!retired,scope=" + s.name + ",tier in (gold,silver)"; selector.String() != want {
		t.Errorf("selector at v1beta1 is %q, want %q", selector, want)
	}
	alpha := &libv1alpha1.ClusterSet{}
	raw := s.kubectl("get", "clustersets.v1alpha1.lib.projectsveltos.io", s.name, "-o", "json")
	if err := json.Unmarshal([]byte(raw), alpha); err != nil {
		t.Fatal(err)
	}
	if want := "!retired,scope=" + s.name + ",tier in (gold,silver)"; alpha.Spec.ClusterSelector != want {
		t.Errorf("selector at v1alpha1 is %q, want %q", alpha.Spec.ClusterSelector, want)
	}
	s.applyFails("spec.clusterSelector", strings.Replace(manifest, "!retired", "!!", 1))
}

func TestPagination(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	var manifests []string
	for i := range 5 {
		manifests = append(manifests, strings.Replace(s.setManifest(1), "name: "+s.name, fmt.Sprintf("name: %s-%d\n  labels:\n    page: %s", s.name, i, s.name), 1))
	}
	s.apply(strings.Join(manifests, "---"))
	seen := map[string]bool{}
	options := metav1.ListOptions{Limit: 2, LabelSelector: "page=" + s.name}
	for pages := 0; ; pages++ {
		list, err := s.muster.LibV1beta1().ClusterSets().List(s.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) > 2 || pages > 5 {
			t.Fatalf("page %d has %d items", pages, len(list.Items))
		}
		for i := range list.Items {
			seen[list.Items[i].Name] = true
		}
		if list.Continue == "" {
			break
		}
		options.Continue = list.Continue
	}
	if len(seen) != 5 {
		t.Errorf("the pages hold %d sets, want 5", len(seen))
	}
}

// TestInformer uses the generated client and informer against the running
// server, with a streaming list as client-go asks for by default.
func TestInformer(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	factory := musterinformers.NewSharedInformerFactory(s.muster, 0)
	informer := factory.Lib().V1beta1().ClusterSets()
	events := make(chan string, 100)
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { events <- "add " + o.(*libv1beta1.ClusterSet).Name },
		UpdateFunc: func(_, o any) {
			events <- fmt.Sprintf("update %s %d", o.(*libv1beta1.ClusterSet).Name, o.(*libv1beta1.ClusterSet).Spec.MaxReplicas)
		},
		DeleteFunc: func(o any) {
			if set, ok := o.(*libv1beta1.ClusterSet); ok {
				events <- "delete " + set.Name
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	factory.StartWithContext(s.Context())
	synced, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	if !cache.WaitForCacheSync(synced.Done(), informer.Informer().HasSynced) {
		t.Fatal("the informer never synced")
	}
	s.apply(s.setManifest(1))
	s.expect(events, "add "+s.name)
	s.kubectl("patch", "clusterset", s.name, "--type=merge", "-p", `{"spec":{"maxReplicas":3}}`)
	s.expect(events, "update "+s.name+" 3")
	if got, err := informer.Lister().Get(s.name); err != nil || got.Spec.MaxReplicas != 3 {
		t.Errorf("the lister has %v, %v", got, err)
	}
	s.kubectl("delete", "clusterset", s.name)
	s.expect(events, "delete "+s.name)
}

// expect waits for one of many events.
func (s *scope) expect(events <-chan string, want string) {
	s.Helper()
	timeout := time.After(soon)
	for {
		select {
		case got := <-events:
			if got == want {
				return
			}
		case <-timeout:
			s.Fatalf("no event %q", want)
		}
	}
}

// TestWatchSendsInitialEvents is what client-go's streaming lists rely on.
func TestWatchSendsInitialEvents(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.apply(s.setManifest(1))
	yes := true
	w, err := s.muster.LibV1beta1().ClusterSets().Watch(s.Context(), metav1.ListOptions{
		SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		FieldSelector: "metadata.name=" + s.name,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var added bool
	for event := range w.ResultChan() {
		set, ok := event.Object.(*libv1beta1.ClusterSet)
		switch {
		case !ok:
			t.Fatalf("event %s with %T", event.Type, event.Object)
		case event.Type == watch.Added && set.Name == s.name:
			added = true
		case event.Type == watch.Bookmark && set.Annotations[metav1.InitialEventsAnnotationKey] == "true":
			if !added || set.ResourceVersion == "" {
				t.Errorf("the end of the initial events came with added=%t, resourceVersion=%q", added, set.ResourceVersion)
			}
			return
		}
	}
	t.Error("the watch ended before its initial events did")
}

// TestEncodings asks as clients do that prefer protobuf, which our kinds have
// not: the namespace controller and the garbage collector are such clients.
func TestEncodings(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.apply(s.setManifest(1))
	config, err := s.fleet.Host.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]string{
		"application/vnd.kubernetes.protobuf,application/json": "application/json",
		// Metadata alone may have a protobuf form; what counts is an answer.
		"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io": "application/",
		"application/yaml": "application/yaml",
		"application/json;as=Table;v=v1;g=meta.k8s.io": "application/json",
	} {
		request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, config.Host+"/apis/lib.projectsveltos.io/v1beta1/clustersets/"+s.name, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		err = errors.Join(err, response.Body.Close())
		if got := response.Header.Get("Content-Type"); err != nil || response.StatusCode != http.StatusOK || !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q is answered with %d %q, %v; want %q", accept, response.StatusCode, got, err, want)
		}
	}
}

// TestSummariesBelongToMuster: users see them, and cannot write them.
func TestSummariesBelongToMuster(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.applyFails("orbidden", `
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterSummary
metadata:
  name: forged
  namespace: `+s.name+`
spec:
  clusterNamespace: `+s.name+`
  clusterName: cluster1
  clusterType: Sveltos
`)
}
