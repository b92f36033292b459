// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// serviceName is the Service that the APIServices lead to.
const serviceName = "muster"

// manifests are what artifacts/deploy ships, as far as it means something
// without nodes.
type manifests struct {
	objects []*unstructured.Unstructured
	// args are those of the Deployment's container, replicas its number of Pods.
	// Processes stand for them.
	args     []string
	replicas int
	// readiness is that container's probe.
	readiness *corev1.Probe
	// memberArgs are those of the StatefulSet's container, members its number of
	// Pods and memberProbe their readiness.
	memberArgs  []string
	members     int
	memberProbe *corev1.Probe
	// prepareArgs are those of the Job that makes the Secrets.
	prepareArgs []string
	// apiServices are the names of the APIServices.
	apiServices []string
}

// loadManifests reads the shipped YAML and changes the one thing that a
// process outside the cluster needs changed: the way from the aggregator to
// the server. A Service of type ExternalName and the port in the APIService
// lead it to localhost; names, and so the certificate's, stay.
func loadManifests(dir string, serverPort int) (*manifests, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no manifests in %s", dir)
	}
	slices.Sort(paths)
	m := &manifests{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading a manifest: %w", err)
		}
		if err := m.read(data, serverPort); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return m, m.complete(dir)
}

// read adds the objects of a YAML file.
func (m *manifests) read(data []byte, serverPort int) error {
	objects, err := decodeObjects(data)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := m.add(object, int64(serverPort)); err != nil {
			return err
		}
	}
	return nil
}

// complete fails where something is missing that processes are made of. from is
// where the manifests come from.
func (m *manifests) complete(from string) error {
	if m.args == nil || m.readiness == nil || len(m.apiServices) == 0 {
		return fmt.Errorf("%s: want a Deployment with arguments and a readiness probe, and APIServices", from)
	}
	if m.memberArgs == nil || m.memberProbe == nil || m.prepareArgs == nil {
		return fmt.Errorf("%s: want a StatefulSet and a Job with arguments", from)
	}
	return nil
}

func (m *manifests) add(object *unstructured.Unstructured, serverPort int64) error {
	switch object.GetKind() {
	case "Deployment":
		var deployment appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &deployment); err != nil {
			return fmt.Errorf("reading Deployment %s: %w", object.GetName(), err)
		}
		container := deployment.Spec.Template.Spec.Containers[0]
		m.args, m.readiness, m.replicas = container.Args, container.ReadinessProbe, int(*deployment.Spec.Replicas)
		return nil
	case "StatefulSet":
		var set appsv1.StatefulSet
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &set); err != nil {
			return fmt.Errorf("reading StatefulSet %s: %w", object.GetName(), err)
		}
		container := set.Spec.Template.Spec.Containers[0]
		m.memberArgs, m.memberProbe, m.members = container.Args, container.ReadinessProbe, int(*set.Spec.Replicas)
		return nil
	case "Job":
		var job batchv1.Job
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &job); err != nil {
			return fmt.Errorf("reading Job %s: %w", object.GetName(), err)
		}
		m.prepareArgs = job.Spec.Template.Spec.Containers[0].Args
		return nil
	case "CronJob", "PersistentVolumeClaim":
		return nil // no node would run them
	case "Service":
		if object.GetName() != serviceName {
			break // etcd's, which no APIService leads to
		}
		object.Object["spec"] = map[string]any{"type": "ExternalName", "externalName": "localhost"}
	case "APIService":
		m.apiServices = append(m.apiServices, object.GetName())
		if err := unstructured.SetNestedField(object.Object, serverPort, "spec", "service", "port"); err != nil {
			return fmt.Errorf("APIService %s: %w", object.GetName(), err)
		}
	}
	m.objects = append(m.objects, object)
	return nil
}

// yaml is what to apply.
func (m *manifests) yaml() (string, error) {
	var out strings.Builder
	for _, object := range m.objects {
		data, err := yaml.Marshal(object.Object)
		if err != nil {
			return "", fmt.Errorf("encoding %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.String(), nil
}

func decodeObjects(data []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
