// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/kustomize"
	"github.com/muster-project/muster/pkg/render/remote"
	"github.com/muster-project/muster/pkg/script"
)

// hostObjects are the ConfigMaps and Secrets of a host, by kind/namespace/name.
type hostObjects map[string]client.Object

func (h hostObjects) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch out := into.(type) {
	case *corev1.ConfigMap:
		if found, ok := h["ConfigMap/"+key.String()]; ok {
			found.(*corev1.ConfigMap).DeepCopyInto(out)
			return nil
		}
	case *corev1.Secret:
		if found, ok := h["Secret/"+key.String()]; ok {
			found.(*corev1.Secret).DeepCopyInto(out)
			return nil
		}
	}
	return apierrors.NewNotFound(corev1.Resource("object"), key.Name)
}

func (h hostObjects) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.ErrUnsupported
}

// inProcess evaluates templates here: what is under test is what is given to
// them.
type inProcess struct{}

func (inProcess) RenderTemplate(_ context.Context, t script.Template) (string, error) {
	parsed, err := template.New(t.Name).Option("missingkey=error").Parse(t.Text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = parsed.Execute(&out, t.Data)
	return out.String(), err
}

func configMap(namespace, name string, data map[string]string) client.Object {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
}

const namespaceManifest = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: made\n"

func newBuilder(t *testing.T, tenant string, host hostObjects) (*requestBuilder, *[]sourceRef) {
	t.Helper()
	cluster := &libv1beta1.SveltosCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "cluster1", Labels: map[string]string{"env": "prod"}},
		Spec:       libv1beta1.SveltosClusterSpec{Data: map[string]string{"where": "other"}},
	}
	data, err := templateData(cluster)
	if err != nil {
		t.Fatal(err)
	}
	read := &[]sourceRef{}
	return &requestBuilder{
		host: host, renderer: &render.Renderer{Templates: inProcess{}}, data: data, namespace: "civo", tenant: tenant,
		kustomizations: kustomize.NewBuilder(kustomize.InProcess(render.CheckYAML)), changes: &render.Changes{},
		fetcher: remote.NewFetcher(remote.Options{}), now: func() time.Time { return noon },
		reads:       func(s sourceRef) { *read = append(*read, s) },
		hostObjects: &anyObjects{},
	}, read
}

func TestPolicyRefs(t *testing.T) {
	host := hostObjects{
		"ConfigMap/default/good": configMap("default", "good", map[string]string{"a.yaml": namespaceManifest}),
		"ConfigMap/civo/mine":    configMap("civo", "mine", map[string]string{"a.yaml": namespaceManifest}),
		"ConfigMap/other/theirs": configMap("other", "theirs", map[string]string{"a.yaml": namespaceManifest}),
	}
	ref := func(namespace, name string) configv1beta1.PolicyRef {
		return configv1beta1.PolicyRef{Kind: "ConfigMap", Namespace: namespace, Name: name}
	}
	tests := []struct {
		name    string
		tenant  string
		refs    []configv1beta1.PolicyRef
		objects int
		wantErr string
	}{
		{name: "named", refs: []configv1beta1.PolicyRef{ref("default", "good")}, objects: 1},
		{name: "without a namespace it is the cluster's", refs: []configv1beta1.PolicyRef{ref("", "mine")}, objects: 1},
		{name: "names see what upstream shows them", refs: []configv1beta1.PolicyRef{ref("{{ .ClusterNamespace }}", `{{ if eq .ClusterName "cluster1" }}mine{{ end }}`)}, objects: 1},
		{name: "names are templates", refs: []configv1beta1.PolicyRef{ref("{{ .Cluster.spec.data.where }}", "theirs")}, objects: 1},
		{
			name: "what comes before a missing source is kept, and the source is named",
			refs: []configv1beta1.PolicyRef{ref("default", "good"), ref("default", "gone")}, objects: 1, wantErr: "policyRefs[1]: ConfigMap default/gone",
		},
		{name: "a Profile reads its own namespace", tenant: "civo", refs: []configv1beta1.PolicyRef{ref("", "mine")}, objects: 1},
		{
			name: "a Profile's template cannot reach another namespace", tenant: "civo",
			refs: []configv1beta1.PolicyRef{ref("{{ .Cluster.spec.data.where }}", "theirs")}, wantErr: `own namespace "civo" only`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, _ := newBuilder(t, test.tenant, host)
			list := b.objects(t.Context(), test.refs)
			if len(list.Objects) != test.objects {
				t.Errorf("%d objects, want %d", len(list.Objects), test.objects)
			}
			if (list.Err == nil) != (test.wantErr == "") || (list.Err != nil && !strings.Contains(list.Err.Error(), test.wantErr)) {
				t.Errorf("error is %v, want %q in it", list.Err, test.wantErr)
			}
		})
	}
}

