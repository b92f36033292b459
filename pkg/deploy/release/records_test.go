// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"strings"
	"testing"

	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// A revision that works and can't be read must not be taken for none: what has never
// worked is uninstalled.
func TestAHistoryThatCannotBeReadWholeIsNone(t *testing.T) {
	secrets := fake.NewClientset().CoreV1().Secrets("apps")
	releases := storage.Init(newRecords(secrets))
	if history, err := readHistory(releases, "web"); err != nil || len(history) != 0 {
		t.Errorf("without any: %v, %v", history, err)
	}
	for number, status := range []helmrelease.Status{helmrelease.StatusDeployed, helmrelease.StatusFailed} {
		if err := releases.Create(revision(number+1, status, "1.0.0")); err != nil {
			t.Fatal(err)
		}
	}
	if history, err := readHistory(releases, "web"); err != nil || len(history) != 2 {
		t.Fatalf("whole: %v, %v", history, err)
	}
	secret, err := secrets.Get(t.Context(), "sh.helm.release.v1.web.v1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data["release"] = []byte("aHVudGVyMjI=")
	if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	history, err := readHistory(releases, "web")
	if err == nil || !strings.Contains(err.Error(), "owner=helm,name=web") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("read %d revisions, %v", len(history), err)
	}
	if _, err := readHistory(releases, "other"); err != nil {
		t.Errorf("another release: %v", err)
	}
}
