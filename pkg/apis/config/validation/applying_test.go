// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

func TestValidateHowAProfileIsApplied(t *testing.T) {
	order := func(features ...lib.FeatureID) func(*config.Profile) {
		return func(p *config.Profile) { p.Spec.FeatureOrder = features }
	}
	tenant := func(labels map[string]string) func(*config.Profile) {
		return func(p *config.Profile) { p.Labels = labels }
	}
	const account, home = "projectsveltos.io/serviceaccount-name", "projectsveltos.io/serviceaccount-namespace"
	tests := map[string]struct {
		change func(*config.Profile)
		want   []string
	}{
		"go on":           {func(p *config.Profile) { p.Spec.ContinueOnError, p.Spec.ContinueOnConflict = true, true }, nil},
		"full order":      {order(lib.FeatureHelm, lib.FeatureResources, lib.FeatureKustomize), nil},
		"part of it":      {order(lib.FeatureKustomize), nil},
		"twice the same":  {order(lib.FeatureHelm, lib.FeatureHelm), []string{`spec.featureOrder[1]: Duplicate value: "Helm"`}},
		"unknown feature": {order(lib.FeatureHelm, "Charts"), []string{`spec.featureOrder[1]: Unsupported value: "Charts": supported values: "Resources", "Helm", "Kustomize"`}},
		"some failures":   {func(p *config.Profile) { p.Spec.MaxConsecutiveFailures = ptr.To[int32](3) }, nil},
		"below none":      {func(p *config.Profile) { p.Spec.MaxConsecutiveFailures = ptr.To[int32](-1) }, []string{"spec.maxConsecutiveFailures: has to be at least 0"}},
		"predecessor":     {func(p *config.Profile) { p.Spec.TransitionFrom = "old" }, nil},
		"no name":         {func(p *config.Profile) { p.Spec.TransitionFrom = "a/b" }, []string{"spec.transitionFrom: "}},
		"from itself":     {func(p *config.Profile) { p.Spec.TransitionFrom = p.Name }, []string{"spec.transitionFrom: has to be another profile"}},
		"tenant":          {tenant(map[string]string{account: "eng", home: "teams"}), nil},
		"nameless":        {tenant(map[string]string{home: "teams"}), []string{"metadata.labels[" + account + "]: Required value"}},
		"homeless":        {tenant(map[string]string{account: "eng"}), []string{"metadata.labels[" + home + "]: Required value"}},
		"empty":           {tenant(map[string]string{account: "", home: ""}), []string{"metadata.labels[" + account + "]: Required value", "metadata.labels[" + home + "]: Required value"}},
		"no account":      {tenant(map[string]string{account: "Eng", home: "teams"}), []string{"metadata.labels[" + account + "]: "}},
		"no namespace":    {tenant(map[string]string{account: "eng", home: "a.b"}), []string{"metadata.labels[" + home + "]: "}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := validProfile()
			tt.change(p)
			expect(t, ValidateProfile(p), tt.want...)
			expect(t, ValidateClusterProfile(&config.ClusterProfile{ObjectMeta: withoutNamespace(p), Spec: p.Spec}), tt.want...)
			changed := p.DeepCopy()
			changed.Spec.HelmCharts = nil
			expect(t, ValidateProfileUpdate(changed, p))
		})
	}
}

func withoutNamespace(p *config.Profile) metav1.ObjectMeta {
	meta := *p.ObjectMeta.DeepCopy()
	meta.Namespace = ""
	return meta
}
