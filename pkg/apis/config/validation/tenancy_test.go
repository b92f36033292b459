// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

// ofManagedClusters are the namespaces in a spec that are none of the host's.
var ofManagedClusters = []string{
	"Patches[].Target", "DriftExclusions[].Target", "ValidateHealths[]", "PreDeployChecks[]", "PreDeleteChecks[]", "PostDeleteChecks[]",
}

// referring has a reference in every place of a spec where there can be one.
func referring() *config.ProfileSpec {
	secret := func() *lib.SecretReference { return &lib.SecretReference{Name: "a"} }
	values := func() []config.ValueFrom { return []config.ValueFrom{{Kind: "ConfigMap", Name: "a"}} }
	checks := func() []lib.ValidateHealth {
		return []lib.ValidateHealth{{MetricSource: &lib.MetricSource{SecretRef: secret()}, JobCheck: &lib.JobCheck{JobRef: lib.JobReference{Name: "a"}}}}
	}
	return &config.ProfileSpec{
		ClusterRefs:          []corev1.ObjectReference{{Name: "a"}},
		TemplateResourceRefs: []config.TemplateResourceRef{{}},
		PolicyRefs:           []config.PolicyRef{{Kind: "ConfigMap"}, {RemoteURL: &config.RemoteURL{SecretRef: secret()}}},
		HelmCharts: []config.HelmChart{{
			ValuesFrom: values(), RegistryCredentialsConfig: &config.RegistryCredentialsConfig{Credentials: secret(), CA: secret()},
			ProvenanceVerification: &config.ProvenanceVerification{}, SignatureVerification: &config.SignatureVerification{SecretRef: secret()},
		}},
		KustomizationRefs: []config.KustomizationRef{
			{Kind: "Secret", ValuesFrom: values()}, {RemoteURL: &config.KustomizationRemoteURL{SecretRef: secret()}, ValuesFrom: values()},
		},
		ValidateHealths: checks(), PreDeployChecks: checks(), PreDeleteChecks: checks(), PostDeleteChecks: checks(),
		Patches: []lib.Patch{{Target: &lib.PatchSelector{}}}, PatchesFrom: values(),
		DriftExclusions: []lib.DriftExclusion{{Target: &lib.PatchSelector{}}},
	}
}

// refersIn reports whether a type, or one below it, has a namespace.
func refersIn(of reflect.Type) bool {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		return refersIn(of.Elem())
	case reflect.Struct:
		for i := range of.NumField() {
			if f := of.Field(i); f.Name == "Namespace" || strings.Contains(of.PkgPath(), "muster") && refersIn(f.Type) {
				return true
			}
		}
	}
	return false
}

// namespaces visits each namespace below a value, and reports places with none to visit.
func namespaces(t *testing.T, at string, of reflect.Value, visit func(at string, namespace reflect.Value)) {
	t.Helper()
	if !refersIn(of.Type()) {
		return
	}
	switch of.Kind() {
	case reflect.Pointer:
		if !of.IsNil() {
			namespaces(t, at, of.Elem(), visit)
		}
	case reflect.Slice:
		if of.Len() == 0 {
			t.Errorf("%s refers to objects, and is not tried", at)
		}
		for i := range of.Len() {
			namespaces(t, at+"[]", of.Index(i), visit)
		}
	case reflect.Struct:
		url := of.FieldByName("RemoteURL")
		for i := range of.NumField() {
			if field := of.Type().Field(i); field.Name == "Namespace" {
				// Beside a URL it refers to nothing.
				if !url.IsValid() || url.IsNil() {
					visit(at, of.Field(i))
				}
			} else if refersIn(field.Type) {
				namespaces(t, at+"."+field.Name, of.Field(i), visit)
			}
		}
	}
}

// Who may write a Profile may not read what is in another namespace, whatever refers to
// it: each reference that the types have is tried.
func TestAProfileRefersToItsOwnNamespaceAlone(t *testing.T) {
	profile := &config.Profile{Spec: *referring()}
	profile.Namespace = "civo"
	tried := 0
	namespaces(t, "", reflect.ValueOf(&profile.Spec), func(at string, namespace reflect.Value) {
		at = strings.TrimPrefix(at, ".")
		if slices.Contains(ofManagedClusters, at) {
			return
		}
		count := func() int {
			return strings.Count(ValidateProfile(profile).ToAggregate().Error(), "has to be civo, the namespace of")
		}
		before := count()
		namespace.SetString("other")
		if count() != before+1 {
			t.Errorf("%s may be in another namespace", at)
		}
		namespace.SetString("")
		tried++
	})
	if tried < 20 {
		t.Errorf("%d references were tried", tried)
	}
}
