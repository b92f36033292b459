// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"net/http/httptest"
	"testing"

	"github.com/muster-project/muster/test/fleet"
)

const (
	// chartNamespace is the release's, and chartRelease its name.
	chartNamespace = "chaos-helm"
	chartRelease   = "steps"
	// oldVersion and newVersion each have objects that the other one lacks.
	oldVersion = "1.0.0"
	newVersion = "1.1.0"
	// The hooks before and after all else. The first is replaced when it is run
	// again; the second is deleted when it has succeeded, and by nobody else.
	hookBefore = chartRelease + "-before"
	hookAfter  = chartRelease + "-after"
)

// chartFiles is a chart that is installed in many steps: a CRD, a hook that lasts
// until somebody says that it is done, objects of five kinds, another such hook.
// Everything says which revision of the release, and which value, it is of, and which
// version of Helm has rendered it.
func chartFiles() map[string]string {
	return map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: steps\nversion: 0.0.0\n",
		"values.yaml": "color: grey\n",
		"crds/colors.yaml": `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: colors.chaos.example.org}
spec:
  group: chaos.example.org
  names: {kind: Color, listKind: ColorList, plural: colors, singular: color}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`,
		"templates/hooks.yaml": `
{{- range $name, $hook := dict "before" "pre-install,pre-upgrade before-hook-creation" "after" "post-install,post-upgrade hook-succeeded" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $.Release.Name }}-{{ $name }}
  annotations:
    helm.sh/hook: {{ splitList " " $hook | first }}
    helm.sh/hook-delete-policy: {{ splitList " " $hook | last }}
    revision: {{ $.Release.Revision | quote }}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: hook, image: hook}]
{{- end }}
`,
		"templates/objects.yaml": `
{{- range $kind := list "v1 ServiceAccount" "v1 Secret" "v1 ConfigMap" "rbac.authorization.k8s.io/v1 Role" "chaos.example.org/v1 Color" }}
{{- range $name := list "one" "two" (printf "only-%s" $.Chart.Version) }}
---
apiVersion: {{ splitList " " $kind | first }}
kind: {{ splitList " " $kind | last }}
metadata:
  name: {{ $.Release.Name }}-{{ $name }}
  annotations:
    revision: {{ $.Release.Revision | quote }}
    color: {{ $.Values.color | quote }}
    helm: {{ $.Capabilities.HelmVersion.Version | quote }}
{{- if hasSuffix "Color" $kind }}
spec:
  color: {{ $.Values.color | quote }}
  {{ $.Values.color }}: true
{{- end }}
{{- end }}
{{- end }}
`,
	}
}

// serveChart serves the chart for as long as the test runs, and returns the URL of
// its repository.
func serveChart(t *testing.T) string {
	t.Helper()
	handler, err := fleet.ChartRepository(fleet.ChartSource{Files: chartFiles(), Versions: []string{oldVersion, newVersion}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}
