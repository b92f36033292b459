// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// unseen is how long a change of an object of the host that is ignored is waited for:
// several times what another one takes.
const unseen = 3 * time.Second

// lua marks a source as a Lua script that makes manifests.
func lua() map[string]string { return map[string]string{"projectsveltos.io/lua": "ok"} }

// applyIngress makes an object of a kind of the host that Muster reads only if it is
// given the right to.
func (s *scope) applyIngress(name, class string) {
	s.Helper()
	s.apply(fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {namespace: %s, name: %s}, spec: {ingressClassName: %s, defaultBackend: {service: {name: web, port: {number: 80}}}}}",
		s.name, name, class))
}

// grantIngresses lets Muster read Ingresses in the scope's namespace.
func (s *scope) grantIngresses() {
	s.Helper()
	s.apply(fmt.Sprintf("{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: %s, name: ingresses}, rules: [{apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [get, list, watch]}]}", s.name))
	s.apply(fmt.Sprintf("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {namespace: %s, name: ingresses}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: ingresses}, subjects: [{kind: ServiceAccount, namespace: %s, name: %s}]}",
		s.name, fleet.Namespace, fleet.ServiceAccount))
}

// setIngressStatus has the Ingress answer at an address.
func (s *scope) setIngressStatus(name, address string) {
	s.Helper()
	s.kubectl("patch", "ingress", name, "--namespace="+s.name, "--subresource=status", "--type=merge",
		"--patch", `{"status":{"loadBalancer":{"ingress":[{"ip":"`+address+`"}]}}}`)
}

// TestTemplateResources: templates and Lua generators see objects of the host. A change of
// one deploys again at once, unless it is of what the profile ignores; a right that is
// missing is named, and an object that is missing takes nothing away.
func TestTemplateResources(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	name, made := s.name+"-seen", s.name+"-made"
	const seen = "{{ .MgmtResources.front.spec.ingressClassName }} {{ with getField `front` `status.loadBalancer.ingress` }}{{ (first .).ip }}{{ else }}nowhere{{ end }} {{ with getResource `extra` }}{{ .data.word }}{{ else }}alone{{ end }}"
	s.applyRaw(source{name: "seen", annotations: template(), data: documents(settings(name, seen))})
	s.applyRaw(source{name: "made", annotations: lua(), data: map[string]string{"a.lua": `
function evaluate()
  local json = require("json")
  local class = resources.front.spec.ingressClassName
  local word = resources.extra and resources.extra.data.word or "alone"
  return {resources = json.encode({apiVersion = "v1", kind = "ConfigMap",
    metadata = {namespace = "` + contentNamespace + `", name = "` + made + `"}, data = {value = class .. " " .. word}})}
end`}})
	s.applyIngress("front", "first")
	s.applySpec(fmt.Sprintf("templateResourceRefs: ["+
		"{identifier: front, ignoreStatusChanges: true, resource: {apiVersion: networking.k8s.io/v1, kind: Ingress, namespace: '{{ .Cluster.metadata.namespace }}', name: front}}, "+
		"{identifier: extra, optional: true, watchFields: [data.word], resource: {apiVersion: v1, kind: ConfigMap, name: '{{ .Cluster.metadata.name }}-extra'}}], "+
		"policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: seen}, {kind: ConfigMap, namespace: %[1]s, name: made}]", s.name))
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "templateResourceRefs[0] (front): Ingress "+s.name+"/front",
		`{apiGroups: ["networking.k8s.io"], resources: [ingresses], verbs: [get, list, watch]}`)

	s.grantIngresses()
	s.awaitValue("cluster1", name, "first nowhere alone")
	s.awaitValue("cluster1", made, "first alone")
	s.provisioned(s.name)
	s.applyIngress("front", "second")
	s.eventually("the change is deployed at once", soon, s.hasValue("cluster1", name, "second nowhere alone"))
	s.awaitValue("cluster1", made, "second alone")

	s.setIngressStatus("front", "192.0.2.1")
	s.always("a change of the status deploys nothing", unseen, s.hasValue("cluster1", name, "second nowhere alone"))
	extra := func(word, other string) {
		s.apply(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: cluster1-extra}, data: {word: %s, other: %s}}", s.name, word, other))
	}
	extra("hello", "a")
	s.awaitValue("cluster1", name, "second 192.0.2.1 hello")
	s.awaitValue("cluster1", made, "second hello")
	s.setIngressStatus("front", "192.0.2.2")
	extra("hello", "b")
	s.always("a change of what is not watched deploys nothing", unseen, s.hasValue("cluster1", name, "second 192.0.2.1 hello"))
	extra("bye", "b")
	s.awaitValue("cluster1", name, "second 192.0.2.2 bye")

	untouched := s.staysUntouched("cluster1", name)
	s.kubectl("delete", "ingress", "front", "--namespace="+s.name)
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, "templateResourceRefs[0] (front): Ingress "+s.name+"/front of the host: does not exist")
	if err := errors.Join(untouched(s.Context()), s.hasValue("cluster1", name, "second 192.0.2.2 bye")(s.Context())); err != nil {
		t.Errorf("an object that is missing disturbed what was there: %v", err)
	}
	s.applyIngress("front", "third")
	s.awaitValue("cluster1", name, "third nowhere bye")
	s.tenantsReadTheirOwn()
}

