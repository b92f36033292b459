// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// fluxController is where source-controller serves artifacts; the fleet has a mirror.
const fluxController = "http://source-controller.flux-system.svc.cluster.local."

// gitRepositories is a definition that takes what Flux's own does, and more.
const gitRepositories = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gitrepositories.source.toolkit.fluxcd.io}
spec:
  group: source.toolkit.fluxcd.io
  scope: Namespaced
  names: {kind: GitRepository, plural: gitrepositories, singular: gitrepository, listKind: GitRepositoryList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`

// applyGitRepository makes a GitRepository with a status, as source-controller writes it.
func (s *scope) applyGitRepository(name, status string) {
	s.Helper()
	s.apply(fmt.Sprintf("{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {namespace: %s, name: %s}, spec: {url: 'https://git.test/a'}, status: {%s}}", s.name, name, status))
}

// serveRevision has the artifact of a GitRepository served, and returns its status.
func (s *scope) serveRevision(name, revision string, files map[string]string) string {
	s.Helper()
	archive := s.archived(files)
	path := "/gitrepository/" + s.name + "/" + name + "/" + revision + ".tar.gz"
	s.sources.put(path, "application/gzip", archive)
	return fmt.Sprintf("artifact: {url: '%s', digest: '%s', revision: 'main@sha1:%s'}", fluxController+path, digestOf(archive), revision)
}

// TestFluxSources: what a GitRepository holds is deployed as manifests, as a kustomization
// and as a chart; a revision is deployed when it comes, and what is wrong with a source
// disturbs nothing. No other test installs Flux's definitions.
func TestFluxSources(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	plain, built, release := s.name+"-plain", s.name+"-built", s.name+"-chart"
	files := func(value string) map[string]string {
		return map[string]string{
			"deploy/cluster1/a.yaml": settings(plain, value), "deploy/cluster2/a.yaml": settings(plain, "another cluster's"), "README.md": "no manifest",
			"prod/kustomization.yaml": "resources: [a.yaml]\n", "prod/a.yaml": settings(built, value),
			"charts/settings/Chart.yaml": "apiVersion: v2\nname: settings\nversion: 1.0.0\n", "charts/settings/values.yaml": "color: " + value + "\n",
			"charts/settings/templates/settings.yaml": settingsTemplate,
		}
	}
	const ref = "{kind: GitRepository, namespace: %s, name: apps, path: %s}"
	s.applySpec(fmt.Sprintf("policyRefs: ["+ref+"], kustomizationRefs: ["+ref+"], helmCharts: [{repositoryURL: 'gitrepository://%s/apps/charts/settings', releaseName: %s, releaseNamespace: %s}]",
		s.name, "'./deploy/{{ .ClusterName }}'", s.name, "prod", s.name, release, contentNamespace))
	source := "GitRepository " + s.name + "/apps of the host: "
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, "policyRefs[0]: "+source, "has no such kind")

	s.apply(gitRepositories)
	s.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/gitrepositories.source.toolkit.fluxcd.io")
	s.applyGitRepository("apps", "conditions: [{type: Ready, status: 'False', reason: GitOperationFailed, message: no such branch}]")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, source+"has no artifact yet: GitOperationFailed: no such branch")
	s.applyGitRepository("apps", s.serveRevision("apps", "1", files("first")))
	s.provisioned(s.name)
	s.awaitValue("cluster1", plain, "first")
	s.awaitValue("cluster1", built, "first")
	s.awaitChart("cluster1", release, "1.0.0", "first")
	untouched := s.staysUntouched("cluster1", plain)

	s.applyGitRepository("apps", s.serveRevision("apps", "2", files("second")))
	s.awaitValue("cluster1", plain, "second")
	s.awaitValue("cluster1", built, "second")
	s.awaitChart("cluster1", release, "1.0.0", "second")

	good := s.serveRevision("apps", "3", files("third"))
	s.applyGitRepository("apps", strings.Replace(good, digestOf(s.archived(files("third"))), digestOf([]byte("another")), 1))
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "GitRepository "+s.name+"/apps: fetching "+fluxController, "is not what it should be")
	s.applyGitRepository("apps", s.serveRevision("apps", "4", map[string]string{"other/a.yaml": settings(plain, "lost")}))
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, `has nothing at path "./deploy/cluster1"`)
	s.kubectl("delete", "gitrepository", "-n", s.name, "apps")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, source+"does not exist")
	for _, name := range []string{plain, built} {
		if err := s.hasValue("cluster1", name, "second")(s.Context()); err != nil {
			t.Errorf("a source that is broken or missing disturbed what was there: %v", err)
		}
	}
	if err := errors.Join(s.hasChart("cluster1", release, "1.0.0", "second")(s.Context()), untouched(s.Context())); err != nil {
		t.Errorf("a source that is broken or missing disturbed what was there: %v", err)
	}
	s.applyGitRepository("apps", good)
	s.awaitValue("cluster1", plain, "third")
	s.provisioned(s.name)

	// What a revision was deployed from is kept, whatever is served now.
	s.kubectl("muster", "rollback", s.name, "--to-revision=1")
	s.awaitValue("cluster1", plain, "first")
	s.awaitValue("cluster1", built, "first")
	s.awaitChart("cluster1", release, "1.0.0", "first")
}

// privateRegistry serves charts over TLS, with an authority of its own, to those who show
// the password.
type privateRegistry struct {
	*httptest.Server
	refused atomic.Int32
}

const (
	registryUser     = "robot"
	registryPassword = "hunter2-hunter2"
)

func (s *scope) privateRegistry() *privateRegistry {
	s.Helper()
	r := &privateRegistry{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if user, password, ok := request.BasicAuth(); !ok || user != registryUser || password != registryPassword {
			r.refused.Add(1)
			w.Header().Set("Www-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.sources.ServeHTTP(w, request)
	}))
	s.Cleanup(r.Close)
	return r
}

func (r *privateRegistry) host() string { return r.Listener.Addr().String() }

// applySecret makes a Secret in the scope's namespace.
func (s *scope) applySecret(name, kind string, data map[string]string) {
	s.Helper()
	encoded := map[string]string{}
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": kind, "data": encoded, "metadata": map[string]any{"namespace": s.name, "name": name},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.apply(string(manifest))
}

// TestPrivateRegistry: a chart of a registry with a password and an authority of its own,
// and what is seen where either is wrong. Nothing that was deployed suffers, and no
// password is shown.
func TestPrivateRegistry(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	registry := s.privateRegistry()
	for _, version := range []string{"1.0.0", "1.1.0"} {
		if err := s.sources.putChart(s.name+"/settings", version, chartArchive("settings", version, settingsTemplate)); err != nil {
			t.Fatal(err)
		}
	}
	login := func(password string) {
		config, err := json.Marshal(map[string]any{"auths": map[string]any{registry.host(): map[string]any{"username": registryUser, "password": password}}})
		if err != nil {
			t.Fatal(err)
		}
		s.applySecret("login", "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": string(config)})
	}
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: registry.Certificate().Raw}))
	s.applySecret("authority", "addons.projectsveltos.io/cluster-profile", map[string]string{"ca.crt": authority})
	login(registryPassword)
	chart := func(version, access string) {
		s.applySpec(fmt.Sprintf("helmCharts: [{repositoryURL: 'oci://%s/%s', chartName: settings, chartVersion: %s, releaseName: %s, releaseNamespace: %s%s}]",
			registry.host(), s.name, version, s.name, contentNamespace, access))
	}
	const access = ", registryCredentialsConfig: {credentials: {name: login}, ca: {name: authority}}"
	chart("1.0.0", access)
	s.provisioned(s.name)
	s.awaitChart("cluster1", s.name, "1.0.0", "grey")
	untouched := s.staysUntouched("cluster1", s.name)

	chart("1.1.0", ", registryCredentialsConfig: {credentials: {name: login}}")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "chart settings 1.1.0", "registryCredentialsConfig.ca")
	chart("1.1.0", ", registryCredentialsConfig: {ca: {name: authority}}")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "chart settings 1.1.0", "the registry wants credentials")
	login("another-" + registryPassword)
	chart("1.1.0", access)
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "chart settings 1.1.0", "does not give it to these credentials")
	s.applySecret("opaque", "Opaque", map[string]string{"username": registryUser, "password": registryPassword})
	chart("1.1.0", ", registryCredentialsConfig: {credentials: {name: opaque}, ca: {name: authority}}")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "registryCredentialsConfig.credentials: Secret "+s.name+"/opaque", "wrong Secret type")
	if err := errors.Join(s.hasChart("cluster1", s.name, "1.0.0", "grey")(s.Context()), untouched(s.Context())); err != nil {
		t.Errorf("a registry that gives nothing disturbed what was there: %v", err)
	}
	summary, err := s.summary(s.Context(), s.name, "cluster1")
	if err != nil || strings.Contains(asJSON(summary), registryPassword) {
		t.Errorf("the summary has the password, %v", err)
	}
	if registry.refused.Load() == 0 {
		t.Error("the registry asks nobody for a password")
	}

	chart("1.1.0", access)
	login(registryPassword) // the change of the Secret alone is enough
	s.awaitChart("cluster1", s.name, "1.1.0", "grey")
	s.provisioned(s.name)
}
