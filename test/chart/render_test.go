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
)

// namespace is the release's.
const namespace = "projectsveltos"

// valuesSets are what the chart is rendered with.
var valuesSets = ValuesSets()

func root(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
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
