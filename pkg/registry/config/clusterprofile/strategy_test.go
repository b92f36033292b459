// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"testing"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/registrytest"
)

func TestSpecAndStatusAreIsolated(t *testing.T) {
	registrytest.Isolation(t, kind, func() *config.ClusterProfile { return &config.ClusterProfile{} })
}

func TestResetFieldsAreReportedForEveryVersion(t *testing.T) {
	main, status := registry.NewStrategies(scheme.Scheme, kind)
	registrytest.ResetFields(t, config.GroupName, main, status)
}
