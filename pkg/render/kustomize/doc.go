// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kustomize builds kustomizations, and merges strategically as they do. It is
// the only package that uses kustomize's libraries.
//
// A build runs in a worker process of package script, with a limit on its memory and its
// time: overlays of overlays multiply, and the libraries keep their schemas in variables
// of the process. It sees the files that it is given and nothing else: no disk, no
// network, no programs, no plugins. What a kustomization refers to has to be one of the
// files.
package kustomize
