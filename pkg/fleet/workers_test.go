// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/klog/v2"
	"pgregory.net/rapid"
)

// startWorkers runs workers until the test ends or the returned function is
// called, which waits for them.
func startWorkers(t *testing.T, options WorkersOptions) (*Workers, func()) {
	t.Helper()
	w := NewWorkers(options)
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	synctest.Wait()
	return w, stop
}

// journal takes down what happens, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) write(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

func TestWorkersRunOneJobPerClusterInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		var j journal
		for i := range 3 {
			for _, cluster := range []string{"a", "b"} {
				w.Submit(ref(cluster), fmt.Sprint(i), func(context.Context) {
					if cluster == "a" {
						time.Sleep(time.Second)
						j.write("%s%d", cluster, i)
					}
				})
			}
		}
		start := time.Now()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"a0", "a1", "a2"}, j.read()); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", time.Since(start), diff)
		}
	})
}

func TestWorkersOfAHungClusterDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		for i := range 500 {
			w.Submit(numbered(i), "hang", func(ctx context.Context) { <-ctx.Done() })
		}
		done := false
		w.Submit(ref("a"), "x", func(context.Context) { done = true })
		synctest.Wait()
		if !done {
			t.Error("it waits for hung clusters")
		}
	})
}

func TestWorkersCoalesceByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		var j journal
		job := func(name string) func(context.Context) {
			return func(context.Context) { time.Sleep(time.Second); j.write("%s", name) }
		}
		w.Submit(ref("a"), "x", job("x1"))
		synctest.Wait() // x1 is running
		for i := range 5 {
			if !w.Submit(ref("a"), "x", job(fmt.Sprintf("x%d", i+2))) {
				t.Error("refused")
			}
			w.Submit(ref("a"), "y", job(fmt.Sprintf("y%d", i+1)))
		}
		time.Sleep(10 * time.Second)
		// Once more for all that came while it ran, the newest job, in the
		// place of the first.
		if diff := cmp.Diff([]string{"x1", "x6", "y5"}, j.read()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestWorkersBoundTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{QueueLength: 3})
		release := make(chan struct{})
		var j journal
		job := func(context.Context) { <-release; j.write("done") }
		w.Submit(ref("a"), "running", job)
		synctest.Wait()
		for i := range 5 {
			if got := w.Submit(ref("a"), fmt.Sprint(i), job); got != (i < 3) {
				t.Errorf("job %d: accepted %v", i, got)
			}
		}
		if !w.Submit(ref("a"), "0", job) {
			t.Error("a key that waits already needs no place")
		}
		if !w.Submit(ref("b"), "0", job) {
			t.Error("one cluster's queue fills another's")
		}
		close(release)
		synctest.Wait()
		if got := len(j.read()); got != 5 {
			t.Errorf("%d jobs ran, want 5", got)
		}
		if !w.Submit(ref("a"), "9", job) {
			t.Error("refused with an empty queue")
		}
	})
}

func TestWorkersLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		for i := range 100 {
			w.Submit(numbered(i), "x", func(context.Context) {})
		}
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.queues) != 0 {
			t.Errorf("%d queues are left", len(w.queues))
		}
	})
}

func TestWorkersSurviveAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		ran := false
		w.Submit(ref("a"), "x", func(context.Context) { panic("broken job") })
		w.Submit(ref("a"), "y", func(context.Context) { ran = true })
		synctest.Wait()
		if !ran {
			t.Error("the job after it did not run")
		}
	})
}

func TestWorkersBeforeAndAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkers(WorkersOptions{})
		var j journal
		if !w.Submit(ref("a"), "early", func(context.Context) { j.write("early") }) {
			t.Error("refused before Run")
		}
		synctest.Wait()
		if got := j.read(); len(got) != 0 {
			t.Errorf("ran before Run: %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		w.Submit(ref("a"), "long", func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(3 * time.Second) // cleaning up
			j.write("long")
		})
		w.Submit(ref("a"), "dropped", func(context.Context) { j.write("dropped") })
		synctest.Wait()
		cancel()
		if w.Submit(ref("b"), "late", func(context.Context) { j.write("late") }) {
			t.Error("accepted after the end")
		}
		synctest.Wait()
		select {
		case <-done:
			t.Error("Run returned before the last job had")
		default:
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"early", "long"}, j.read()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := w.Run(t.Context()); !errors.Is(err, errWorkersRan) {
			t.Errorf("a second Run: %v", err)
		}
		if w.Submit(ref("a"), "late", func(context.Context) {}) {
			t.Error("accepted after Run")
		}
	})
}

