// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/script/fieldpath"
)

// anyObjects are objects of a host, by kind/namespace/name, and what was wanted of it last.
type anyObjects struct {
	objects map[string]map[string]any
	wants   []hostobjects.Want
}

func (h *anyObjects) Read(_ context.Context, _ types.NamespacedName, wants []hostobjects.Want) []hostobjects.Answer {
	h.wants = wants
	answers := make([]hostobjects.Answer, len(wants))
	for i, want := range wants {
		content := h.objects[want.Kind.Kind+"/"+want.Namespace+"/"+want.Name]
		switch {
		case content != nil:
			answers[i].Object = &unstructured.Unstructured{Object: content}
		case want.Kind.Kind == "None":
			answers[i].Err = &hostobjects.Error{Want: want, Err: &meta.NoKindMatchError{GroupKind: want.Kind.GroupKind()}}
		case want.Kind.Kind == "Hidden":
			answers[i].Err = &hostobjects.Error{Want: want, Err: apierrors.NewForbidden(schema.GroupResource{}, want.Name, nil)}
		default:
			answers[i].Err = &hostobjects.Error{Want: want, Err: apierrors.NewNotFound(schema.GroupResource{}, want.Name)}
		}
	}
	return answers
}

func resource(identifier, kind, name string) configv1beta1.TemplateResourceRef {
	return configv1beta1.TemplateResourceRef{Identifier: identifier, Resource: corev1.ObjectReference{APIVersion: "v1", Kind: kind, Name: name}}
}

const hunter = "hunter2-hunter2"

func hostOf() *anyObjects {
	return &anyObjects{objects: map[string]map[string]any{
		"Widget/civo/mine":   {"kind": "Widget", "spec": map[string]any{"size": int64(3)}},
		"Widget/other/their": {"kind": "Widget", "spec": map[string]any{"size": int64(7)}},
		"Secret/civo/keys":   {"kind": "Secret", "type": render.SecretType, "data": map[string]any{"password": "aHVudGVyMi1odW50ZXIy"}},
		"Secret/civo/theirs": {"kind": "Secret", "type": "Opaque", "data": map[string]any{"password": "aHVudGVyMi1odW50ZXIy"}},
		"Secret/civo/marked": {
			"kind": "Secret", "type": "Opaque", "data": map[string]any{"password": "aHVudGVyMi1odW50ZXIy"},
			"metadata": map[string]any{"annotations": map[string]any{libv1beta1.AnnotationTemplateResource: ""}},
		},
	}}
}

func TestTemplateResources(t *testing.T) {
	b, _ := newBuilder(t, "tenant", nil)
	host := hostOf()
	b.hostObjects = host
	limited := resource("a", "Widget", "{{ with .ClusterName }}mine{{ end }}")
	limited.IgnoreStatusChanges, limited.WatchFields = true, []string{"spec.size"}
	elsewhere := resource("b", "Widget", "their")
	elsewhere.Resource.Namespace = "{{ .Cluster.spec.data.where }}"
	if err := b.resources(t.Context(), []configv1beta1.TemplateResourceRef{limited, elsewhere}); err != nil {
		t.Fatal(err)
	}
	want := []hostobjects.Want{
		{
			Kind: schema.GroupVersionKind{Version: "v1", Kind: "Widget"}, Namespace: "civo", Name: "mine", Tenant: "tenant",
			Filter: hostobjects.Filter{IgnoreStatus: true, Fields: []fieldpath.Path{{"spec", "size"}}},
		},
		{Kind: schema.GroupVersionKind{Version: "v1", Kind: "Widget"}, Namespace: "other", Name: "their", Tenant: "tenant"},
	}
	if diff := cmp.Diff(want, host.wants); diff != "" {
		t.Errorf("wanted of the host (-want +got):\n%s", diff)
	}
	got, err := b.renderer.String(t.Context(), "x", "{{ .MgmtResources.a.spec.size }}{{ .MgmtResources.b.spec.size }}", b.data)
	if err != nil || got != "37" {
		t.Errorf("templates see %q, %v", got, err)
	}
	if b.private {
		t.Error("without a Secret errors quote nothing")
	}
}

