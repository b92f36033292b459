// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rendering

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// lookups is the cluster that Helm's engine sees in a worker: what is known of it. What is
// not known is not there, and is noted; the chart is rendered again when it is known.
type lookups struct {
	found   []found
	missing []Query
	// asked is set once something was looked up.
	asked bool
}

// GetClientFor implements engine.ClientProvider.
func (l *lookups) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	l.asked = true
	return &lookupClient{lookups: l, query: Query{APIVersion: apiVersion, Kind: kind}}, true, nil
}

// lookupClient implements what Helm's engine calls of a client.
type lookupClient struct {
	dynamic.NamespaceableResourceInterface
	lookups *lookups
	query   Query
}

// Namespace returns a client for one namespace.
func (c *lookupClient) Namespace(namespace string) dynamic.ResourceInterface {
	query := c.query
	query.Namespace = namespace
	return &lookupClient{lookups: c.lookups, query: query}
}

// Get returns an object that is known.
func (c *lookupClient) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	query := c.query
	query.Name = name
	object, err := c.lookups.find(query)
	if err != nil {
		return nil, err
	}
	return &unstructured.Unstructured{Object: object}, nil
}

// List returns a list that is known.
func (c *lookupClient) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	object, err := c.lookups.find(c.query)
	if err != nil {
		return nil, err
	}
	list := &unstructured.UnstructuredList{}
	list.SetUnstructuredContent(object)
	return list, nil
}

// find returns a copy of what is known; an error that says that nothing is there if
// nothing is known.
func (l *lookups) find(query Query) (map[string]any, error) {
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: query.Kind}, query.Name)
	i := slices.IndexFunc(l.found, func(f found) bool { return f.Query == query })
	switch {
	case i < 0:
		if !slices.Contains(l.missing, query) {
			l.missing = append(l.missing, query)
		}
		return nil, missing
	case l.found[i].Error != "":
		return nil, errors.New(l.found[i].Error)
	case l.found[i].Object == nil:
		return nil, missing
	}
	return (&unstructured.Unstructured{Object: l.found[i].Object}).DeepCopy().Object, nil
}
