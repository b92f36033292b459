// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// depotFiles are a chart as people write them: definitions with an object of them, hooks,
// a test, a sub-chart, a lookup, many templates. The group of its definitions is the
// scope's, so that charts of several tests are on a cluster beside each other.
func depotFiles(version, group string) map[string]string {
	column := ""
	if version != "1.0.0" {
		column = "    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]\n"
	}
	const labels = "  labels: {app: {{ .Release.Name }}}\n"
	return map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: depot\nversion: " + version + "\ndependencies: [{name: shelf, version: 1.0.0, repository: ''}]\n",
		"values.yaml":        "color: grey\npeer: nobody\nreplicas: 1\nshelf: {slots: 3}\n",
		"values.schema.json": `{"type": "object", "properties": {"replicas": {"type": "integer"}}}`,
		"crds/crates.yaml": fmt.Sprintf("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: crates.%[1]s}\n"+
			"spec:\n  group: %[1]s\n  scope: Namespaced\n  names: {kind: Crate, plural: crates, singular: crate, listKind: CrateList}\n"+
			"  versions:\n  - name: v1\n    served: true\n    storage: true\n%[2]s"+
			"    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}\n", group, column),
		"templates/_helpers.tpl": `{{ define "depot.peer" }}{{ with lookup "v1" "ConfigMap" .Release.Namespace .Values.peer }}{{ .data.by }}{{ else }}none{{ end }}{{ end }}`,
		"templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n" + labels +
			"data:\n  version: {{ .Chart.Version | quote }}\n  color: {{ .Values.color | quote }}\n  peer: {{ include \"depot.peer\" . | quote }}\n",
		"templates/crate.yaml":   "apiVersion: " + group + "/v1\nkind: Crate\nmetadata:\n  name: {{ .Release.Name }}\nspec: {size: {{ .Values.replicas }}}\n",
		"templates/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {{ .Release.Name }}\n",
		"templates/role.yaml":    "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: {{ .Release.Name }}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]\n",
		"templates/binding.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: {{ .Release.Name }}\n" +
			"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .Release.Name }}}\nsubjects: [{kind: ServiceAccount, name: {{ .Release.Name }}}]\n",
		"templates/secret.yaml":  "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}\nstringData: {color: {{ .Values.color }}}\n",
		"templates/service.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\nspec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}\n",
		"templates/set.yaml": "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: {{ .Release.Name }}\n" + labels +
			"spec:\n  serviceName: {{ .Release.Name }}\n  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: {{ .Release.Name }}}}\n" +
			"  template:\n    metadata: {labels: {app: {{ .Release.Name }}}}\n    spec: {containers: [{name: main, image: none}]}\n",
		"templates/hooks/migrate.yaml": hookJob("migrate", "pre-upgrade"),
		"templates/tests/check.yaml":   hookJob("check", "test"),
		"templates/NOTES.txt":          "{{ .Release.Name }} is a depot.\n",
		"charts/shelf/Chart.yaml":      "apiVersion: v2\nname: shelf\nversion: 1.0.0\n",
		"charts/shelf/values.yaml":     "slots: 1\n",
		"charts/shelf/templates/shelf.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-shelf\n" +
			"data: {slots: {{ .Values.slots | quote }}}\n",
	}
}

// hookJob is the template of a Job that is a hook.
func hookJob(name, event string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {{ .Release.Name }}-" + name + "\n  annotations: {helm.sh/hook: " + event + "}\n" +
		"spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: main, image: none}]}}}\n"
}

// packChart makes an archive of a chart's files.
func packChart(name string, files map[string]string) []byte {
	var buffer bytes.Buffer
	compressed := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(compressed)
	for file, content := range files {
		// Neither of these fails on a buffer.
		_ = archive.WriteHeader(&tar.Header{Name: name + "/" + file, Mode: 0o644, Size: int64(len(content))})
		_, _ = archive.Write([]byte(content))
	}
	_, _ = archive.Close(), compressed.Close()
	return buffer.Bytes()
}

// serveDepot serves versions of the chart for as long as the test runs, and returns
// the repository's URL.
func serveDepot(t *testing.T, group string, versions ...string) string {
	t.Helper()
	files := map[string][]byte{}
	var index strings.Builder
	index.WriteString("apiVersion: v1\nentries:\n  depot:\n")
	for _, version := range versions {
		file := "depot-" + version + ".tgz"
		files[file] = packChart("depot", depotFiles(version, group))
		fmt.Fprintf(&index, "  - {apiVersion: v2, name: depot, version: %s, urls: [%s], digest: %x}\n", version, file, sha256.Sum256(files[file]))
	}
	files["index.yaml"] = []byte(index.String())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