func TestAMissingSourceIsRememberedSoThatItsAppearanceCounts(t *testing.T) {
	b, read := newBuilder(t, "", hostObjects{})
	list := b.objects(t.Context(), []configv1beta1.PolicyRef{{Kind: "ConfigMap", Namespace: "default", Name: "gone"}})
	var missing *SourceError
	if !errors.As(list.Err, &missing) || reasonOf(list.Err) != configv1beta1.ReasonSourceMissing {
		t.Errorf("error is %v, want a SourceError", list.Err)
	}
	if len(*read) != 1 || (*read)[0].Name != "gone" {
		t.Errorf("noted sources: %v, want the missing one", *read)
	}
}

// A source that is there and may not be read is none that is missing.
func TestASourceOutOfReachIsSaidToBe(t *testing.T) {
	host := hostObjects{"ConfigMap/default/there": configMap("default", "there", map[string]string{"a.yaml": namespaceManifest})}
	for _, kind := range []string{"ConfigMap", "Secret"} {
		b, _ := newBuilder(t, "", nil)
		b.host = reach.Namespaces{"civo"}.Reader(host)
		list := b.objects(t.Context(), []configv1beta1.PolicyRef{{Kind: kind, Namespace: "default", Name: "there"}})
		if list.Err == nil || reasonOf(list.Err) != configv1beta1.ReasonSourceInvalid {
			t.Fatalf("%s: error is %v", kind, list.Err)
		}
		for _, want := range []string{kind + " default/there", `namespace "default"`, "--source-namespaces"} {
			if !strings.Contains(list.Err.Error(), want) {
				t.Errorf("%q does not mention %s", list.Err, want)
			}
		}
	}
}

func TestCharts(t *testing.T) {
	b, _ := newBuilder(t, "", nil)
	list := b.charts(t.Context(), []configv1beta1.HelmChart{{
		RepositoryURL: "https://charts.example/", RepositoryName: "k", ChartName: "k/kyverno", ChartVersion: "v3.3.3",
		ReleaseName: "kyverno-{{ .Cluster.metadata.labels.env }}", ReleaseNamespace: "kyverno",
		Values: "where: {{ .Cluster.metadata.name }}\n", HelmChartAction: configv1beta1.HelmChartActionUninstall,
	}})
	if list.Err != nil {
		t.Fatal(list.Err)
	}
	got := list.Charts[0]
	if got.Name != "kyverno-prod" || got.Namespace != "kyverno" || !got.Uninstall || got.Ref.Version != "v3.3.3" {
		t.Errorf("chart is %+v", got)
	}
	if diff := cmp.Diff(map[string]any{"where": "cluster1"}, got.Values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	bad := b.charts(t.Context(), []configv1beta1.HelmChart{{ReleaseName: "r", ReleaseNamespace: "n", Values: "[1]"}})
	if bad.Err == nil || !strings.Contains(bad.Err.Error(), "helmCharts[0]: values of release n/r") {
		t.Errorf("error of values that are no map is %v", bad.Err)
	}
}

func TestFingerprint(t *testing.T) {
	summary := func() *configv1beta1.ClusterSummary {
		s := summaryOf(configv1beta1.SyncModeContinuous, 1)
		s.Spec.ProfileRevision = "r1"
		return s
	}
	of := func(change func(*configv1beta1.ClusterSummary, *libv1beta1.SveltosCluster)) string {
		s, c := summary(), readyCluster()
		if change != nil {
			change(s, c)
		}
		print, err := fingerprint(s, c)
		if err != nil {
			t.Fatal(err)
		}
		return print
	}
	base := of(nil)
	for name, change := range map[string]func(*configv1beta1.ClusterSummary, *libv1beta1.SveltosCluster){
		"revision":   func(s *configv1beta1.ClusterSummary, _ *libv1beta1.SveltosCluster) { s.Spec.ProfileRevision = "r2" },
		"withdrawal": func(s *configv1beta1.ClusterSummary, _ *libv1beta1.SveltosCluster) { s.Spec.Withdraw = true },
		"labels": func(_ *configv1beta1.ClusterSummary, c *libv1beta1.SveltosCluster) {
			c.Labels = map[string]string{"a": "b"}
		},
		"data": func(_ *configv1beta1.ClusterSummary, c *libv1beta1.SveltosCluster) {
			c.Spec.Data = map[string]string{"a": "b"}
		},
		"another answer": func(_ *configv1beta1.ClusterSummary, c *libv1beta1.SveltosCluster) { c.Status.ClusterID = "x" },
	} {
		if of(change) == base {
			t.Errorf("a change of %s is not seen", name)
		}
	}
	if of(func(_ *configv1beta1.ClusterSummary, c *libv1beta1.SveltosCluster) {
		c.Status.Ready, c.Status.ConnectionFailures = false, 2
	}) != base {
		t.Error("a cluster that comes and goes is deployed to again")
	}
}
