// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/render"
)

func TestQueryMetric(t *testing.T) {
	typeless := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "typeless"}, Data: map[string][]byte{"token": []byte("hunter2")}}
	typed := typeless.DeepCopy()
	typed.Name, typed.Type = "typed", render.SecretType
	b := newRemoteBuilder(t, "civo", hostObjects{"Secret/civo/typeless": typeless, "Secret/civo/typed": typed}, map[string][]byte{
		"/api/v1/query":      []byte(`{"status":"success","data":{"resultType":"scalar","result":[1,"42"]}}`),
		"/prom/api/v1/query": []byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`),
	})
	for name, tc := range map[string]struct {
		source libv1beta1.MetricSource
		want   string // part of the error, empty if there is none
	}{
		"a number":          {libv1beta1.MetricSource{URL: sourcesURL, SecretRef: &libv1beta1.SecretReference{Name: "typed"}}, ""},
		"no number":         {libv1beta1.MetricSource{URL: sourcesURL + "/prom"}, "0 elements"},
		"no such path":      {libv1beta1.MetricSource{URL: sourcesURL, Path: "elsewhere"}, "404"},
		"a Secret for else": {libv1beta1.MetricSource{URL: sourcesURL, SecretRef: &libv1beta1.SecretReference{Name: "typeless"}}, "wrong Secret type"},
		"another's Secret":  {libv1beta1.MetricSource{URL: sourcesURL, SecretRef: &libv1beta1.SecretReference{Namespace: "other", Name: "typed"}}, "own namespace"},
		"the server itself": {libv1beta1.MetricSource{URL: "http://127.0.0.1:1"}, "loopback"},
	} {
		value, err := b.queryMetric(t.Context(), &tc.source, "up")
		switch {
		case tc.want == "" && (err != nil || value != 42):
			t.Errorf("%s: %v, %v", name, value, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

func TestJobManifest(t *testing.T) {
	const job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: smoke}\n"
	holding := func(text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{Data: map[string]string{"job.yaml": text}}
	}
	b, _ := newBuilder(t, "civo", hostObjects{
		"ConfigMap/civo/one": holding(job), "ConfigMap/civo/two": holding(job + "---\n" + strings.Replace(job, "smoke", "fire", 1)),
	})
	for name, want := range map[string]string{"one": "", "two": "one Job", "gone": "does not exist"} {
		object, err := b.jobManifest(t.Context(), libv1beta1.JobReference{Kind: "ConfigMap", Namespace: "civo", Name: name})
		switch {
		case want == "" && (err != nil || object.GetName() != "smoke"):
			t.Errorf("%s: %v, %v", name, object, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if _, err := b.jobManifest(t.Context(), libv1beta1.JobReference{Kind: "ConfigMap", Namespace: "other", Name: "one"}); err == nil || !strings.Contains(err.Error(), "own namespace") {
		t.Errorf("of another namespace: %v", err)
	}
}
