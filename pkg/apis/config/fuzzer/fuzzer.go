// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fuzzer fills objects of group config.projectsveltos.io with random
// content for tests.
package fuzzer

import (
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/randfill"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	libfuzzer "github.com/muster-project/muster/pkg/apis/lib/fuzzer"
)

// Funcs returns the functions that fill what must not be filled at random: what
// has a canonical form, and what has a default.
func Funcs(codecs serializer.CodecFactory) []any {
	return append(libfuzzer.Funcs(codecs),
		fillProfileSpec,
		func(obj *config.Profile, c randfill.Continue) {
			c.FillNoCustom(obj)
			libfuzzer.FillNamespaces(obj.Spec.ClusterRefs, obj.Namespace)
		},
		func(obj *config.PolicyRef, c randfill.Continue) {
			c.FillNoCustom(obj)
			setDefault(&obj.DeploymentType, lib.DeploymentTypeRemote)
			setDefault(&obj.Tier, config.DefaultTier)
		},
		func(obj *config.KustomizationRef, c randfill.Continue) {
			c.FillNoCustom(obj)
			setDefault(&obj.DeploymentType, lib.DeploymentTypeRemote)
			setDefault(&obj.Tier, config.DefaultTier)
		},
		func(obj *config.HelmChart, c randfill.Continue) {
			c.FillNoCustom(obj)
			setDefault(&obj.HelmChartAction, config.HelmChartActionInstall)
		},
		func(obj *config.HelmInstallOptions, c randfill.Continue) {
			c.FillNoCustom(obj)
			setDefault(&obj.CreateNamespace, ptr.To(true))
			setDefault(&obj.Replace, ptr.To(true))
			setDefault(&obj.RecoverAfterConsecutiveFailures, ptr.To[int32](5))
		},
		func(obj *config.HelmUpgradeOptions, c randfill.Continue) {
			c.FillNoCustom(obj)
			setDefault(&obj.MaxHistory, ptr.To[int32](2))
		},
		func(obj *config.DeployedResource, c randfill.Continue) {
			c.FillNoCustom(obj)
			setDefault(&obj.DeploymentType, lib.DeploymentTypeRemote)
		},
		func(obj *config.Addon, c randfill.Continue) {
			c.FillNoCustom(obj)
			setDefault(&obj.DeploymentType, lib.DeploymentTypeRemote)
		},
	)
}

func fillProfileSpec(spec *config.ProfileSpec, c randfill.Continue) {
	c.FillNoCustom(spec)
	setDefault(&spec.SyncMode, config.SyncModeContinuous)
	setDefault(&spec.Tier, config.DefaultTier)
	setDefault(&spec.StopMatchingBehavior, config.WithdrawPolicies)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
