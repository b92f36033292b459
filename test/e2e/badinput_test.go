// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// collection is where objects of a kind are created.
func (s *scope) collection(kind, version string) string {
	switch kind {
	case "ClusterSet":
		return "/apis/lib.projectsveltos.io/" + version + "/clustersets"
	case "Set":
		return "/apis/lib.projectsveltos.io/" + version + "/namespaces/" + s.name + "/sets"
	case "SveltosCluster":
		return "/apis/lib.projectsveltos.io/" + version + "/namespaces/" + s.name + "/sveltosclusters"
	case "ClusterProfile":
		return "/apis/config.projectsveltos.io/" + version + "/clusterprofiles"
	case "Profile":
		return "/apis/config.projectsveltos.io/" + version + "/namespaces/" + s.name + "/profiles"
	}
	s.Fatalf("no collection of %s", kind)
	return ""
}

// raw is a client that sends what it is given.
func (s *scope) raw() rest.Interface { return s.muster.LibV1beta1().RESTClient() }

// create tries to create an object whose spec is YAML, and returns the fields
// that the server names as causes. It leaves nothing behind.
func (s *scope) create(kind, version, metadata, spec string) (fields []string, err error) {
	s.Helper()
	group, _, _ := strings.Cut(strings.TrimPrefix(s.collection(kind, version), "/apis/"), "/")
	manifest := fmt.Sprintf("{apiVersion: %s/%s, kind: %s, metadata: {name: %s%s}, spec: {%s}}", group, version, kind, s.name, metadata, spec)
	body, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		s.Fatalf("%v\n%s", err, manifest)
	}
	err = s.raw().Post().AbsPath(s.collection(kind, version)).Param("dryRun", "All").Param("fieldValidation", "Strict").
		SetHeader("Content-Type", "application/json").Body(body).Do(s.Context()).Error()
	return causes(err), err
}

