// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// edit changes a ConfigMap of cluster1 as somebody.
func (s *scope) edit(name, manager string, change map[string]any) {
	s.Helper()
	patch, err := json.Marshal(change)
	if err != nil {
		s.Fatal(err)
	}
	_, err = s.managed["cluster1"].CoreV1().ConfigMaps(contentNamespace).
		Patch(s.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		s.Fatal(err)
	}
}

// value is a change of a ConfigMap's data.
func value(key, value string) map[string]any {
	return map[string]any{"data": map[string]any{key: value}}
}

// unwritten is a check that a ConfigMap of cluster1 has not been written since.
func (s *scope) unwritten(name string) func(context.Context) error {
	s.Helper()
	before, err := s.content(s.Context(), "cluster1", name)
	if err != nil || before == nil {
		s.Fatalf("reading %s: %v, %v", name, before, err)
	}
	return func(ctx context.Context) error {
		now, err := s.content(ctx, "cluster1", name)
		if err == nil && (now == nil || now.ResourceVersion != before.ResourceVersion) {
			err = fmt.Errorf("%s was %s and is %s", name, asJSON(before), asJSON(now))
		}
		return err
	}
}

// TestDrift changes what was deployed behind Muster's back, in every way that there is.
func TestDrift(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	repository := s.chartRepository()
	a, b, chart := s.name+"-a", s.name+"-b", s.name+"-chart"
	s.register("cluster1", s.labels())
	s.applyRaw(source{name: "content", data: documents(
		settings(a, "1")+"  free: \"1\"\n", settings(b, "1"))})
	profile := func(more string) {
		s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %s}, spec: {syncMode: ContinuousWithDriftDetection, %s, "+
			"policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: content}], helmCharts: [%[3]s]%[4]s}}",
			s.name, s.everywhere(), chartEntry(repository, "settings", "1.0.0", chart, ""), more))
		s.provisioned(s.name)
	}
	profile("")
	summary, err := s.summary(s.Context(), s.name, "cluster1")
	if err != nil || summary == nil {
		t.Fatal(summary, err)
	}
	event := func(says ...string) {
		t.Helper()
		s.eventually(fmt.Sprintf("an event says %q", says), soon, func(ctx context.Context) error {
			return s.hasEvent(ctx, summary.Name, configv1beta1.ReasonDrifted, says)
		})
	}

	// One object is repaired alone, and its list is not applied again.
	other := s.unwritten(b)
	s.edit(a, "somebody", value("value", "edited"))
	s.awaitValue("cluster1", a, "1")
	event(a, "somebody")
	if err := other(s.Context()); err != nil {
		t.Error(err)
	}
	// So is one that is deleted, and one whose marks are taken off.
	if err := s.managed["cluster1"].CoreV1().ConfigMaps(contentNamespace).Delete(s.Context(), b, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.awaitValue("cluster1", b, "1")
	s.edit(b, "somebody", map[string]any{"metadata": map[string]any{"labels": map[string]any{"projectsveltos.io/reason": nil}}})
	s.eventually("the label is back", soon, func(ctx context.Context) error {
		found, err := s.content(ctx, "cluster1", b)
		if err == nil && (found == nil || found.Labels["projectsveltos.io/reason"] == "") {
			err = fmt.Errorf("it is %s", asJSON(found))
		}
		return err
	})
	// Objects of charts are repaired by their manifests, and the release stays what it is.
	s.edit(chart, "somebody", value("color", "red"))
	s.awaitChart("cluster1", chart, "1.0.0", "grey")
	event(chart)
	if err := s.managed["cluster1"].CoreV1().ConfigMaps(contentNamespace).Delete(s.Context(), chart, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.awaitChart("cluster1", chart, "1.0.0", "grey")
	if _, err := s.managed["cluster1"].CoreV1().Secrets(contentNamespace).Get(s.Context(), "sh.helm.release.v1."+chart+".v2", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the release has a second revision: %v", err)
	}

	// What others add, what is marked, and what is excluded is theirs.
	s.edit(a, "somebody", value("theirs", "1"))
	s.edit(b, "somebody", map[string]any{"metadata": map[string]any{"annotations": map[string]any{"projectsveltos.io/driftDetectionIgnore": "ok"}}})
	s.edit(b, "somebody", value("value", "ignored"))
	profile(", driftExclusions: [{paths: [/data/free], target: {kind: ConfigMap, name: " + a + "}}]")
	s.eventually("the field is given up", deploySoon, func(ctx context.Context) error {
		found, err := s.content(ctx, "cluster1", a)
		if err == nil && !slices.ContainsFunc(found.ManagedFields, func(f metav1.ManagedFieldsEntry) bool { return f.Manager == "muster-initial" }) {
			err = errors.New("its managers are " + asJSON(found.ManagedFields))
		}
		return err
	})
	s.provisioned(s.name)
	s.edit(a, "somebody", value("free", "2"))
	left := s.unwritten(a)
	s.always("nobody takes it away", settle, func(ctx context.Context) error {
		return errors.Join(left(ctx), s.hasValue("cluster1", b, "ignored")(ctx))
	})
	s.edit(a, "somebody", value("value", "edited"))
	s.awaitValue("cluster1", a, "1")
	found, err := s.content(s.Context(), "cluster1", a)
	if err != nil || found.Data["free"] != "2" || found.Data["theirs"] != "1" {
		t.Errorf("after a repair it is %s, %v", asJSON(found), err)
	}

	// A paused cluster drifts, until it is no longer paused.
	pause := func(paused bool) {
		t.Helper()
		_, err := s.muster.LibV1beta1().SveltosClusters(s.name).Patch(s.Context(), "cluster1", types.MergePatchType, fmt.Appendf(nil, `{"spec":{"paused":%t}}`, paused), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	pause(true)
	s.eventually("the summary is suspended", soon, func(ctx context.Context) error {
		summary, err := s.summary(ctx, s.name, "cluster1")
		if err == nil && !summary.Status.ReconciliationSuspended {
			err = errors.New(asJSON(summary.Status))
		}
		return err
	})
	s.edit(a, "somebody", value("value", "paused"))
	s.always("it stays as it is", settle, s.hasValue("cluster1", a, "paused"))
	pause(false)
	s.awaitValue("cluster1", a, "1")
	s.contest(a)
}

// contest lets somebody change an object back each time, who is named, and met at growing
// intervals.
func (s *scope) contest(name string) {
	s.Helper()
	ctx, stop := context.WithCancel(s.Context())
	defer stop()
	var running sync.WaitGroup
	var mu sync.Mutex // guards undone
	undone := 0
	running.Go(func() {
		for ctx.Err() == nil {
			if s.hasValue("cluster1", name, "1")(ctx) == nil {
				patch, _ := json.Marshal(value("value", "hot")) // a map of strings
				_, err := s.managed["cluster1"].CoreV1().ConfigMaps(contentNamespace).
					Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "hot-controller"})
				if err == nil {
					mu.Lock()
					undone++
					mu.Unlock()
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	s.eventually("the summary names who it is", deploySoon, func(ctx context.Context) error {
		summary, err := s.summary(ctx, s.name, "cluster1")
		if err != nil {
			return err
		}
		if err := condition(summary.Status.Conditions, configv1beta1.ConditionDriftContested, metav1.ConditionTrue, configv1beta1.ReasonContested); err != nil {
			return err
		}
		message := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionDriftContested).Message
		return saysAll("the condition", message, []string{name, "hot-controller"})
	})
	count := func() int { mu.Lock(); defer mu.Unlock(); return undone }
	s.always("it is not repaired without end", settle, func(context.Context) error {
		if n := count(); n > 15 {
			return fmt.Errorf("it was repaired %d times", n)
		}
		return nil
	})
	stop()
	running.Wait()
}
