// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// archived packs text files.
func (s *scope) archived(files map[string]string) []byte {
	s.Helper()
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o600}
		if err := w.WriteHeader(header); err != nil {
			s.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			s.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		s.Fatal(err)
	}
	return out.Bytes()
}

// applyKustomization makes a ConfigMap that holds a kustomization.
func (s *scope) applyKustomization(name string, files map[string]string) {
	s.Helper()
	s.apply(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: %s}, binaryData: {kustomize.tar.gz: %s}}", s.name, name, base64.StdEncoding.EncodeToString(s.archived(files))))
}

// applySpec applies a ClusterProfile for all of the scope's clusters.
func (s *scope) applySpec(fields string) {
	s.Helper()
	s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %s}, spec: {%s, %s}}", s.name, s.everywhere(), fields))
}

// TestKustomizations: overlay, component, values and target namespace, and then
// each thing that can be wrong with a kustomization, which disturbs nothing.
func TestKustomizations(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	name := s.name + "-built"
	good := map[string]string{
		"base/kustomization.yaml":             "resources: [settings.yaml]\n",
		"base/settings.yaml":                  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + s.name + "}\ndata: {value: '{{ .region }}'}\n",
		"overlays/prod/kustomization.yaml":    "resources: [../../base]\n",
		"components/named/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -built\n",
	}
	s.applyKustomization(s.name, good)
	ref := fmt.Sprintf("{kind: ConfigMap, namespace: %s, name: %s, path: 'overlays/{{ \"prod\" }}', components: [../../components/named], targetNamespace: %s, values: {region: 'of {{ .Cluster.metadata.name }}'}}",
		s.name, s.name, contentNamespace)
	s.applySpec("kustomizationRefs: [" + ref + "]")
	s.provisioned(s.name)
	s.awaitValue("cluster1", name, "of cluster1")
	untouched := s.staysUntouched("cluster1", name)

	for _, bad := range []struct {
		file, text string
		says       string
	}{
		{"base/kustomization.yaml", "resources: [settings.yaml, 'https://github.com/example/base//deploy?ref=v1']\n", "remote resource is not fetched"},
		{"overlays/prod/kustomization.yaml", "resources: [../../missing]\n", "a resource is not in the source"},
		{"../escape.yaml", "a: b", "leads out of the archive"},
	} {
		files := maps.Clone(good)
		files[bad.file] = bad.text
		s.applyKustomization(s.name, files)
		s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "kustomizationRefs[0]: ConfigMap "+s.name+"/"+s.name, bad.says)
	}
	s.kubectl("delete", "configmap", "-n", s.name, s.name)
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, "kustomizationRefs[0]: ConfigMap "+s.name+"/"+s.name)
	if err := errors.Join(s.hasValue("cluster1", name, "of cluster1")(s.Context()), untouched(s.Context())); err != nil {
		t.Errorf("a source that is broken or missing disturbed what was there: %v", err)
	}

	s.applyKustomization(s.name, map[string]string{"overlays/prod/kustomization.yaml": "resources: [a.yaml]\n", "overlays/prod/a.yaml": settings(s.name, "repaired"), "components/named/kustomization.yaml": good["components/named/kustomization.yaml"]})
	s.awaitValue("cluster1", name, "repaired")
	s.kubectl("delete", "clusterprofile", s.name)
	if found, err := s.content(s.Context(), "cluster1", name); err != nil || found != nil {
		t.Errorf("after the profile: %s, %v", asJSON(found), err)
	}
}

