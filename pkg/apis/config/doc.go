// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// +k8s:deepcopy-gen=package
// +groupName=config.projectsveltos.io

// Package config is the internal version of group config.projectsveltos.io: what strategies,
// validation and printers work on. Fields are documented in package v1beta1.
package config
