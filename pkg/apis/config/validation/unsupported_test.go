// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

// obeyed are the fields of specs that are obeyed whatever they hold.
var obeyed = map[string][]string{
	"SveltosCluster": {
		"spec.kubeconfigName", "spec.kubeconfigKeyName", "spec.paused", "spec.data", "spec.consecutiveFailureThreshold",
		"spec.readinessChecks", "spec.livenessChecks", "spec.activeWindow",
	},
	"ClusterSet": {"spec.clusterSelector", "spec.maxReplicas", "spec.clusterRefs[].namespace", "spec.clusterRefs[].name"},
	"ClusterProfile": {
		"spec.clusterSelector", "spec.clusterRefs[].namespace", "spec.clusterRefs[].name", "spec.setRefs", "spec.tier", "spec.stopMatchingBehavior",
		"spec.reloader", "spec.dependsOn", "spec.maxUpdate", "spec.validateHealths", "spec.preDeployChecks", "spec.preDeleteChecks", "spec.postDeleteChecks",
		"spec.syncMode", "spec.driftExclusions",
		"spec.policyRefs[].namespace", "spec.policyRefs[].name", "spec.policyRefs[].optional", "spec.policyRefs[].skipNamespaceCreation",
		"spec.kustomizationRefs[].namespace", "spec.kustomizationRefs[].name", "spec.kustomizationRefs[].path", "spec.kustomizationRefs[].components",
		"spec.kustomizationRefs[].targetNamespace", "spec.kustomizationRefs[].optional", "spec.kustomizationRefs[].skipNamespaceCreation",
		"spec.kustomizationRefs[].values", "spec.kustomizationRefs[].valuesFrom",
		"spec.policyRefs[].remoteURL", "spec.kustomizationRefs[].remoteURL",
		"spec.continueOnConflict", "spec.continueOnError", "spec.maxConsecutiveFailures", "spec.transitionFrom", "spec.featureOrder",
		"spec.policyRefs[].deploymentType", "spec.policyRefs[].force", "spec.policyRefs[].tier",
		"spec.kustomizationRefs[].deploymentType", "spec.kustomizationRefs[].force", "spec.kustomizationRefs[].tier",
		"spec.policyRefs[].kind", "spec.policyRefs[].path", "spec.kustomizationRefs[].kind", "spec.helmCharts[].repositoryURL",
		"spec.helmCharts[].registryCredentialsConfig", "spec.helmCharts[].options.passCredentialsAll",
		"spec.helmCharts[].provenanceVerification", "spec.helmCharts[].signatureVerification.secretRef",
		"spec.templateResourceRefs",
		"spec.patches", "spec.patchesFrom", "spec.extraLabels", "spec.extraAnnotations", "spec.helmCharts[].valuesFrom",
		"spec.helmCharts[].repositoryName", "spec.helmCharts[].chartName", "spec.helmCharts[].chartVersion", "spec.helmCharts[].releaseName",
		"spec.helmCharts[].releaseNamespace", "spec.helmCharts[].values", "spec.helmCharts[].helmChartAction",
		"spec.helmCharts[].options.skipCRDs", "spec.helmCharts[].options.wait", "spec.helmCharts[].options.waitForJobs",
		"spec.helmCharts[].options.timeout", "spec.helmCharts[].options.dependencyUpdate", "spec.helmCharts[].options.atomic",
		"spec.helmCharts[].options.disableHooks", "spec.helmCharts[].options.disableOpenAPIValidation", "spec.helmCharts[].options.skipSchemaValidation",
		"spec.helmCharts[].options.enableClientCache", "spec.helmCharts[].options.runTests", "spec.helmCharts[].options.labels",
		"spec.helmCharts[].options.description", "spec.helmCharts[].options.postRenderStrategy", "spec.helmCharts[].options.installOptions",
		"spec.helmCharts[].options.upgradeOptions", "spec.helmCharts[].options.uninstallOptions",
	},
}

// ignoredByUpstream are fields of references to clusters that no version looks at.
// An apiVersion is checked with its kind.
var ignoredByUpstream = []string{"apiVersion", "uid", "resourceVersion", "fieldPath"}

// Every field of a spec is either obeyed or refused: nothing is accepted and
// ignored. A field that is added to the types has to be decided on here.
func TestEveryFieldIsObeyedOrRefused(t *testing.T) {
	rows := append(libvalidation.Rows(), Rows()...)
	for kind, spec := range map[string]any{
		"SveltosCluster": libv1beta1.SveltosClusterSpec{},
		"ClusterSet":     libv1beta1.ClusterSetSpec{},
		"ClusterProfile": v1beta1.ProfileSpec{},
	} {
		t.Run(kind, func(t *testing.T) {
			refused := map[string]bool{}
			for _, row := range rows {
				if slices.Contains(strings.Split(row.Kinds, ", "), kind) {
					refused[row.Path] = true
				}
			}
			var fields []string
			walk(reflect.TypeOf(spec), "spec", func(path string, leaf bool) bool {
				known := refused[path] || slices.Contains(obeyed[kind], path)
				if known {
					fields = append(fields, path)
				} else if leaf {
					t.Errorf("%s is neither obeyed nor refused", path)
				}
				return !known
			})
			for _, path := range obeyed[kind] {
				if refused[path] || !slices.Contains(fields, path) {
					t.Errorf("%s is called obeyed, and is refused or does not exist", path)
				}
			}
			for path := range refused {
				if strings.HasPrefix(path, "spec.") && !slices.Contains(fields, path) {
					t.Errorf("%s is refused and does not exist", path)
				}
			}
		})
	}
}

// walk visits fields by their names in JSON, and those below a field that visit
// returns true for.
func walk(typ reflect.Type, path string, visit func(path string, leaf bool) bool) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if slices.Contains(ignoredByUpstream, name) && typ.Name() == "ObjectReference" {
			continue
		}
		below, element := f.Type, path+"."+name
		if below.Kind() == reflect.Pointer {
			below = below.Elem()
		}
		if below.Kind() == reflect.Slice && below.Elem().Kind() == reflect.Struct {
			if !visit(element, false) {
				continue
			}
			below, element = below.Elem(), element+"[]"
		}
		leaf := below.Kind() != reflect.Struct
		if visit(element, leaf) && !leaf {
			walk(below, element, visit)
		}
	}
}

func TestRowsSayWhy(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range append(libvalidation.Rows(), Rows()...) {
		if key := row.Kinds + row.Path; seen[key] {
			t.Errorf("%s: %s is there twice", row.Kinds, row.Path)
		} else {
			seen[key] = true
		}
		if row.Reason == "" || row.Kinds == "" {
			t.Errorf("%+v says too little", row)
		}
		if strings.ContainsAny(row.Reason, "|\n") {
			t.Errorf("%s: %q breaks the table of the documentation", row.Path, row.Reason)
		}
	}
}
