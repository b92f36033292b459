// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/deploy/live"
)

// discoveryPause is the pause between two looks for a kind that its CRD has
// established: discovery is aggregated behind it, and can't be watched.
const discoveryPause = 50 * time.Millisecond

// client is Helm's own client but for a few things: it waits by watch and not
// by polling every two seconds, ends its waits with the operation, knows that
// an object whose kind is gone is gone, says which template is to blame,
// remembers why deletions failed, and takes back what attempts have left that came
// to no end.
type client struct {
	*kube.Client
	ctx       context.Context // the operation's: Helm's interface has none
	dynamic   dynamic.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    freshMapper

	former       []string // manifests that the next update considers
	deleteErrors []error
}

// Build reads a manifest. Of one that is to be applied (Helm validates that) an
// error says which template it is in. Of any other it leaves out the objects of
// kinds that the cluster does not have: a release whose CRD went first could
// never be uninstalled or upgraded otherwise.
func (c *client) Build(reader io.Reader, validate bool) (kube.ResourceList, error) {
	documents, err := splitManifest(reader)
	if err != nil {
		return nil, err
	}
	if validate {
		resources, err := c.Client.Build(join(documents), true)
		return resources, c.locate(documents, err)
	}
	var known [][]byte
	for _, document := range documents {
		gone, err := c.isGone(document)
		if err != nil {
			return nil, err
		}
		if !gone {
			known = append(known, document)
		}
	}
	return c.Client.Build(join(known), false)
}

// splitManifest returns the documents of a manifest.
func splitManifest(reader io.Reader) ([][]byte, error) {
	var documents [][]byte
	split := utilyaml.NewYAMLReader(bufio.NewReader(reader))
	for {
		document, err := split.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a manifest: %w", err)
		}
		documents = append(documents, document)
	}
}

func join(documents [][]byte) io.Reader {
	var manifest bytes.Buffer
	for _, document := range documents {
		manifest.WriteString("---\n")
		manifest.Write(document)
		manifest.WriteString("\n")
	}
	return &manifest
}

// templateError is an error in what a template renders.
type templateError struct {
	template string
	err      error
}

func (e *templateError) Error() string { return e.err.Error() }
func (e *templateError) Unwrap() error { return e.err }

// sourceComment is what Helm writes above each document.
var sourceComment = regexp.MustCompile(`(?m)^# Source: (.+)$`)

// locate finds the first document that an error is in. The builder, which reads
// all of them at once, does not say.
func (c *client) locate(documents [][]byte, err error) error {
	if err == nil || c.ctx.Err() != nil {
		return err
	}
	for _, document := range documents {
		source := sourceComment.FindSubmatch(document)
		if source == nil {
			continue
		}
		if _, one := c.Client.Build(join([][]byte{document}), true); one != nil {
			return &templateError{template: string(source[1]), err: one}
		}
	}
	return err
}

