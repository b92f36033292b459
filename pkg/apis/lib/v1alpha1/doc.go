// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// +k8s:deepcopy-gen=package
// +k8s:conversion-gen=github.com/muster-project/muster/pkg/apis/lib
// +k8s:defaulter-gen=TypeMeta
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=io.muster-project.lib.v1alpha1
// +groupName=lib.projectsveltos.io

// Package v1alpha1 is the older version of group lib.projectsveltos.io:
// clusters, sets of clusters, and the types that several groups share.
package v1alpha1