func TestTemplateResourcesThatAreMissing(t *testing.T) {
	for kind, reason := range map[string]string{
		"Widget": configv1beta1.ReasonSourceMissing, "None": configv1beta1.ReasonSourceMissing, "Hidden": configv1beta1.ReasonSourceInvalid,
	} {
		b, _ := newBuilder(t, "", nil)
		b.hostObjects = hostOf()
		ref := resource("id", kind, "gone")
		spec := &configv1beta1.ProfileSpec{
			TemplateResourceRefs: []configv1beta1.TemplateResourceRef{ref},
			PolicyRefs:           []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "a"}},
		}
		request := b.request(t.Context(), inventory.Owner{}, "", "", spec)
		if len(request.Objects) != 1 || request.Objects[0].Err == nil || len(request.Objects[0].Objects) > 0 {
			t.Fatalf("%s: the request is %+v", kind, request)
		}
		err := request.Objects[0].Err
		if !strings.Contains(err.Error(), "templateResourceRefs[0] (id): "+kind+" civo/gone of the host") || reasonOf(err) != reason {
			t.Errorf("%s: %s: %v", kind, reasonOf(err), err)
		}

		b, _ = newBuilder(t, "", nil)
		b.hostObjects = hostOf()
		ref.Optional = true
		err = b.resources(t.Context(), []configv1beta1.TemplateResourceRef{ref})
		if (err != nil) != (kind == "Hidden") {
			t.Errorf("%s, optional: %v", kind, err)
		}
		if kind == "Hidden" {
			continue
		}
		got, err := b.renderer.String(t.Context(), "x", "{{ if .MgmtResources.id }}there{{ else }}missing{{ end }}", b.data)
		if err != nil || got != "missing" {
			t.Errorf("%s: templates see %q, %v", kind, got, err)
		}
		// A kind that comes is told by nobody.
		if due := kind == "None"; due != !b.due.IsZero() || due && b.due.Sub(noon) != time.Minute {
			t.Errorf("%s: it is looked again at %s", kind, b.due)
		}
	}
}

// Not every Secret of the host is for everybody who may write a profile.
func TestSecretsThatAreForProfiles(t *testing.T) {
	for name, allowed := range map[string]bool{"keys": true, "marked": true, "theirs": false} {
		b, _ := newBuilder(t, "", nil)
		b.hostObjects = hostOf()
		err := b.resources(t.Context(), []configv1beta1.TemplateResourceRef{resource("id", "Secret", name)})
		if allowed != (err == nil) || b.private != allowed {
			t.Errorf("%s: %v, private is %t", name, err, b.private)
		}
		if !allowed && (reasonOf(err) != configv1beta1.ReasonSourceInvalid || !strings.Contains(err.Error(), "Secret civo/theirs of the host: may not be read: it is not for profiles")) {
			t.Errorf("%s: %s: %v", name, reasonOf(err), err)
		}
	}
}

func TestBadTemplateResources(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*configv1beta1.TemplateResourceRef)
		want   string
	}{
		"empty name":   {func(r *configv1beta1.TemplateResourceRef) { r.Resource.Name = `{{ "" }}` }, "its name is empty"},
		"bad template": {func(r *configv1beta1.TemplateResourceRef) { r.Resource.Name = `{{ .None }}` }, "map has no entry"},
		"bad version":  {func(r *configv1beta1.TemplateResourceRef) { r.Resource.APIVersion = "a/b/c" }, "a/b/c"},
		"bad path":     {func(r *configv1beta1.TemplateResourceRef) { r.WatchFields = []string{"a["} }, "watchFields"},
	} {
		b, _ := newBuilder(t, "", nil)
		b.hostObjects = hostOf()
		ref := resource("id", "Widget", "mine")
		tt.change(&ref)
		err := b.resources(t.Context(), []configv1beta1.TemplateResourceRef{ref})
		if err == nil || !strings.Contains(err.Error(), "templateResourceRefs[0] (id): ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A template that sees a Secret says nothing of it in any error, whatever it does with it.
func TestSecretsThatTemplatesSeeAreNotQuoted(t *testing.T) {
	const quoting = `{{ fail .MgmtResources.keys.data.password }}`
	host := templatesOf(quoting, "metadata: [{{ .MgmtResources.keys.data.password | b64dec }}")
	spec := func(change func(*configv1beta1.ProfileSpec)) *configv1beta1.ProfileSpec {
		s := &configv1beta1.ProfileSpec{TemplateResourceRefs: []configv1beta1.TemplateResourceRef{resource("keys", "Secret", "keys")}}
		change(s)
		return s
	}
	chart := configv1beta1.HelmChart{RepositoryURL: "https://x", ChartName: "a/b", ReleaseName: "r", ReleaseNamespace: "n"}
	for name, change := range map[string]func(*configv1beta1.ProfileSpec){
		"a template": func(s *configv1beta1.ProfileSpec) {
			s.PolicyRefs = []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "quoting"}}
		},
		"what a template makes": func(s *configv1beta1.ProfileSpec) {
			s.PolicyRefs = []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "broken"}}
		},
		"a patch": func(s *configv1beta1.ProfileSpec) {
			s.PolicyRefs = []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "good"}}
			s.Patches = append(s.Patches, patchOf("[{op: replace, path: /missing/{{ .MgmtResources.keys.data.password }}, value: 1}]"))
		},
		"a chart's field": func(s *configv1beta1.ProfileSpec) {
			c := chart
			c.ChartVersion = quoting
			s.HelmCharts = []configv1beta1.HelmChart{c}
		},
		"values": func(s *configv1beta1.ProfileSpec) {
			c := chart
			c.Values = "[{{ .MgmtResources.keys.data.password }}"
			s.HelmCharts = []configv1beta1.HelmChart{c}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newBuilder(t, "", host)
			b.hostObjects = hostOf()
			b.renderer = newWorkers(t)
			request := b.request(t.Context(), inventory.Owner{}, "", "", spec(change))
			err := request.Charts.Err
			for _, list := range request.Objects {
				err = errors.Join(err, list.Err)
			}
			if err == nil {
				t.Fatal("there is no error")
			}
			for _, secret := range []string{hunter, "aHVudGVyMi1odW50ZXIy"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("it is quoted: %v", err)
				}
			}
		})
	}
}