// For every key, the newest job runs after its submission, and never two jobs
// of one cluster at a time.
func TestWorkersLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type submission struct{ cluster, key, version, pause, takes int }
		var submissions []submission
		for i := range rapid.IntRange(1, 60).Draw(rt, "submissions") {
			submissions = append(submissions, submission{
				rapid.IntRange(0, 2).Draw(rt, "cluster"), rapid.IntRange(0, 3).Draw(rt, "key"), i + 1,
				rapid.IntRange(0, 3).Draw(rt, "pause"), rapid.IntRange(0, 5).Draw(rt, "takes"),
			})
		}
		problem := ""
		synctest.Test(t, func(t *testing.T) {
			w, stop := startWorkers(t, WorkersOptions{})
			var mu sync.Mutex
			busy := map[int]bool{}
			newest, ran := map[[2]int]int{}, map[[2]int]int{}
			for _, s := range submissions {
				time.Sleep(time.Duration(s.pause) * time.Millisecond)
				id := [2]int{s.cluster, s.key}
				newest[id] = s.version
				w.Submit(numbered(s.cluster), fmt.Sprint(s.key), func(context.Context) {
					mu.Lock()
					if busy[s.cluster] {
						problem = "two jobs of one cluster at a time"
					}
					busy[s.cluster] = true
					mu.Unlock()
					time.Sleep(time.Duration(s.takes) * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					busy[s.cluster] = false
					ran[id] = s.version
				})
			}
			time.Sleep(time.Second)
			stop()
			if diff := cmp.Diff(newest, ran); diff != "" {
				problem = "the newest jobs did not run last (-want +got):\n" + diff
			}
		})
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func TestWorkersJobsThatStepAsideDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		var j journal
		waits := func(name string, wait time.Duration) func(context.Context) {
			return func(ctx context.Context) {
				StepAside(ctx)
				StepAside(ctx)
				time.Sleep(wait)
				j.write("%s", name)
			}
		}
		w.Submit(ref("a"), "slow", waits("slow", time.Minute))
		w.Submit(ref("a"), "slower", waits("slower", 2*time.Minute))
		for i := range 3 {
			w.Submit(ref("a"), fmt.Sprint(i), func(context.Context) { j.write("%d", i) })
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"0", "1", "2"}, j.read()); diff != "" {
			t.Errorf("beside those that wait (-want +got):\n%s", diff)
		}
		// The same key waits for its own job, and for no other.
		w.Submit(ref("a"), "slow", func(context.Context) { j.write("again") })
		synctest.Wait()
		if got := j.read(); len(got) != 3 {
			t.Errorf("two jobs with one key at a time: %v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{"0", "1", "2", "slow", "again"}, j.read()); diff != "" {
			t.Errorf("after a minute (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.queues) != 0 || len(j.read()) != 6 {
			t.Errorf("%d queues are left after %v", len(w.queues), j.read())
		}
	})
}

func TestWorkersBoundWhoIsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		release := make(chan struct{})
		var j journal
		for i := range maxAside + 5 {
			w.Submit(ref("a"), fmt.Sprint(i), func(ctx context.Context) {
				j.write("begun")
				StepAside(ctx)
				<-release
			})
		}
		synctest.Wait()
		if got := len(j.read()); got != maxAside+1 {
			t.Errorf("%d jobs are at work, want %d aside and one", got, maxAside)
		}
		close(release)
		synctest.Wait()
		if got := len(j.read()); got != maxAside+5 {
			t.Errorf("%d jobs ran", got)
		}
	})
}

// A wait need not last when a newer job with its key is queued; nothing else ends it.
func TestWorkersSupersedeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := startWorkers(t, WorkersOptions{})
		var j journal
		w.Submit(ref("a"), "x", func(ctx context.Context) {
			waiting, cancel := UntilSuperseded(ctx)
			defer cancel()
			StepAside(ctx)
			<-waiting.Done()
			j.write("%t %t", errors.Is(context.Cause(waiting), ErrSuperseded), ctx.Err() == nil)
			again, cancel := UntilSuperseded(ctx)
			defer cancel()
			<-again.Done()
		})
		synctest.Wait()
		w.Submit(ref("a"), "y", func(context.Context) { j.write("y") })
		w.Submit(ref("b"), "x", func(context.Context) { j.write("b") })
		synctest.Wait()
		if got := j.read(); len(got) != 2 {
			t.Errorf("others' jobs have ended it: %v", got)
		}
		w.Submit(ref("a"), "x", func(context.Context) { j.write("newer") })
		synctest.Wait()
		if diff := cmp.Diff([]string{"true true", "newer"}, j.read()[2:]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestOutsideOfAJob(t *testing.T) {
	StepAside(t.Context())
	ctx, cancel := UntilSuperseded(t.Context())
	cancel()
	if ctx.Err() != nil {
		t.Error("it ends without having been superseded")
	}
}
