// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// +k8s:deepcopy-gen=package
// +k8s:conversion-gen=github.com/muster-project/muster/pkg/apis/config
// +k8s:defaulter-gen=TypeMeta
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=io.muster-project.config.v1beta1
// +groupName=config.projectsveltos.io

// Package v1beta1 is the stored version of group config.projectsveltos.io:
// profiles, what they deploy to each cluster, and views of what is deployed.
package v1beta1
