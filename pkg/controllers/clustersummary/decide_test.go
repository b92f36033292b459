// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/fleet"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func readyCluster() *libv1beta1.SveltosCluster {
	return &libv1beta1.SveltosCluster{Status: libv1beta1.SveltosClusterStatus{Ready: true}}
}

func summaryOf(mode configv1beta1.SyncMode, generation int64, conditions ...metav1.Condition) *configv1beta1.ClusterSummary {
	return &configv1beta1.ClusterSummary{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "kyverno-sveltos-cluster1", Generation: generation},
		Spec: configv1beta1.ClusterSummarySpec{
			ClusterNamespace: "civo", ClusterName: "cluster1",
			ClusterProfileSpec: configv1beta1.ProfileSpec{SyncMode: mode},
		},
		Status: configv1beta1.ClusterSummaryStatus{Conditions: conditions},
	}
}

func provisioned(generation int64) metav1.Condition {
	return metav1.Condition{
		Type: configv1beta1.ConditionReady, Status: metav1.ConditionTrue,
		Reason: configv1beta1.ReasonProvisioned, ObservedGeneration: generation,
	}
}

func TestDecide(t *testing.T) {
	const (
		same  = "what is deployed"
		other = "something else"
	)
	good := &outcome{fingerprint: same, ended: noon}
	bad := &outcome{fingerprint: same, ended: noon, failures: 3, err: errors.New("no")}
	down := &libv1beta1.SveltosCluster{}
	paused := readyCluster()
	paused.Spec.Paused = true

	tests := []struct {
		name string
		s    situation
		want verdict
		wait time.Duration
	}{
		{"first job", situation{fingerprint: same}, verdictWork, 0},
		{"nothing changed", situation{fingerprint: same, last: good}, verdictNothing, 0},
		{"a URL is fetched again later", situation{fingerprint: same, last: &outcome{fingerprint: same, ended: noon, refresh: noon.Add(time.Minute)}, now: noon.Add(time.Second)}, verdictNothing, 59 * time.Second},
		{"a URL is fetched again now", situation{fingerprint: same, last: &outcome{fingerprint: same, ended: noon, refresh: noon.Add(time.Minute)}, now: noon.Add(time.Minute)}, verdictWork, 0},
		{"another revision", situation{fingerprint: other, last: good}, verdictWork, 0},
		{"a source changed", situation{fingerprint: same, last: good, dirty: true}, verdictWork, 0},
		{"failed just now", situation{fingerprint: same, last: bad, now: noon.Add(time.Second)}, verdictRetryLater, 3 * time.Second},
		{"failed a while ago", situation{fingerprint: same, last: bad, now: noon.Add(4 * time.Second)}, verdictWork, 0},
		{"failed, and mended", situation{fingerprint: same, last: bad, dirty: true, now: noon}, verdictWork, 0},
		{"cluster down", situation{cluster: down, fingerprint: other, last: good}, verdictWaitForCluster, 0},
		{"cluster paused", situation{cluster: paused, fingerprint: other, last: good}, verdictPaused, 0},
		{
			"OneTime, before",
			situation{summary: summaryOf(configv1beta1.SyncModeOneTime, 1), fingerprint: same}, verdictWork, 0,
		},
		{
			"OneTime, after",
			situation{summary: summaryOf(configv1beta1.SyncModeOneTime, 1, provisioned(1)), fingerprint: other, dirty: true}, verdictDone, 0,
		},
		{
			"OneTime, after, on another cluster",
			situation{summary: summaryOf(configv1beta1.SyncModeOneTime, 1, provisioned(1)), fingerprint: other, elsewhere: true}, verdictAnew, 0,
		},
		{
			"OneTime, after, with a new spec",
			situation{summary: summaryOf(configv1beta1.SyncModeOneTime, 2, provisioned(1)), fingerprint: other}, verdictWork, 0,
		},
		{
			"Continuous, after",
			situation{summary: summaryOf(configv1beta1.SyncModeContinuous, 1, provisioned(1)), fingerprint: other, last: good}, verdictWork, 0,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.s.summary == nil {
				test.s.summary = summaryOf(configv1beta1.SyncModeContinuous, 1)
			}
			if test.s.cluster == nil {
				test.s.cluster = readyCluster()
			}
			got, wait := decide(test.s)
			if got != test.want || wait != test.wait {
				t.Errorf("decide() = %s after %s, want %s after %s", got, wait, test.want, test.wait)
			}
		})
	}
}

func TestRetriesGrowToAMinute(t *testing.T) {
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i, seconds := range want {
		o := outcome{ended: noon, failures: i + 1}
		if got := o.retryAt().Sub(noon); got != seconds*time.Second {
			t.Errorf("after %d failures the next try is %s later, want %s", i+1, got, seconds*time.Second)
		}
	}
	if got := (outcome{ended: noon, failures: 1 << 20}).retryAt().Sub(noon); got != time.Minute {
		t.Errorf("after very many failures the next try is %s later, want a minute", got)
	}
}

