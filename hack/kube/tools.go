// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package kube pins the programs that hack/kube/build.sh compiles.
package kube

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/component-base/cli"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
