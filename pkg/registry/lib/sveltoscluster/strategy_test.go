// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"testing"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/registrytest"
)

func TestSpecAndStatusAreIsolated(t *testing.T) {
	registrytest.Isolation(t, kind, func() *lib.SveltosCluster { return &lib.SveltosCluster{} })
}

func TestResetFieldsAreReportedForEveryVersion(t *testing.T) {
	main, status := registry.NewStrategies(scheme.Scheme, kind)
	registrytest.ResetFields(t, lib.GroupName, main, status)
}

func TestSelectableFields(t *testing.T) {
	ready := &lib.SveltosCluster{Status: lib.SveltosClusterStatus{Ready: true}}
	registrytest.Selectable(t, lib.SchemeGroupVersion.WithKind("SveltosCluster").GroupKind(), selectable(ready))
	if got := selectable(ready).Get("status.ready"); got != "true" {
		t.Errorf("a ready cluster is found by status.ready=%s", got)
	}
	if got := selectable(&lib.SveltosCluster{}).Get("status.ready"); got != "false" {
		t.Errorf("an unready cluster is found by status.ready=%s", got)
	}
}