func TestMemory(t *testing.T) {
	a := types.NamespacedName{Namespace: "civo", Name: "a"}
	b := types.NamespacedName{Namespace: "civo", Name: "b"}
	config := sourceRef{kind: "ConfigMap", NamespacedName: types.NamespacedName{Namespace: "default", Name: "config"}}
	dirty := func(m *memory, name types.NamespacedName) bool {
		_, d := m.last(name, "")
		return d
	}

	t.Run("a change reaches those who read the source", func(t *testing.T) {
		m := newMemory()
		m.begin(a)
		m.reads(a, config)
		m.begin(b)
		if got := m.changed(config); len(got) != 1 || got[0] != a || !dirty(m, a) || dirty(m, b) {
			t.Errorf("woken: %v, dirty a %v, b %v; want a alone", got, dirty(m, a), dirty(m, b))
		}
	})
	t.Run("a job that begins reads anew, and from then on changes count again", func(t *testing.T) {
		m := newMemory()
		m.begin(a)
		m.reads(a, config)
		m.changed(config)
		m.begin(a)
		if dirty(m, a) || len(m.changed(config)) != 0 {
			t.Error("what the former job read still counts after the next one has begun")
		}
	})
	t.Run("a change during a job is not lost", func(t *testing.T) {
		m := newMemory()
		m.begin(a)
		m.reads(a, config)
		m.changed(config)
		m.end(a, outcome{})
		if !dirty(m, a) {
			t.Error("the end of the job hid that its source changed meanwhile")
		}
	})
	t.Run("what is read again and again is noted once", func(t *testing.T) {
		m := newMemory()
		for range 3 {
			m.reads(a, config)
		}
		if got := len(m.of(a).sources); got != 1 {
			t.Errorf("noted %d times", got)
		}
	})
	t.Run("one job at a time, unless something changes", func(t *testing.T) {
		m := newMemory()
		if !m.activate(a, "x") || m.activate(a, "x") {
			t.Error("the same job was queued twice")
		}
		if !m.activate(a, "y") {
			t.Error("a job for something else was not queued")
		}
		m.due(a)
		if !m.activate(a, "y") {
			t.Error("a job was not queued although the summary is due")
		}
		m.begin(a)
		m.deactivate(a)
		if !m.activate(a, "y") {
			t.Error("no job could be queued after the former one had ended")
		}
	})
	t.Run("failures are counted while the same is tried", func(t *testing.T) {
		m := newMemory()
		failed := outcome{fingerprint: "x", err: errors.New("no")}
		m.end(a, failed)
		m.end(a, failed)
		if last, _ := m.last(a, ""); last.failures != 2 {
			t.Errorf("%d failures, want 2", last.failures)
		}
		failed.fingerprint = "y"
		m.end(a, failed)
		if last, _ := m.last(a, ""); last.failures != 1 {
			t.Errorf("%d failures of something new, want 1", last.failures)
		}
		m.end(a, outcome{fingerprint: "y"})
		if last, _ := m.last(a, ""); last.failures != 0 {
			t.Errorf("%d failures after a success, want 0", last.failures)
		}
	})
	t.Run("what was done for a summary is not done for its successor", func(t *testing.T) {
		m := newMemory()
		m.end(a, outcome{uid: "old", fingerprint: "x", withdrawn: true})
		if last, _ := m.last(a, "old"); last == nil || !last.withdrawn {
			t.Error("the end of the withdrawal was forgotten")
		}
		if last, _ := m.last(a, "new"); last != nil {
			t.Errorf("what was withdrawn passes for the outcome %+v of a summary that was made again", last)
		}
		failed := outcome{uid: "old", fingerprint: "x", err: errors.New("no")}
		m.end(a, failed)
		failed.uid = "new"
		m.end(a, failed)
		if last, _ := m.last(a, "new"); last.failures != 1 {
			t.Errorf("%d failures of a summary that was made again, want 1", last.failures)
		}
	})
	t.Run("strays are looked for once on each cluster", func(t *testing.T) {
		m := newMemory()
		cluster := deploy.Cluster{Ref: fleet.Ref{Namespace: "civo", Name: "cluster1"}, UID: "u", ID: "system"}
		if !m.searchDue(cluster, noon) {
			t.Error("nobody looks")
		}
		m.searched(cluster, noon.Add(strayRetry))
		if m.searchDue(cluster, noon.Add(strayRetry-1)) || !m.searchDue(cluster, noon.Add(strayRetry)) {
			t.Error("a search that failed is not made again after a pause, and then")
		}
		m.searched(cluster, time.Time{})
		if m.searchDue(cluster, noon.Add(time.Hour)) {
			t.Error("a search that found all there is is made again")
		}
		another := cluster
		another.ID = "another"
		if !m.searchDue(another, noon) {
			t.Error("nobody looks on another cluster of the same name")
		}
		m.forgetSearch(cluster.Ref)
		if len(m.searches) != 0 {
			t.Error("a cluster that is gone is remembered")
		}
	})
	t.Run("what is gone is forgotten", func(t *testing.T) {
		m := newMemory()
		m.begin(a)
		m.reads(a, config)
		m.forget(a)
		if len(m.summaries) != 0 || len(m.readers) != 0 {
			t.Errorf("still remembered: %d summaries, %d sources", len(m.summaries), len(m.readers))
		}
	})
}
