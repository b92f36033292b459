// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package trigger

import (
	"sort"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/util/workqueue"
)

func newQueue(t *testing.T) workqueue.TypedRateLimitingInterface[string] {
	t.Helper()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	t.Cleanup(queue.ShutDown)
	return queue
}

func drain(queue workqueue.TypedRateLimitingInterface[string]) []string {
	var got []string
	for queue.Len() > 0 {
		r, _ := queue.Get()
		got = append(got, r)
		queue.Done(r)
	}
	sort.Strings(got)
	return got
}

func TestTriggersBeforeStartAreKept(t *testing.T) {
	s := New[string]()
	s.Trigger("a")
	s.Trigger("b")
	s.Trigger("a")
	queue := newQueue(t)
	if err := s.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, drain(queue)); diff != "" {
		t.Errorf("queue after start (-want +got):\n%s", diff)
	}
}

func TestTriggersAfterStartGoToTheQueue(t *testing.T) {
	s := New[string]()
	queue := newQueue(t)
	if err := s.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	s.Trigger("a")
	s.Trigger("a")
	if diff := cmp.Diff([]string{"a"}, drain(queue)); diff != "" {
		t.Errorf("queue (-want +got):\n%s", diff)
	}
}

func TestTriggerDuringReconciliationRunsAgain(t *testing.T) {
	s := New[string]()
	queue := newQueue(t)
	if err := s.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	s.Trigger("a")
	r, _ := queue.Get()
	s.Trigger("a")
	if queue.Len() != 0 {
		t.Errorf("queued %d while running, want 0: one request must never run twice at once", queue.Len())
	}
	queue.Done(r)
	if diff := cmp.Diff([]string{"a"}, drain(queue)); diff != "" {
		t.Errorf("queue (-want +got):\n%s", diff)
	}
}