// tenantsReadTheirOwn: a Profile reads neither objects without a namespace nor, by a
// template, those of another one, and a Secret that a template sees is in no error.
func (s *scope) tenantsReadTheirOwn() {
	s.Helper()
	profile := func(kind, apiVersion, namespace, object string) {
		s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: Profile, metadata: {namespace: %[1]s, name: tenant}, spec: {%[2]s, policyRefs: [{kind: ConfigMap, name: quoting}], "+
			"templateResourceRefs: [{identifier: it, resource: {apiVersion: %[3]s, kind: %[4]s, namespace: '%[5]s', name: %[6]s}}]}}",
			s.name, s.everywhere(), apiVersion, kind, namespace, object))
	}
	canary := "canary-" + s.name
	s.applyRaw(source{name: "quoting", annotations: template(), data: documents("{{ fail (.MgmtResources.it.data.word | b64dec) }}")})
	for name, annotations := range map[string]string{"words": "{muster.projectsveltos.io/template-resource: ''}", "theirs": "{}"} {
		s.apply(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {namespace: %s, name: %s, annotations: %s}, stringData: {word: %s}}", s.name, name, annotations, canary))
	}
	for _, tt := range []struct{ kind, apiVersion, namespace, object, says string }{
		{"Namespace", "v1", "", "default", "the kind has no namespace"},
		{"ConfigMap", "v1", "{{ `kube-system` }}", "extension-apiserver-authentication", "reads from its own namespace"},
		{"Unheard", "example.com/v1", "", "x", "the host has no kind Unheard"},
		{"Secret", "v1", "", "theirs", "it is not for profiles"},
		{"Secret", "v1", "", "words", "withheld"},
	} {
		profile(tt.kind, tt.apiVersion, tt.namespace, tt.object)
		s.eventually("the Profile says: "+tt.says, deploySoon, func(ctx context.Context) error {
			summary, err := s.summary(ctx, "p--tenant", "cluster1")
			if err == nil && (summary == nil || !strings.Contains(asJSON(summary.Status), tt.says)) {
				err = fmt.Errorf("the summary is %s", asJSON(summary))
			}
			return err
		})
	}
	s.wantNoTrace(canary)
}

// TestBombs: templates, scripts and kustomizations that want more than they may have end,
// say at which limit, and disturb nobody.
func TestBombs(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.register("cluster2", map[string]string{"bombs": s.name})
	neighbour := func(value string) {
		s.applyRaw(source{name: "content", annotations: template(), data: documents(settings(s.name, value+" of {{ .Cluster.metadata.name }}"))})
	}
	neighbour("first")
	s.applyProfile(s.name, "content", s.everywhere())
	s.awaitValue("cluster1", s.name, "first of cluster1")

	s.applyRaw(source{name: "template", annotations: template(), data: documents("{{ range 2000000000000 }}{{ end }}")})
	s.applyRaw(source{name: "memory", annotations: template(), data: documents("{{ $s := `xx` }}{{ range 100 }}{{ $s = print $s $s }}{{ end }}")})
	s.applyRaw(source{name: "script", annotations: lua(), data: map[string]string{"a.lua": "function evaluate()\n  while true do end\nend"}})
	s.applyKustomization("patchwork", patchwork())
	bombs := map[string]string{
		"template": "evaluation ", "memory": "evaluation ", "script": "evaluation took too long", "patchwork": "evaluation ",
	}
	for name := range bombs {
		refs := "policyRefs"
		if name == "patchwork" {
			refs = "kustomizationRefs"
		}
		s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %[1]s-%[2]s}, spec: {clusterSelector: {matchLabels: {bombs: %[1]s}}, %[3]s: [{kind: ConfigMap, namespace: %[1]s, name: %[2]s}]}}",
			s.name, name, refs))
	}
	for i := range 5 {
		value := fmt.Sprintf("change %d", i)
		began := time.Now()
		neighbour(value)
		s.awaitValue("cluster1", s.name, value+" of cluster1")
		t.Logf("a change beside the bombs took %s", time.Since(began))
	}
	for name, says := range bombs {
		s.awaitFailure(s.name+"-"+name, "cluster2", configv1beta1.ReasonSourceInvalid, "ConfigMap "+s.name+"/"+name, says)
	}
}

// patchwork is a kustomization with so many patches for so many objects that its build
// takes minutes.
func patchwork() map[string]string {
	var objects, list strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&objects, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\n", i)
	}
	list.WriteString("resources: [a.yaml]\npatches:\n")
	for i := range 3000 {
		fmt.Fprintf(&list, "- {target: {kind: ConfigMap}, patch: '[{\"op\": \"add\", \"path\": \"/data\", \"value\": {\"v\": \"%d\"}}]'}\n", i)
	}
	return map[string]string{"kustomization.yaml": list.String(), "a.yaml": objects.String()}
}
