// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func validCluster() *lib.SveltosCluster {
	return &lib.SveltosCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "cluster1", ResourceVersion: "1"},
		Spec:       lib.SveltosClusterSpec{ConsecutiveFailureThreshold: 3},
	}
}

func TestValidateSveltosCluster(t *testing.T) {
	tests := map[string]struct {
		change func(*lib.SveltosCluster)
		want   []string
	}{
		"least": {func(*lib.SveltosCluster) {}, nil},
		"all that is obeyed": {func(c *lib.SveltosCluster) {
			c.Spec = lib.SveltosClusterSpec{
				KubeconfigName: "kubeconfig.of-it", KubeconfigKeyName: "re-kubeconfig", Paused: true,
				Data: map[string]string{"region": "eu"}, ConsecutiveFailureThreshold: 1,
			}
		}, nil},
		"label of a user":     {func(c *lib.SveltosCluster) { c.Labels = map[string]string{"sveltos-agent": "present"} }, nil},
		"name too long":       {func(c *lib.SveltosCluster) { c.Name = strings.Repeat("a", 64) }, []string{"metadata.name: no more than 63"}},
		"bad name":            {func(c *lib.SveltosCluster) { c.Name = "Cluster" }, []string{"metadata.name: RFC 1123"}},
		"no namespace":        {func(c *lib.SveltosCluster) { c.Namespace = "" }, []string{"metadata.namespace: Required value"}},
		"kubeconfigName":      {func(c *lib.SveltosCluster) { c.Spec.KubeconfigName = "../secret" }, []string{"spec.kubeconfigName: RFC 1123"}},
		"kubeconfigKeyName":   {func(c *lib.SveltosCluster) { c.Spec.KubeconfigKeyName = "a/b" }, []string{"spec.kubeconfigKeyName: Invalid value"}},
		"negative threshold":  {func(c *lib.SveltosCluster) { c.Spec.ConsecutiveFailureThreshold = -1 }, []string{"spec.consecutiveFailureThreshold: between 1 and 1000"}},
		"threshold too large": {func(c *lib.SveltosCluster) { c.Spec.ConsecutiveFailureThreshold = 1001 }, []string{"spec.consecutiveFailureThreshold: between 1 and 1000"}},
		"data too large": {
			func(c *lib.SveltosCluster) { c.Spec.Data = map[string]string{"a": strings.Repeat("x", maxDataSize)} },
			[]string{"spec.data: Too long"},
		},
		"workloadIdentity": {
			func(c *lib.SveltosCluster) { c.Spec.WorkloadIdentity = &lib.WorkloadIdentity{Provider: "AWS"} },
			[]string{"spec.workloadIdentity: Forbidden: not supported yet"},
		},
		"tokenRequestRenewalOption": {
			func(c *lib.SveltosCluster) {
				c.Spec.TokenRequestRenewalOption = &lib.TokenRequestRenewalOption{RenewTokenRequestInterval: metav1.Duration{Duration: time.Hour}}
			},
			[]string{"spec.tokenRequestRenewalOption: Forbidden: not supported yet"},
		},
		"activeWindow": {
			func(c *lib.SveltosCluster) {
				c.Spec.ActiveWindow = &lib.ActiveWindow{From: "0 1 * * *", To: "0 2 * * *"}
			}, nil,
		},
		"activeWindow without an end": {
			func(c *lib.SveltosCluster) { c.Spec.ActiveWindow = &lib.ActiveWindow{From: "0 1 * * *"} },
			[]string{"spec.activeWindow.to: Required value"},
		},
		"activeWindow that is no cron": {
			func(c *lib.SveltosCluster) { c.Spec.ActiveWindow = &lib.ActiveWindow{From: "1am", To: "TZ=0"} },
			[]string{"spec.activeWindow.from: Invalid value", "spec.activeWindow.to: Invalid value"},
		},
		"activeWindow of no time": {
			func(c *lib.SveltosCluster) {
				c.Spec.ActiveWindow = &lib.ActiveWindow{From: "0 1 * * *", To: "0 1 * * *"}
			},
			[]string{"spec.activeWindow.to: Invalid value"},
		},
		"pullMode": {func(c *lib.SveltosCluster) { c.Spec.PullMode = true }, []string{"spec.pullMode: Forbidden: not supported yet"}},
		"shard": {
			func(c *lib.SveltosCluster) { c.Annotations = map[string]string{v1beta1.AnnotationShard: ""} },
			[]string{"metadata.annotations[sharding.projectsveltos.io/key]: Forbidden: not supported yet"},
		},
		"fenced": {func(c *lib.SveltosCluster) { c.Annotations = map[string]string{v1beta1.AnnotationFence: "true"} }, nil},
		"fence misspelt": {
			func(c *lib.SveltosCluster) { c.Annotations = map[string]string{v1beta1.AnnotationFence: "yes"} },
			[]string{`metadata.annotations[muster.projectsveltos.io/fence]: Unsupported value: "yes"`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := validCluster()
			tt.change(c)
			expect(t, ValidateSveltosCluster(c), tt.want...)

			// The same change to a valid object is refused too, and is no obstacle once it
			// is stored.
			if c.Name == "cluster1" && c.Namespace == "civo" {
				expect(t, ValidateSveltosClusterUpdate(c, validCluster()), tt.want...)
				finalized := c.DeepCopy()
				finalized.Finalizers = nil
				finalized.Labels = map[string]string{"new": "label"}
				expect(t, ValidateSveltosClusterUpdate(finalized, c))
				expect(t, ValidateSveltosClusterStatusUpdate(finalized, c))
			}
		})
	}
}

