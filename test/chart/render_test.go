// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/test/fleet"
)

// namespace is the release's.
const namespace = "projectsveltos"

// valuesSets are what the chart is rendered with: by name, as YAML.
var valuesSets = map[string]string{
	"defaults":       "",
	"three replicas": "replicaCount: 3",
	"an etcd of one's own": `
etcd: {endpoints: ["https://a.example.org:2379", "https://b.example.org:2379"], certificatesSecret: etcd-client}`,
	"an etcd of one's own, in clear": `
etcd: {endpoints: ["http://localhost:2379"]}
encryption: {enabled: false}`,
	"listed namespaces": `
rbac: {readNamespaces: [fleet-a, fleet-b]}`,
	"somebody else's account and rights": `
serviceAccount: {create: false, name: given}
rbac: {create: false, aggregateToUserRoles: false}
encryption: {existingSecret: my-key}
etcd: {certificatesSecret: from-cert-manager}`,
	"as little as possible": `
priorityClassName: ""
topologySpreadConstraints: []
podDisruptionBudget: {enabled: false}
networkPolicy: {enabled: false}
etcd: {replicas: 1, topologySpreadConstraints: [], podDisruptionBudget: {enabled: false}}`,
	"everything": everything,
}

const everything = `
replicaCount: 3
image: {repository: registry.example.org/team/muster, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", pullPolicy: Always}
imagePullSecrets: [registry]
resources: {requests: {cpu: 2, memory: 4Gi}, limits: {memory: 8Gi}}
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}]
podDisruptionBudget: {maxUnavailable: 50%}
podLabels: {team: fleet}
podAnnotations: {note: "yes"}
securePort: 10250
hostNetwork: true
extraArgs: [--max-requests-inflight=1000, --feature-gates=AllBeta=true]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
extraVolumes: [{name: more, configMap: {name: more}}]
extraVolumeMounts: [{name: more, mountPath: /more}]
logging: {format: json, verbosity: 4}
audit: {policy: {apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}}
mirrors: [{from: "https://charts.example.org", to: "http://mirror.example.org/charts"}, {from: "oci://a.example.org/x", to: "oci://b.example.org/y"}]
installation: blue
service: {annotations: {a: b}, labels: {c: d}}
serviceAccount: {annotations: {e: f}}
serviceMonitor: {enabled: true, labels: {release: prometheus}, prometheus: {serviceAccountName: prometheus, namespace: monitoring}}
etcd:
  replicas: 5
  storage: {size: 32Gi, className: fast}
  quotaBytes: 8589934592
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]}}
  nodeSelector: {disk: ssd}
  tolerations: [{operator: Exists}]
  podLabels: {team: fleet}
  podAnnotations: {note: "yes"}
  extraArgs: [--more=x]
backup: {enabled: true, storage: {className: slow}}`

func root(t *testing.T) string {
	t.Helper()
	root, err := fleet.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// template runs helm template with values in YAML.
func template(t *testing.T, values string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "bin", "helm"), "template", "muster",
		filepath.Join(root(t), "artifacts", "chart", "muster"),
		"--namespace="+namespace, "--kube-version=1.37.0", "--values=-")
	cmd.Stdin = strings.NewReader(values)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// render returns what the chart makes of values, decoded strictly: a field that
// the host does not know, or one that is there twice, fails the test.
func render(t *testing.T, values string) []client.Object {
	t.Helper()
	stdout, stderr, err := template(t, values)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, stderr)
	}
	return decode(t, []byte(stdout))
}

func decode(t *testing.T, manifests []byte) []client.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiregistration.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	var objects []client.Object
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		var kind struct{ Kind string }
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		switch kind.Kind {
		case "":
		case "ServiceMonitor": // the Prometheus operator's, whose types are no part of this module
			object := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
				t.Fatalf("%v in:\n%s", err, document)
			}
			objects = append(objects, object)
		default:
			object, _, err := codecs.UniversalDeserializer().Decode(document, nil, nil)
			if err != nil {
				t.Fatalf("%v in:\n%s", err, document)
			}
			objects = append(objects, object.(client.Object))
		}
	}
}

// all returns the objects of a type.
func all[T client.Object](objects []client.Object) []T {
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// one returns the object of a type and name, in any namespace.
func one[T client.Object](t *testing.T, objects []client.Object, name string) T {
	t.Helper()
	for _, object := range all[T](objects) {
		if object.GetName() == name {
			return object
		}
	}
	var none T
	t.Fatalf("no %T %s", none, name)
	return none
}

// podTemplates returns the Pods that the objects lead to, by what leads to them.
func podTemplates(objects []client.Object) map[string]*corev1.PodTemplateSpec {
	templates := map[string]*corev1.PodTemplateSpec{}
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			templates["Deployment "+o.Name] = &o.Spec.Template
		case *appsv1.StatefulSet:
			templates["StatefulSet "+o.Name] = &o.Spec.Template
		case *batchv1.Job:
			name := o.Name
			if strings.HasPrefix(name, "muster-prepare-") {
				name = "muster-prepare"
			}
			templates["Job "+name] = &o.Spec.Template
		case *batchv1.CronJob:
			templates["CronJob "+o.Name] = &o.Spec.JobTemplate.Spec.Template
		}
	}
	return templates
}
