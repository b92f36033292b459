// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"testing"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/registrytest"
)

func TestSpecAndStatusAreIsolated(t *testing.T) {
	registrytest.Isolation(t, kind, func() *lib.ClusterSet { return &lib.ClusterSet{} })
}

func TestResetFieldsAreReportedForEveryVersion(t *testing.T) {
	main, status := registry.NewStrategies(scheme.Scheme, kind)
	registrytest.ResetFields(t, lib.GroupName, main, status)
}
