// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// +k8s:deepcopy-gen=package
// +groupName=lib.projectsveltos.io

// Package lib is the internal version of group lib.projectsveltos.io: what strategies,
// validation and printers work on. Fields are documented in package v1beta1.
package lib
