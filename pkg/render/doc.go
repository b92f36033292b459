// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package render turns sources into objects: the contents of a ConfigMap or Secret,
// instantiated for one cluster if they are a template, split into documents, decoded and
// checked, in the order in which they will be applied.
//
// A source is rendered whole or not at all. Whatever is missing, empty or broken in it is
// an error that names it, never a shorter list: what is not in the list is pruned from
// clusters.
//
// Which kinds are namespaced, who owns an object and what the cluster thinks of it is not
// known here; that is the deploy package's part.
package render
