// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reach limits what controllers read of the host cluster to the
// namespaces that the server was told to read. The host's RBAC is what enforces
// it; this package keeps the watches within what RBAC allows, and answers for
// all else with an error that says what to change, where the host's own answer
// would name a right.
package reach

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Namespaces are the namespaces of the host whose ConfigMaps and Secrets may be
// read. None means all.
type Namespaces []string

// Error says that an object lies in a namespace that is out of reach. Only who
// runs the server can mend it. It names no other namespace, because it is shown
// to tenants.
type Error struct {
	// Namespace is the one that is not listed; empty for all at once.
	Namespace string
}

// Error names the namespace and the flag.
func (e *Error) Error() string {
	if e.Namespace == "" {
		return "Muster may not read all namespaces, but those of the server's flag --source-namespaces alone"
	}
	return fmt.Sprintf("namespace %q is out of reach: Muster reads those of the server's flag --source-namespaces alone; "+
		"add it there (in the chart: rbac.readNamespaces)", e.Namespace)
}

// CacheNamespaces are the namespaces that a cache of the host watches, nil for
// all.
func (n Namespaces) CacheNamespaces() map[string]cache.Config {
	if len(n) == 0 {
		return nil
	}
	namespaces := make(map[string]cache.Config, len(n))
	for _, name := range n {
		namespaces[name] = cache.Config{}
	}
	return namespaces
}

// Reader reads through from what is in reach, and answers with an *Error for the
// rest without asking anybody. Objects without a namespace are in reach.
func (n Namespaces) Reader(from client.Reader) client.Reader {
	if len(n) == 0 {
		return from
	}
	return &reader{Reader: from, namespaces: n}
}

type reader struct {
	client.Reader
	namespaces Namespaces
}

// Get implements client.Reader.
func (r *reader) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if key.Namespace != "" && !slices.Contains(r.namespaces, key.Namespace) {
		return &Error{Namespace: key.Namespace}
	}
	return r.Reader.Get(ctx, key, into, opts...)
}

// List implements client.Reader.
func (r *reader) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	options := (&client.ListOptions{}).ApplyOptions(opts)
	if !slices.Contains(r.namespaces, options.Namespace) {
		return &Error{Namespace: options.Namespace}
	}
	return r.Reader.List(ctx, into, opts...)
}