func TestUpdateRefusesAnotherValueOfARefusedField(t *testing.T) {
	old := validCluster()
	old.Spec.WorkloadIdentity = &lib.WorkloadIdentity{Provider: "AWS"}
	changed := old.DeepCopy()
	changed.Spec.WorkloadIdentity.Provider = "GCP"
	expect(t, ValidateSveltosClusterUpdate(changed, old), "spec.workloadIdentity: Forbidden: not supported yet")
}

func TestUpdateKeepsIdentity(t *testing.T) {
	renamed := validCluster()
	renamed.Name = "cluster2"
	expect(t, ValidateSveltosClusterUpdate(renamed, validCluster()), "metadata.name: field is immutable")
}

func TestValidateSveltosClusterStatusUpdate(t *testing.T) {
	tests := map[string]struct {
		status lib.SveltosClusterStatus
		want   []string
	}{
		"empty": {},
		"full": {status: lib.SveltosClusterStatus{
			Ready: true, ConnectionStatus: lib.ConnectionHealthy, ConnectionFailures: 2, Version: "v1.37.0", ClusterID: "id",
			Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Reachable", LastTransitionTime: metav1.Now()}},
		}},
		"connectionStatus": {
			status: lib.SveltosClusterStatus{ConnectionStatus: "Sick"},
			want:   []string{`status.connectionStatus: Unsupported value: "Sick"`},
		},
		"connectionFailures": {
			status: lib.SveltosClusterStatus{ConnectionFailures: -1},
			want:   []string{"status.connectionFailures: must be greater than or equal to 0"},
		},
		"conditions": {
			status: lib.SveltosClusterStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "Perhaps", Reason: "X", LastTransitionTime: metav1.Now()}}},
			want:   []string{"status.conditions[0].status: Unsupported value"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := validCluster()
			c.Status = tt.status
			expect(t, ValidateSveltosClusterStatusUpdate(c, validCluster()), tt.want...)
			expect(t, ValidateSveltosClusterStatusUpdate(c, c))
		})
	}
}

// setCase is a change to a set that both kinds of sets judge alike.
type setCase struct {
	change   func(*metav1.ObjectMeta, *lib.ClusterSetSpec)
	want     []string
	warnings []string
}

func setCases() map[string]setCase {
	const (
		selectsNone = "spec.maxReplicas: unset or 0 selects no cluster"
		matchesNone = "spec.clusterSelector: an empty selector matches no cluster, and there are no clusterRefs"
	)
	return map[string]setCase{
		"good":  {change: func(*metav1.ObjectMeta, *lib.ClusterSetSpec) {}},
		"empty": {change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) { *s = lib.ClusterSetSpec{} }, warnings: []string{selectsNone, matchesNone}},
		"none":  {change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) { s.MaxReplicas = 0 }, warnings: []string{selectsNone}},
		"negative": {
			change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) { s.MaxReplicas = -1 },
			want:   []string{"spec.maxReplicas: Invalid value: -1"},
		},
		"many": {change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) { s.MaxReplicas = 5000 }},
		"very many": {
			change:   func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) { s.MaxReplicas = 5001 },
			warnings: []string{"spec.maxReplicas: 5001 is more than 5000; the status of the set becomes very large"},
		},
		"references": {change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) {
			s.ClusterSelector, s.ClusterRefs = lib.Selector{}, []corev1.ObjectReference{cluster("civo", "a")}
		}},
		"same reference twice": {
			change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) {
				s.ClusterRefs = []corev1.ObjectReference{cluster("civo", "a"), cluster("civo", "b"), cluster("civo", "a")}
			},
			warnings: []string{"spec.clusterRefs[2]: SveltosCluster civo/a is named more than once"},
		},
		"bad reference": {
			change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) {
				s.ClusterRefs = []corev1.ObjectReference{cluster("civo", "")}
			},
			want: []string{"spec.clusterRefs[0].name: Required value"},
		},
		"bad selector": {
			change: func(_ *metav1.ObjectMeta, s *lib.ClusterSetSpec) {
				s.ClusterSelector = lib.ParseSelector("env in prod")
			},
			want: []string{"spec.clusterSelector: not a label selector"},
		},
		"brake ignored": {change: func(m *metav1.ObjectMeta, _ *lib.ClusterSetSpec) {
			m.Annotations = map[string]string{v1beta1.AnnotationIgnoreBrake: "true"}
		}},
		"brake misspelt": {
			change: func(m *metav1.ObjectMeta, _ *lib.ClusterSetSpec) {
				m.Annotations = map[string]string{v1beta1.AnnotationIgnoreBrake: "yes"}
			},
			want: []string{`metadata.annotations[muster.projectsveltos.io/ignore-brake]: Unsupported value: "yes"`},
		},
	}
}

