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

	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/deploy/live"
)

// client is Helm's own client but for a few things: it waits by watch and not
// by polling every two seconds, ends its waits with the operation, knows that
// an object whose kind is gone is gone, says which template is to blame,
// remembers why deletions failed, takes back what attempts have left that came
// to no end, upgrades CRDs, and takes nothing over that a profile has.
type client struct {
	*kube.Client
	ctx       context.Context // the operation's: Helm's interface has none
	dynamic   dynamic.Interface
	clientset kubernetes.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    freshMapper

	// release names what the operation is on.
	release *helmrelease.Release
	// validates reports whether objects are to be held against the cluster's schemas
	// before they are sent.
	validates func() bool
	// ownerOf is Release.OwnerOf if objects may be taken over, else nil.
	ownerOf func(metav1.Object) string

	former       []string // manifests that the next update considers
	deleteErrors []error
}

// IsReachable implements kube.Interface. An operation has read the release's history
// before Helm asks: what follows finds out by itself.
func (c *client) IsReachable() error { return nil }

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
		resources, err := c.Client.Build(join(documents), c.validates())
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
		if _, one := c.Client.Build(join([][]byte{document}), c.validates()); one != nil {
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

// DeleteWithPropagationPolicy deletes what is the release's, and remembers the errors,
// which Helm logs alone.
func (c *client) DeleteWithPropagationPolicy(resources kube.ResourceList, policy metav1.DeletionPropagation) (*kube.Result, []error) {
	own, err := c.withoutOthers(resources)
	if err != nil {
		c.deleteErrors = append(c.deleteErrors, err)
		return nil, []error{err}
	}
	if len(own) == 0 && len(resources) > 0 {
		return &kube.Result{}, nil
	}
	result, errs := c.Client.DeleteWithPropagationPolicy(own, policy)
	c.deleteErrors = append(c.deleteErrors, errs...)
	return result, errs
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
