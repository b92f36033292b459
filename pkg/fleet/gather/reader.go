// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/fleet"
)

// reader reads from one cluster, as much as one List may.
type reader struct {
	client  *fleet.Client
	http    *http.Client
	dynamic dynamic.Interface
	bound   *bound
	objects int // that may still be read
}

func newReader(client *fleet.Client) (*reader, error) {
	bound := &bound{next: client.HTTP.Transport, left: MaxBytes}
	bounded := &http.Client{Transport: bound}
	dynamicClient, err := dynamic.NewForConfigAndClient(rest.CopyConfig(client.Config), bounded)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", client.Ref, err)
	}
	return &reader{client, bounded, dynamicClient, bound, MaxObjects}, nil
}

// list reads what a selector selects, page by page, so that no answer is larger than it
// has to be.
func (r *reader) list(ctx context.Context, resource *resource, one *selector) ([]unstructured.Unstructured, error) {
	if !resource.namespaced && one.Namespace != "" {
		return nil, nil
	}
	options := metav1.ListOptions{LabelSelector: one.labels.String(), Limit: pageSize}
	if one.Name != "" {
		options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, one.Name).String()
	}
	var objects []unstructured.Unstructured
	for {
		page, err := r.dynamic.Resource(resource.GroupVersionResource).Namespace(one.Namespace).List(ctx, options)
		if r.bound.exceeded {
			return nil, fmt.Errorf("%w: %s have more than %d bytes", ErrTooMuch, resource.Resource, MaxBytes)
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		if r.objects -= len(page.Items); r.objects < 0 {
			return nil, fmt.Errorf("%w: there are more than %d objects", ErrTooMuch, MaxObjects)
		}
		for i := range page.Items {
			object := &page.Items[i]
			if object.GetDeletionTimestamp() == nil || one.IncludeDeletingResources {
				objects = append(objects, *strip(object))
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return objects, nil
		}
	}
}

// strip takes out what scripts need not see, because it is large, and what they must not,
// because what they say is shown.
func strip(object *unstructured.Unstructured) *unstructured.Unstructured {
	object.SetManagedFields(nil)
	if annotations := object.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
		if delete(annotations, corev1.LastAppliedConfigAnnotation); len(annotations) == 0 {
			annotations = nil
		}
		object.SetAnnotations(annotations)
	}
	if kind := object.GroupVersionKind(); kind.Group == "" && kind.Kind == "Secret" {
		for _, field := range []string{"data", "stringData"} {
			if data, ok := object.Object[field].(map[string]any); ok {
				for key := range data {
					data[key] = ""
				}
			}
		}
	}
	return object
}

func isNotFound(err error) bool { return err != nil && apierrors.IsNotFound(err) }

// bound is a transport that reads so many bytes of answers and no more. It is used by one
// goroutine.
type bound struct {
	next     http.RoundTripper
	left     int64
	exceeded bool
}

// RoundTrip sends the request; its answer ends at the limit, and exceeded tells why.
func (b *bound) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = &boundBody{resp.Body, b}
	}
	return resp, err
}

type boundBody struct {
	io.ReadCloser
	bound *bound
}

// Read reads. At the limit the answer ends, since client-go would log an error.
func (b *boundBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.bound.left -= int64(n); b.bound.left < 0 {
		b.bound.exceeded = true
		return 0, io.EOF
	}
	return n, err
}
