// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/muster-project/muster/test/fleet"
)

// depot serves what a profile names by its URL: the chart, manifests and
// kustomizations of any edition, and the metric that its check asks for. All of it is
// behind the traps.
type depot struct {
	*httptest.Server
	healthy atomic.Bool // what the metric says
}

// edition is what a profile asks for at one time. Everything that is deployed for it
// says which one it is.
type edition struct {
	number  int
	version string // of the chart, and of what comes and goes beside it
}

func serveDepot(t *testing.T, stops *traps) *depot {
	t.Helper()
	charts, err := fleet.ChartRepository(fleet.ChartSource{Files: chartFiles(), Versions: []string{oldVersion, newVersion}})
	if err != nil {
		t.Fatal(err)
	}
	d := &depot{}
	mux := http.NewServeMux()
	mux.Handle("/charts/", http.StripPrefix("/charts", charts))
	mux.HandleFunc("GET /sources/{number}/{version}/{file}", func(w http.ResponseWriter, r *http.Request) {
		of := edition{version: r.PathValue("version")}
		if _, err := fmt.Sscan(r.PathValue("number"), &of.number); err != nil {
			http.NotFound(w, r)
			return
		}
		switch r.PathValue("file") {
		case manifestsFile:
			_, _ = w.Write([]byte(of.manifests())) // or the client has gone
		case kustomizationFile:
			data, err := archived(of.kustomization())
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = w.Write(data) // as above
		default:
			http.NotFound(w, r)
		}
	})
	mux.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, _ *http.Request) {
		value := 0
		if d.healthy.Load() {
			value = 1
		}
		fmt.Fprintf(w, `{"status": "success", "data": {"resultType": "scalar", "result": [0, "%d"]}}`, value)
	})
	d.Server = httptest.NewServer(stops.guard(mux))
	endWith(t, d.Server)
	return d
}

const (
	manifestsFile     = "manifests.yaml"
	kustomizationFile = "kustomization.tar.gz"
	metricsPath       = "/metrics/api/v1/query"
)

// url is where a file of an edition is.
func (d *depot) url(of edition, file string) string {
	return fmt.Sprintf("%s/sources/%d/%s/%s", d.URL, of.number, of.version, file)
}

// metric is the query by which an edition is checked on behalf of a profile.
func (of edition) metric(profile string) string { return fmt.Sprintf("%s_%d", profile, of.number) }

// contents is how many objects a list has in every edition.
const contents = 6

// midContent is in the middle of its list.
const midContent = "content-3"

// manifests are of policyRefs: a kind and an object of it, an object of the chart's
// kind, objects of every edition and some of this version alone.
func (of edition) manifests() string {
	var out strings.Builder
	fmt.Fprintf(&out, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shapes.chaos.example.org}
spec:
  group: chaos.example.org
  names: {kind: Shape, listKind: ShapeList, plural: shapes, singular: shape}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
{apiVersion: chaos.example.org/v1, kind: Shape, metadata: {namespace: %[1]s, name: shape}, data: {edition: "%[2]d"}}
---
{apiVersion: chaos.example.org/v1, kind: Color, metadata: {namespace: %[1]s, name: color}, data: {edition: "%[2]d"}}
`, contentNamespace, of.number)
	for _, object := range of.names("content") {
		out.WriteString("---\n" + of.configMap(object))
	}
	return out.String()
}

// kustomization is an archive's files.
func (of edition) kustomization() map[string]string {
	files, root := map[string]string{}, "resources:\n"
	for _, object := range of.names("built") {
		files[object+".yaml"] = of.configMap(object)
		root += "- " + object + ".yaml\n"
	}
	files["kustomization.yaml"] = root
	return files
}

// names are those of a list's ConfigMaps, in its order.
func (of edition) names(list string) []string {
	var names []string
	for i := range contents {
		names = append(names, fmt.Sprintf("%s-%d", list, i))
	}
	for i := range 3 {
		names = append(names, fmt.Sprintf("%s-only-%s-%d", list, of.version, i))
	}
	return names
}

func (of edition) configMap(object string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: %s, labels: {chaos: built}}, data: {edition: \"%d\"}}\n",
		contentNamespace, object, of.number)
}

// objects are all that is deployed beside the release, as inventories call them.
func (of edition) objects() []string {
	objects := []string{
		"apiextensions.k8s.io:CustomResourceDefinition shapes.chaos.example.org",
		"chaos.example.org:Color " + contentNamespace + "/color",
		"chaos.example.org:Shape " + contentNamespace + "/shape",
	}
	for _, object := range slices.Concat(of.names("content"), of.names("built")) {
		objects = append(objects, ":ConfigMap "+contentNamespace+"/"+object)
	}
	slices.Sort(objects)
	return objects
}

// archived packs files.
func archived(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: file, Size: int64(len(files[file])), Mode: 0o600}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(files[file])); err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), compressed.Close())
	return out.Bytes(), err
}

// pemOf is the certificate of a server of a test's own, which is its authority too.
func pemOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
