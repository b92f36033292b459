// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

func TestValidateFlow(t *testing.T) {
	upTo := func(value intstr.IntOrString) func(*config.Profile) {
		return func(p *config.Profile) { p.Spec.MaxUpdate = ptr.To(value) }
	}
	dependsOn := func(names ...string) func(*config.Profile) {
		return func(p *config.Profile) { p.Spec.DependsOn = names }
	}
	tests := map[string]struct {
		change func(*config.Profile)
		want   []string
	}{
		"a number":            {upTo(intstr.FromInt32(3)), nil},
		"a number in quotes":  {upTo(intstr.FromString("3")), nil},
		"a percentage":        {upTo(intstr.FromString("30%")), nil},
		"all":                 {upTo(intstr.FromString("100%")), nil},
		"more than all":       {upTo(intstr.FromString("101%")), []string{"spec.maxUpdate: Invalid value"}},
		"less than none":      {upTo(intstr.FromInt32(-1)), []string{"spec.maxUpdate: Invalid value"}},
		"no number":           {upTo(intstr.FromString("some")), []string{"spec.maxUpdate: Invalid value"}},
		"others":              {dependsOn("a", "b"), nil},
		"itself":              {dependsOn("a", "kyverno"), []string{"spec.dependsOn[1]: Invalid value"}},
		"twice":               {dependsOn("a", "a"), []string{"spec.dependsOn[1]: Duplicate value"}},
		"nobody":              {dependsOn(""), []string{"spec.dependsOn[0]: Required value"}},
		"nobody of that name": {dependsOn("a/b"), []string{"spec.dependsOn[0]: RFC 1123"}},
		"very many":           {dependsOn(make([]string, maxDependencies+1)...), []string{"spec.dependsOn: Too many"}},
		"a check of each moment": {func(p *config.Profile) {
			check := []lib.ValidateHealth{{Name: "a", FeatureID: lib.FeatureHelm, Version: "v1", Kind: "Pod"}}
			p.Spec.PreDeployChecks, p.Spec.ValidateHealths, p.Spec.PreDeleteChecks, p.Spec.PostDeleteChecks = check, check, check, check
		}, nil},
		"a broken one of each": {func(p *config.Profile) {
			check := []lib.ValidateHealth{{Name: "a", FeatureID: "Magic", Version: "v1", Kind: "Pod"}}
			p.Spec.PreDeployChecks, p.Spec.ValidateHealths, p.Spec.PreDeleteChecks, p.Spec.PostDeleteChecks = check, check, check, check
		}, []string{
			"spec.preDeployChecks[0].featureID: Unsupported value", "spec.validateHealths[0].featureID: Unsupported value",
			"spec.preDeleteChecks[0].featureID: Unsupported value", "spec.postDeleteChecks[0].featureID: Unsupported value",
		}},
		"a job of another namespace": {func(p *config.Profile) {
			p.Spec.ValidateHealths = []lib.ValidateHealth{{Name: "a", FeatureID: lib.FeatureHelm, JobCheck: &lib.JobCheck{
				JobRef: lib.JobReference{Kind: "ConfigMap", Namespace: "other", Name: "job"},
			}}}
		}, []string{"spec.validateHealths[0].jobCheck.jobRef.namespace: has to be civo"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := validProfile()
			tt.change(p)
			expect(t, ValidateProfile(p), tt.want...)
			expect(t, ValidateProfileUpdate(p, p))
		})
	}
}