func TestValidateClusterSet(t *testing.T) {
	for name, tt := range setCases() {
		t.Run(name, func(t *testing.T) {
			good := &lib.ClusterSet{
				ObjectMeta: metav1.ObjectMeta{Name: "prod", ResourceVersion: "1"},
				Spec:       lib.ClusterSetSpec{ClusterSelector: lib.ParseSelector("env=prod"), MaxReplicas: 1},
			}
			set := good.DeepCopy()
			tt.change(&set.ObjectMeta, &set.Spec)
			expect(t, ValidateClusterSet(set), tt.want...)
			expect(t, ValidateClusterSetUpdate(set, good), tt.want...)
			expect(t, ValidateClusterSetUpdate(set, set))
			expect(t, ValidateClusterSetStatusUpdate(set, set))
			if diff := cmp.Diff(tt.warnings, WarningsOnClusterSet(set)); diff != "" && tt.want == nil {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateSet(t *testing.T) {
	for name, tt := range setCases() {
		t.Run(name, func(t *testing.T) {
			good := &lib.Set{
				ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "prod", ResourceVersion: "1"},
				Spec:       lib.ClusterSetSpec{ClusterSelector: lib.ParseSelector("env=prod"), MaxReplicas: 1},
			}
			set := good.DeepCopy()
			tt.change(&set.ObjectMeta, &set.Spec)
			expect(t, ValidateSet(set), tt.want...)
			expect(t, ValidateSetUpdate(set, good), tt.want...)
			expect(t, ValidateSetUpdate(set, set))
			expect(t, ValidateSetStatusUpdate(set, set))
			if diff := cmp.Diff(tt.warnings, WarningsOnSet(set)); diff != "" && tt.want == nil {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("cluster of another namespace", func(t *testing.T) {
		set := &lib.Set{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "prod"}}
		set.Spec.ClusterRefs = []corev1.ObjectReference{cluster("civo", "a"), cluster("other", "a")}
		expect(t, ValidateSet(set), "spec.clusterRefs[1].namespace: has to be civo, the namespace of this object")
	})
}

func TestValidateSetStatus(t *testing.T) {
	old := &lib.ClusterSet{ObjectMeta: metav1.ObjectMeta{Name: "prod", ResourceVersion: "1"}, Spec: lib.ClusterSetSpec{MaxReplicas: -1}}
	set := old.DeepCopy()
	set.Status = lib.ClusterSetStatus{
		MatchingClusterCount: -1, SelectedClusterCount: -1,
		Conditions: []metav1.Condition{{Type: "a b", Status: "True", Reason: "X", LastTransitionTime: metav1.Now()}},
	}
	expect(t, ValidateClusterSetStatusUpdate(set, old),
		"status.conditions[0].type: Invalid value", "status.matchingClusterCount: Invalid value", "status.selectedClusterCount: Invalid value")
}

func TestValidateSelectionOptions(t *testing.T) {
	tests := map[string]struct {
		options lib.SelectionOptions
		want    []string
	}{
		"none":            {},
		"all":             {options: lib.SelectionOptions{Limit: 5, Continue: "x", Reason: "NotMatching", ResourceVersion: "0"}},
		"some version":    {options: lib.SelectionOptions{ResourceVersion: "123"}},
		"negative limit":  {options: lib.SelectionOptions{Limit: -1}, want: []string{"limit: Invalid value: -1"}},
		"unknown reason":  {options: lib.SelectionOptions{Reason: "held"}, want: []string{`reason: Unsupported value: "held": supported values: "Selected", "Held"`}},
		"strange version": {options: lib.SelectionOptions{ResourceVersion: "x"}, want: []string{`resourceVersion: Invalid value: "x"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			expect(t, ValidateSelectionOptions(&tt.options), tt.want...)
		})
	}
}