// TestPatches: the profile's patches, those of a ConfigMap, and extra labels
// reach the objects of manifests and of charts; one that is broken stops all and
// takes nothing away.
func TestPatches(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	repository := s.chartRepository()
	s.register("cluster1", s.labels())
	manifest, release := s.name+"-manifest", s.name+"-chart"
	s.applyRaw(source{name: s.name, data: documents(settings(manifest, "plain"))})
	s.apply(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: %s-values}, data: {values.yaml: 'color: blue'}}", s.name, s.name))
	patches := func(text string) {
		s.applyRaw(source{name: s.name + "-patches", data: map[string]string{"a.yaml": text}})
	}
	patches("patch: '{data: {more: \"yes\"}}'\ntarget: {kind: ConfigMap}\n")
	spec := fmt.Sprintf("policyRefs: [{kind: ConfigMap, namespace: %s, name: %s}], helmCharts: [%s], ", s.name, s.name,
		chartEntry(repository, "settings", "1.0.0", release, fmt.Sprintf(", valuesFrom: [{kind: ConfigMap, namespace: %s, name: %s-values}]", s.name, s.name))) +
		"patches: [{patch: '[{op: add, path: /data/value, value: \"of {{ .Cluster.metadata.name }}\"}]', target: {kind: ConfigMap, name: '" + s.name + "-.*'}}], " +
		"patchesFrom: [{kind: ConfigMap, namespace: " + s.name + ", name: " + s.name + "-patches}], extraLabels: {team: a}, extraAnnotations: {note: b}"
	s.applySpec(spec)
	s.provisioned(s.name)
	for _, object := range []string{manifest, release} {
		found, err := s.content(s.Context(), "cluster1", object)
		if err != nil || found == nil || found.Data["value"] != "of cluster1" || found.Data["more"] != "yes" || found.Labels["team"] != "a" || found.Annotations["note"] != "b" {
			t.Errorf("%s is %s, %v", object, asJSON(found), err)
		}
	}
	if err := s.hasChart("cluster1", release, "1.0.0", "blue")(s.Context()); err != nil {
		t.Error(err)
	}
	untouched := []func() error{}
	for _, object := range []string{manifest, release} {
		check := s.staysUntouched("cluster1", object)
		untouched = append(untouched, func() error { return check(s.Context()) })
	}

	patches("patch: '[{op: replace, path: /data/missing/deep, value: x}]'\n")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "patchesFrom[0]: ConfigMap "+s.name, "cannot be applied to ConfigMap", "an operation fails")
	patches("nonsense")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "patchesFrom[0]: ConfigMap "+s.name, "has to hold a patch")
	for _, check := range untouched {
		if err := check(); err != nil {
			t.Errorf("a patch that is broken disturbed what was there: %v", err)
		}
	}

	patches("patch: '{data: {more: again}}'\ntarget: {kind: ConfigMap}\n")
	s.provisioned(s.name)
	for _, object := range []string{manifest, release} {
		if found, err := s.content(s.Context(), "cluster1", object); err != nil || found == nil || found.Data["more"] != "again" {
			t.Errorf("%s is %s, %v", object, asJSON(found), err)
		}
	}
}

// TestRemoteSources: a file, an archive, an artifact, each fetched through a
// mirror, and what must not be fetched or unpacked.
func TestRemoteSources(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	file, packed, artifact := s.name+"-file", s.name+"-packed", s.name+"-artifact"
	serve := func(value string) {
		s.sources.put("/"+s.name+"/file.yaml", "text/plain", []byte(settings(file, value)))
	}
	serve("first of {{ .Cluster.metadata.name }}")
	s.sources.put("/"+s.name+"/packed.tar.gz", "application/gzip", s.archived(map[string]string{
		"deploy/settings.yaml": settings(packed, "packed"), "README.md": "no manifest",
	}))
	err := s.sources.putArtifact(s.name+"/app", "v1", s.archived(map[string]string{
		"prod/kustomization.yaml": "resources: [settings.yaml]\n", "prod/settings.yaml": settings(artifact, "an artifact"),
	}))
	if err != nil {
		t.Fatal(err)
	}
	spec := func(second string) {
		s.applySpec(fmt.Sprintf("policyRefs: [{remoteURL: {url: '%s/%s/file.yaml?signature=hunter2', interval: 10s, template: true}}, {remoteURL: {url: '%s'}}], "+
			"kustomizationRefs: [{remoteURL: {url: '%s/%s/app:v1'}, path: prod}]", sourcesURL, s.name, second, registryURL, s.name))
	}
	spec(sourcesURL + "/" + s.name + "/packed.tar.gz")
	s.provisioned(s.name)
	s.awaitValue("cluster1", file, "first of cluster1")
	s.awaitValue("cluster1", packed, "packed")
	s.awaitValue("cluster1", artifact, "an artifact")
	untouched := s.staysUntouched("cluster1", packed)
	serve("second")
	s.awaitValue("cluster1", file, "second")

	s.sources.put("/"+s.name+"/escape.tar", "application/x-tar", s.archived(map[string]string{"../../etc/x.yaml": settings(packed, "escaped")}))
	for _, bad := range []struct{ path, reason, says string }{
		{sourcesURL + "/" + s.name + "/missing", configv1beta1.ReasonSourceMissing, "404"},
		{sourcesURL + "/" + s.name + "/escape.tar", configv1beta1.ReasonSourceInvalid, "leads out of the archive"},
		{"http://127.0.0.2:1/a", configv1beta1.ReasonSourceInvalid, "a loopback address"},
		{sourcesURL + "/redirect/169.254.169.254/latest/meta-data", configv1beta1.ReasonSourceInvalid, "nothing is fetched from"},
		{registryURL + "/" + s.name + "/app:v2", configv1beta1.ReasonSourceMissing, "does not have it"},
	} {
		spec(bad.path)
		s.awaitFailure(s.name, "cluster1", bad.reason, "policyRefs[1]: ", bad.says)
	}
	if err := errors.Join(s.hasValue("cluster1", packed, "packed")(s.Context()), untouched(s.Context())); err != nil {
		t.Errorf("a source that cannot be fetched disturbed what was there: %v", err)
	}
	summary, err := s.summary(s.Context(), s.name, "cluster1")
	if err != nil || strings.Contains(asJSON(summary.Status), "hunter2") {
		t.Errorf("the status has the query of a URL, %v", err)
	}
}