// causes are the fields that a refusal names, each once, sorted.
func causes(err error) []string {
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Details == nil {
		return nil
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		fields = append(fields, cause.Field)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// refusal is a write that must not succeed.
type refusal struct {
	name     string
	kinds    string // separated by blanks
	metadata string // YAML, after the name
	spec     string
	// field is the one path that the answer names.
	field string
	// says is in the message.
	says string
}

// refused sees to it that each is refused, at both versions, with exactly its
// field.
func (s *scope) refused(refusals []refusal) {
	s.Helper()
	for _, r := range refusals {
		for _, kind := range strings.Fields(r.kinds) {
			for _, version := range []string{"v1beta1", "v1alpha1"} {
				fields, err := s.create(kind, version, r.metadata, r.spec)
				switch {
				case err == nil:
					s.Errorf("%s: %s at %s was accepted", r.name, kind, version)
				case !apierrors.IsInvalid(err) || !slices.Equal(fields, []string{r.field}) || !strings.Contains(err.Error(), r.says):
					s.Errorf("%s: %s at %s is refused for %q with %v; want field %s and %q", r.name, kind, version, fields, err, r.field, r.says)
				}
			}
		}
	}
}

const (
	aPolicy = "policyRefs: [{kind: ConfigMap, namespace: default, name: a%s}]"
	aChart  = "helmCharts: [{repositoryURL: 'https://charts.test', repositoryName: a, chartName: a/b, chartVersion: 1.0.0, releaseName: a, releaseNamespace: a%s}]"
)

func TestBadReferencesAreRefused(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	ref := func(fields string) string { return "clusterRefs: [{" + fields + "}]" }
	const good = "apiVersion: lib.projectsveltos.io/v1beta1, kind: SveltosCluster"
	s.refused([]refusal{
		{"no name", "ClusterSet Set ClusterProfile Profile", "", ref(good + ", namespace: " + s.name), "spec.clusterRefs[0].name", "Required"},
		{"malformed name", "ClusterSet Set ClusterProfile Profile", "", ref(good + ", namespace: " + s.name + ", name: A_b"), "spec.clusterRefs[0].name", "RFC 1123"},
		{"no namespace", "ClusterSet ClusterProfile", "", ref(good + ", name: a"), "spec.clusterRefs[0].namespace", "Required"},
		{"foreign namespace", "Set Profile", "", ref(good + ", namespace: other, name: a"), "spec.clusterRefs[0].namespace", "the namespace of this object"},
		{"malformed namespace", "ClusterSet ClusterProfile", "", ref(good + ", namespace: A_b, name: a"), "spec.clusterRefs[0].namespace", "RFC 1123"},
		{"other kind", "ClusterSet ClusterProfile", "", ref("apiVersion: lib.projectsveltos.io/v1beta1, kind: Pod, namespace: a, name: a"), "spec.clusterRefs[0].kind", "SveltosCluster"},
		{"other group", "ClusterSet ClusterProfile", "", ref("apiVersion: v1, kind: SveltosCluster, namespace: a, name: a"), "spec.clusterRefs[0].apiVersion", "group"},
		{"Cluster API", "ClusterSet ClusterProfile", "", ref("apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, namespace: a, name: a"), "spec.clusterRefs[0].kind", "only a SveltosCluster"},
		{"no version", "ClusterSet ClusterProfile", "", ref("kind: SveltosCluster, namespace: a, name: a"), "spec.clusterRefs[0].apiVersion", "Required"},
		{"set without name", "ClusterProfile Profile", "", "setRefs: ['']", "spec.setRefs[0]", "Required"},
		{"malformed set", "ClusterProfile Profile", "", "setRefs: [prod, A_b]", "spec.setRefs[1]", "RFC 1123"},
		{"set twice", "ClusterProfile Profile", "", "setRefs: [prod, prod]", "spec.setRefs[1]", "Duplicate"},
		{"source without name", "ClusterProfile Profile", "", "policyRefs: [{kind: ConfigMap}]", "spec.policyRefs[0].name", "Required"},
		{"source of another kind", "ClusterProfile", "", "policyRefs: [{kind: Pod, namespace: a, name: a}]", "spec.policyRefs[0].kind", "ConfigMap"},
		{"source elsewhere", "Profile", "", "policyRefs: [{kind: ConfigMap, namespace: other, name: a}]", "spec.policyRefs[0].namespace", "the namespace of the profile"},
	})
}

func TestBadValuesAreRefused(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	chart := func(from, to string) string { return strings.Replace(fmt.Sprintf(aChart, ""), from, to, 1) }
	s.refused([]refusal{
		{"negative maxReplicas", "ClusterSet Set", "", "maxReplicas: -1", "spec.maxReplicas", "-1"},
		{"brake misspelt", "ClusterSet Set", ", annotations: {muster.projectsveltos.io/ignore-brake: 'yes'}", "maxReplicas: 1",
			"metadata.annotations[muster.projectsveltos.io/ignore-brake]", "yes"},
		{"threshold", "SveltosCluster", "", "consecutiveFailureThreshold: -1", "spec.consecutiveFailureThreshold", "between 1 and 1000"},
		{"fence misspelt", "SveltosCluster", ", annotations: {muster.projectsveltos.io/fence: 'on'}", "",
			"metadata.annotations[muster.projectsveltos.io/fence]", "on"},
		{"kubeconfig's Secret", "SveltosCluster", "", "kubeconfigName: ../x", "spec.kubeconfigName", "RFC 1123"},
		{"tier", "ClusterProfile Profile", "", "tier: -1", "spec.tier", "at least 1"},
		{"mode", "ClusterProfile Profile", "", "syncMode: Sometimes", "spec.syncMode", "OneTime"},
		{"behavior", "ClusterProfile Profile", "", "stopMatchingBehavior: Burn", "spec.stopMatchingBehavior", "LeavePolicies"},
		{"chart without repository", "ClusterProfile Profile", "", chart("'https://charts.test'", "''"), "spec.helmCharts[0].repositoryURL", "Required"},
		{"no URL", "ClusterProfile Profile", "", chart("https://charts.test", "ftp://charts.test"), "spec.helmCharts[0].repositoryURL", "https://"},
		{"release name", "ClusterProfile Profile", "", chart("releaseName: a", "releaseName: A_b"), "spec.helmCharts[0].releaseName", "lower case"},
		{"values", "ClusterProfile Profile", "", chart("releaseName: a", "releaseName: a, values: '- a'"), "spec.helmCharts[0].values", "mapping"},
		{"values that are no YAML", "ClusterProfile Profile", "", chart("releaseName: a", `releaseName: a, values: "a: b\nc: : d"`), "spec.helmCharts[0].values", "line 2"},
	})
	// A URL with a password in it is refused without repeating it.
	_, err := s.create("ClusterProfile", "v1beta1", "", chart("https://charts.test", "https://me:canary@charts.test"))
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "spec.helmCharts[0].repositoryURL") {
		t.Errorf("a password in a URL is answered with %v", err)
	}
}

func TestBadSelectorsAreRefused(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for _, kind := range []string{"ClusterSet", "Set", "ClusterProfile", "Profile"} {
		for version, selectors := range map[string][]string{
			"v1alpha1": {"'env in prod'", "'env=a=b'", "'!!x'", "'env in (a'", "'a b'", "'-x=y'"},
			"v1beta1": {
				"{matchExpressions: [{key: env, operator: Near, values: [a]}]}", "{matchExpressions: [{key: env, operator: In}]}",
				"{matchExpressions: [{key: env, operator: Exists, values: [a]}]}", "{matchLabels: {'a b': c}}", "{matchLabels: {env: 'a b'}}",
			},
		} {
			for _, selector := range selectors {
				fields, err := s.create(kind, version, "", "clusterSelector: "+selector)
				if !apierrors.IsInvalid(err) || len(fields) != 1 || !strings.HasPrefix(fields[0], "spec.clusterSelector") {
					t.Errorf("%s at %s with selector %s: %q, %v", kind, version, selector, fields, err)
				}
			}
		}
	}
}

// TestUnsupportedFieldsAreRefused is a sample of docs/compatibility.md over the
// wire; the unit tests of validation have all of it.
func TestUnsupportedFieldsAreRefused(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	policy := func(field string) string { return fmt.Sprintf(aPolicy, ", "+field) }
	chart := func(field string) string { return fmt.Sprintf(aChart, ", "+field) }
	const both = "ClusterProfile"
	s.refused([]refusal{
		{"pull mode", "SveltosCluster", "", "pullMode: true", "spec.pullMode", "no agent"},
		{"active window", "SveltosCluster", "", "activeWindow: {from: '0 1 * * *', to: '0 25 * * *'}", "spec.activeWindow.to", "cron"},
		{"shard", "SveltosCluster", ", annotations: {sharding.projectsveltos.io/key: a}", "", "metadata.annotations[sharding.projectsveltos.io/key]", "not supported yet"},
		{"drift exclusion", both, "", "driftExclusions: [{paths: [spec.replicas]}]", "spec.driftExclusions[0].paths[0]", "JSON pointer"},
		{"rolling update", both, "", "maxUpdate: 130%", "spec.maxUpdate", "percentage"},
		{"dependencies", both, "", "dependsOn: [A]", "spec.dependsOn[0]", "RFC 1123"},
		{"check", both, "", "validateHealths: [{name: a, featureID: Resources, version: v1, kind: ConfigMap, script: function}]", "spec.validateHealths[0].script", "Lua"},
		{"patch", both, "", "patches: [{patch: a}]", "spec.patches[0].patch", "mapping"},
		{"target of a patch", both, "", "patches: [{patch: 'a: b', target: {name: '['}}]", "spec.patches[0].target.name", "regular expression"},
		{"path of a kustomization", both, "", "kustomizationRefs: [{kind: ConfigMap, name: a, path: ../../etc}]", "spec.kustomizationRefs[0].path", "directory in the source"},
		{"tenant", both, ", labels: {projectsveltos.io/admin-name: a}", "", "metadata.labels[projectsveltos.io/admin-name]", "serviceaccount-name"},
		{"credentials", both, "", chart("registryCredentialsConfig: {credentials: {}}"), "spec.helmCharts[0].registryCredentialsConfig.credentials.name", "Secret"},
		{"identity", both, "", "helmCharts: [{repositoryURL: 'oci://a.test', chartName: a, releaseName: a, releaseNamespace: a, signatureVerification: {provider: Keyless}}]", "spec.helmCharts[0].signatureVerification.provider", "Sigstore"},
		{"path in a ConfigMap", both, "", policy("path: a"), "spec.policyRefs[0].path", "GitRepository"},
		{"elsewhere", both, "", policy("deploymentType: Elsewhere"), "spec.policyRefs[0].deploymentType", "Local"},
		{"order", both, "", "featureOrder: [Helm, Helm]", "spec.featureOrder[1]", "Helm"},
		{"values from", both, "", chart("valuesFrom: [{kind: Bucket, name: a}]"), "spec.helmCharts[0].valuesFrom[0].kind", "ConfigMap"},
		{"timeout of a release", both, "", chart("options: {timeout: -1s}"), "spec.helmCharts[0].options.timeout", "negative"},
		{"label of a release", both, "", chart("options: {labels: {owner: me}}"), "spec.helmCharts[0].options.labels[owner]", "found"},
		{"propagation", both, "", chart("options: {uninstallOptions: {deletionPropagation: all}}"), "spec.helmCharts[0].options.uninstallOptions.deletionPropagation", "orphan"},
	})
}

// TestUnchangedValuesAreNoObstacle: an object can be written back as it was
// read, while none of its values can be replaced by a bad one. (What was stored
// before a rule came is in TestStorage.)
func TestUnchangedValuesAreNoObstacle(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.apply(s.setManifest(1))
	sets := s.muster.LibV1beta1().ClusterSets()
	s.eventually("all of it can be written back as it was read", soon, func(ctx context.Context) error {
		set, err := sets.Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		data, err := json.Marshal(set)
		if err != nil {
			return err
		}
		return s.raw().Put().AbsPath(s.collection("ClusterSet", "v1beta1"), s.name).
			SetHeader("Content-Type", "application/json").Body(data).Do(ctx).Error()
	})
	_, err := sets.Patch(s.Context(), s.name, types.MergePatchType, []byte(`{"spec":{"maxReplicas":-1}}`), metav1.PatchOptions{})
	if fields := causes(err); !slices.Equal(fields, []string{"spec.maxReplicas"}) {
		t.Errorf("a patch with a bad value is answered with %q, %v", fields, err)
	}
}