// What the Secrets hold is in no error of the cluster's either.
func TestWhatTemplatesSeeIsMasked(t *testing.T) {
	host := templatesOf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: '{{ .MgmtResources.keys.data.password }}'}\n", "")
	b, _ := newBuilder(t, "", host)
	b.hostObjects = hostOf()
	chart := configv1beta1.HelmChart{RepositoryURL: "https://x", ChartName: "a/b", ReleaseName: "r", ReleaseNamespace: "n", Values: "a: 'x-{{ .MgmtResources.keys.data.password }}'"}
	request := b.request(t.Context(), inventory.Owner{}, "", "", &configv1beta1.ProfileSpec{
		TemplateResourceRefs: []configv1beta1.TemplateResourceRef{resource("keys", "Secret", "keys")},
		PolicyRefs:           []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "quoting"}},
		HelmCharts:           []configv1beta1.HelmChart{chart, chart},
	})
	if err := errors.Join(request.Objects[0].Err, request.Charts.Err); err != nil {
		t.Fatal(err)
	}
	if !request.Objects[0].Objects[0].Source.Private {
		t.Error("an object that a template with a Secret made may be quoted")
	}
	for _, c := range request.Charts.Charts {
		sensitive := strings.Join(c.Sensitive, " ")
		if !strings.Contains(sensitive, hunter) || !strings.Contains(sensitive, "x-aHVudGVyMi1odW50ZXIy") {
			t.Errorf("sensitive of a chart: %q", c.Sensitive)
		}
	}
	result := b.masked(deploy.Result{
		Err:      errors.New("with " + hunter),
		Features: map[deploy.Feature]deploy.FeatureResult{deploy.Helm: {Err: errors.New("also with aHVudGVyMi1odW50ZXIy")}},
	})
	if err := resultError(result); strings.Contains(err.Error(), hunter) || strings.Contains(err.Error(), "aHVudGVyMi") {
		t.Errorf("it is quoted: %v", err)
	}
}

// Generators see the objects by their identifiers, and their YAML is deployed.
func TestLuaGenerators(t *testing.T) {
	const script = "function evaluate()\n  return {resources = 'apiVersion: v1\\nkind: Namespace\\nmetadata: {name: n' .. resources.a.spec.size .. '}'}\nend\n"
	made := configMap("civo", "made", map[string]string{"a.lua": script}).(*corev1.ConfigMap)
	made.Annotations = map[string]string{render.AnnotationLua: ""}
	b, _ := newBuilder(t, "", hostObjects{"ConfigMap/civo/made": made})
	b.hostObjects = hostOf()
	b.renderer = newWorkers(t)
	request := b.request(t.Context(), inventory.Owner{}, "", "", &configv1beta1.ProfileSpec{
		TemplateResourceRefs: []configv1beta1.TemplateResourceRef{resource("a", "Widget", "mine")},
		PolicyRefs:           []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "made"}},
	})
	list := request.Objects[0]
	if list.Err != nil || len(list.Objects) != 1 || list.Objects[0].Content.GetName() != "n3" {
		t.Errorf("made %+v, %v", list.Objects, list.Err)
	}
}

// forbidding is a host that lets a tenant read one name alone.
type forbidding struct {
	client.Reader
	allowed string
}

func (f forbidding) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if key.Name == f.allowed {
		return nil
	}
	if key.Name == "gone" {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	return apierrors.NewForbidden(schema.GroupResource{Resource: strings.ToLower(object.GetObjectKind().GroupVersionKind().Kind)}, key.Name, nil)
}

// What is read as Muster is given to a tenant's templates only if the tenant may read it.
func TestATenantIsGivenWhatItMayRead(t *testing.T) {
	for name, tc := range map[string]struct {
		object   string
		asTenant bool
		want     string
	}{
		"allowed": {"mine", true, ""}, "forbidden": {"theirs", true, "as the profile's tenant"}, "missing": {"gone", true, "does not exist"},
		"no tenant": {"theirs", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newBuilder(t, "", nil)
			host := &anyObjects{objects: map[string]map[string]any{"Widget/civo/mine": {"kind": "Widget"}, "Widget/civo/theirs": {"kind": "Widget"}}}
			b.host, b.hostObjects, b.asTenant = forbidding{allowed: "mine"}, host, tc.asTenant
			err := b.resources(t.Context(), []configv1beta1.TemplateResourceRef{resource("w", "Widget", tc.object)})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if tc.object == "theirs" && tc.asTenant && len(host.wants) > 0 {
				t.Error("it was read all the same")
			}
		})
	}
}
