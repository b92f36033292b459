// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

const aDiff = "--- a (live)\n+++ a (profile)\n@@ -1 +1 @@\n-x\n+y\n"

func resourceReport(name, action, message string) configv1beta1.ResourceReport {
	return configv1beta1.ResourceReport{Resource: configv1beta1.DeployedResource{Kind: "ConfigMap", Namespace: "apps", Name: name}, Action: action, Message: message}
}

func TestDiffPrintsAndExits(t *testing.T) {
	cluster := corev1.ObjectReference{Namespace: "civo", Name: "c1"}
	tests := map[string]struct {
		diff   configv1beta1.ClusterDiff
		out    string
		failed string
		code   int
	}{
		"nothing": {configv1beta1.ClusterDiff{Resources: []configv1beta1.ResourceReport{resourceReport("a", "No Action", "")}}, "", "", 0},
		"changes": {
			configv1beta1.ClusterDiff{
				Releases:  []configv1beta1.ReleaseReport{{ReleaseName: "r", ReleaseNamespace: "apps", Action: "Upgrade", Message: "upgrades nginx"}},
				Resources: []configv1beta1.ResourceReport{resourceReport("a", "Update", aDiff), resourceReport("b", "Delete", "")},
			},
			"civo/c1: Upgrade release apps/r: upgrades nginx\ncivo/c1: Update ConfigMap apps/a\n" + aDiff + "civo/c1: Delete ConfigMap apps/b\n", "", 1,
		},
		"a cluster that does not answer": {configv1beta1.ClusterDiff{FailureMessage: "timed out"}, "", "Error: civo/c1: timed out\n", 2},
		"a warning":                      {configv1beta1.ClusterDiff{Warnings: []string{"deprecated"}}, "", "Warning: civo/c1: deprecated\n", 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.diff.Cluster = cluster
			var out, failed strings.Builder
			printClusterDiff(&out, &failed, &tc.diff)
			if out.String() != tc.out || failed.String() != tc.failed {
				t.Errorf("it prints %q, and beside it %q", out.String(), failed.String())
			}
			code := 0
			if exit := (*ExitError)(nil); errors.As(outcome(&configv1beta1.Diff{Clusters: []configv1beta1.ClusterDiff{tc.diff}}), &exit) {
				code = exit.Code
			}
			if code != tc.code {
				t.Errorf("exit status %d, want %d", code, tc.code)
			}
		})
	}
}

func TestShowDryRun(t *testing.T) {
	reports := []configv1beta1.ClusterReport{{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{libv1beta1.LabelClusterProfileName: "kyverno"}},
		Spec:       configv1beta1.ClusterReportSpec{ClusterNamespace: "civo", ClusterName: "c1"},
		Status: configv1beta1.ClusterReportStatus{
			ReleaseReports:  []configv1beta1.ReleaseReport{{ReleaseName: "r", ReleaseNamespace: "apps", Action: "Install"}},
			ResourceReports: []configv1beta1.ResourceReport{resourceReport("a", "Update", aDiff)},
		},
	}}
	var table strings.Builder
	printDryRunTable(&table, reports)
	for _, want := range []string{"CLUSTER", "RESOURCE TYPE", "ACTION", "MESSAGE", "PROFILE", "civo/c1", "helm release", ":ConfigMap", "use --raw-diff", "ClusterProfile/kyverno"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, table.String())
		}
	}
	var raw strings.Builder
	printRawDiffs(&raw, reports)
	if want := "Profile: ClusterProfile:kyverno Cluster: civo/c1\n" + aDiff + "\n"; raw.String() != want {
		t.Errorf("it prints %q, want %q", raw.String(), want)
	}
}