// isGone reports whether a document is an object of a kind that the cluster
// does not have.
func (c *client) isGone(document []byte) (bool, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Items      any    `json:"items"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil || head.Kind == "" || head.Items != nil {
		return false, nil // for Helm to judge
	}
	gk := schema.FromAPIVersionAndKind(head.APIVersion, head.Kind).GroupKind()
	if _, err := c.mapper.RESTMapping(gk); err == nil || !meta.IsNoMatchError(err) {
		return false, err
	}
	return true, live.Gone(c.ctx, c.discovery, gk)
}

// DeleteWithPropagationPolicy remembers the errors, which Helm logs alone.
func (c *client) DeleteWithPropagationPolicy(resources kube.ResourceList, policy metav1.DeletionPropagation) (*kube.Result, []error) {
	result, errs := c.Client.DeleteWithPropagationPolicy(resources, policy)
	c.deleteErrors = append(c.deleteErrors, errs...)
	return result, errs
}

// Wait waits for CRDs by watch, until their kinds can be used. Helm waits for
// nothing else here.
func (c *client) Wait(resources kube.ResourceList, timeout time.Duration) error {
	isCRD := func(info *resource.Info) bool {
		return info.Mapping.GroupVersionKind.Kind == "CustomResourceDefinition"
	}
	if !slices.ContainsFunc(resources, func(info *resource.Info) bool { return !isCRD(info) }) {
		return c.awaitCRDs(resources, timeout)
	}
	return c.Client.Wait(resources, timeout)
}

func (c *client) awaitCRDs(crds kube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	for _, info := range crds {
		if err := c.await(ctx, info, live.Established); err != nil {
			return fmt.Errorf("waiting for CustomResourceDefinition %s to be established: %w", info.Name, err)
		}
		if err := c.awaitDiscovery(ctx, info); err != nil {
			return fmt.Errorf("waiting for the kind of CustomResourceDefinition %s to be served: %w", info.Name, err)
		}
	}
	return nil
}

// awaitDiscovery waits until a CRD's kind can be looked up.
func (c *client) awaitDiscovery(ctx context.Context, crd *resource.Info) error {
	object, err := toUnstructured(crd.Object)
	if err != nil {
		return err
	}
	group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
	for {
		_, err := c.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind})
		if err == nil || !meta.IsNoMatchError(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(discoveryPause):
		}
	}
}

// WaitForDelete waits until objects are gone.
func (c *client) WaitForDelete(resources kube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	for _, info := range resources {
		err := c.await(ctx, info, func(found *unstructured.Unstructured) (bool, error) { return found == nil, nil })
		if err != nil {
			return fmt.Errorf("waiting for %s to be gone: %w", info.ObjectName(), err)
		}
	}
	return nil
}

// WatchUntilReady waits until the Jobs and Pods of a hook have ended well.
// Hooks of other kinds are ready when they exist.
func (c *client) WatchUntilReady(resources kube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	for _, info := range resources {
		var ended func(*unstructured.Unstructured) (bool, error)
		switch info.Mapping.GroupVersionKind.Kind {
		case "Job":
			ended = jobEnded
		case "Pod":
			ended = podEnded
		default:
			continue
		}
		if err := c.await(ctx, info, ended); err != nil {
			return fmt.Errorf("hook %s: %w", info.ObjectName(), err)
		}
	}
	return nil
}

func (c *client) await(ctx context.Context, info *resource.Info, reached func(*unstructured.Unstructured) (bool, error)) error {
	var objects dynamic.ResourceInterface = c.dynamic.Resource(info.Mapping.Resource)
	if info.Namespaced() {
		objects = c.dynamic.Resource(info.Mapping.Resource).Namespace(info.Namespace)
	}
	return live.Await(ctx, objects, info.Name, reached)
}

// jobEnded reports whether a Job has completed. One that is gone was deleted
// by somebody who had enough of it, or by its time to live.
func jobEnded(job *unstructured.Unstructured) (bool, error) {
	if job == nil {
		return true, nil
	}
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if !ok || condition["status"] != "True" {
			continue
		}
		switch condition["type"] {
		case "Complete":
			return true, nil
		case "Failed":
			return true, fmt.Errorf("the Job failed: %v", condition["reason"])
		}
	}
	return false, nil
}

// podEnded reports whether a Pod has succeeded.
func podEnded(pod *unstructured.Unstructured) (bool, error) {
	if pod == nil {
		return true, nil
	}
	switch phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase"); phase {
	case "Succeeded":
		return true, nil
	case "Failed":
		return true, errors.New("the Pod failed")
	}
	return false, nil
}

// toUnstructured gives a typed object, as Helm's builder makes them of kinds
// that it knows, the form of the others.
func toUnstructured(object runtime.Object) (*unstructured.Unstructured, error) {
	if already, ok := object.(*unstructured.Unstructured); ok {
		return already, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("converting a %T: %w", object, err)
	}
	return &unstructured.Unstructured{Object: content}, nil
}
