// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/test/fleet"
)

const (
	// loadRate is how many requests a second are sent; the goal is at least 200.
	loadRate = 220
	// loadSets are the objects that are read, written and watched.
	loadSets = 20
	// loadWatches are open all the time, as many of each object.
	loadWatches = 100
	// requestTimeout is long beside everything that a client is made to wait for
	// by its server: an answer that comes after it is a failure.
	requestTimeout = 30 * time.Second
)

// editor is a user who may read and write Muster's objects, and nothing else.
var editor = fleet.User{Name: "bench-editor", Groups: []string{"bench"}}

// apiLoad sends requests with client-go, through the host's aggregator, as an
// ordinary user, and notes those that fail. client-go tries again by itself
// what it is told to try later, and reads whose connection broke.
type apiLoad struct {
	client  versioned.Interface
	watches *loadedWatches

	stopping chan struct{}
	sending  sync.WaitGroup
	began    time.Time
	took     time.Duration

	mu        sync.Mutex
	latencies []float64 // milliseconds, of requests that did not fail
	failures  []failure
	created   []string // sets that are still to be deleted
}

// failure is a request that client-go has given up.
type failure struct {
	sent, failed time.Time
	err          error
}

// startLoad begins to send requests, once everything that they are about is
// there.
func startLoad(ctx context.Context, f *fleet.Fleet) (*apiLoad, error) {
	config, err := f.Host.UserRESTConfig(editor)
	if err != nil {
		return nil, err
	}
	config.WarningHandler = rest.NoWarnings{} // sets that select nothing draw one
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the load: %w", err)
	}
	l := &apiLoad{client: client, stopping: make(chan struct{}), began: time.Now()}
	if l.watches, err = startWatches(ctx, client, l.fail); err != nil {
		return nil, err
	}
	l.sending.Go(func() { l.send(ctx) })
	return l, nil
}

// prepareLoad makes what a load needs.
func prepareLoad(ctx context.Context, f *fleet.Fleet) error {
	for _, role := range []string{"muster-view", "muster-edit"} {
		if _, err := f.Kubectl(ctx, "create", "clusterrolebinding", "bench-"+role, "--clusterrole="+role, "--user="+editor.Name); err != nil {
			return err
		}
	}
	return createSets(ctx, f)
}

// send sends each request at its moment, whether or not earlier ones have been
// answered.
func (l *apiLoad) send(ctx context.Context) {
	interval := time.Second / loadRate
	start := time.Now()
	var requests sync.WaitGroup
	defer requests.Wait()
	for i := 0; ; i++ {
		pauseUntil(start.Add(time.Duration(i) * interval))
		select {
		case <-l.stopping:
			return
		case <-ctx.Done():
			return
		default:
		}
		requests.Go(func() { l.request(ctx, i) })
	}
}

func (l *apiLoad) request(ctx context.Context, i int) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	sent := time.Now()
	if err := l.one(ctx, i); err != nil {
		l.fail(sent, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latencies = append(l.latencies, milliseconds(time.Since(sent)))
}

// one is the i-th request: of ten, seven read and three write.
func (l *apiLoad) one(ctx context.Context, i int) (err error) {
	sets, round := l.client.LibV1beta1().ClusterSets(), i/10
	name := setName(round % loadSets)
	switch i % 10 {
	case 0, 5:
		_, err = sets.Get(ctx, name, metav1.GetOptions{})
	case 1, 6:
		_, err = sets.GetSelection(ctx, name, metav1.GetOptions{})
	case 2:
		_, err = sets.List(ctx, metav1.ListOptions{Limit: loadSets})
	case 3:
		_, err = l.client.ConfigV1beta1().ClusterProfiles().List(ctx, metav1.ListOptions{})
	case 4:
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"bench":"%d"}}}`, i)
		_, err = sets.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	case 7:
		err = l.create(ctx, fmt.Sprintf("load-%d-%d", l.began.UnixNano(), round))
	case 8:
		_, err = l.client.LibV1beta1().SveltosClusters(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: loadSets})
	case 9:
		err = l.remove(ctx)
	}
	return err
}

// create makes a set, which is deleted later. One whose creation failed may be
// there or not.
func (l *apiLoad) create(ctx context.Context, name string) error {
	set := &libv1beta1.ClusterSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := l.client.LibV1beta1().ClusterSets().Create(ctx, set, metav1.CreateOptions{}); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.created = append(l.created, name)
	return nil
}

// remove deletes the oldest of what was made.
func (l *apiLoad) remove(ctx context.Context) error {
	l.mu.Lock()
	if len(l.created) == 0 {
		l.mu.Unlock()
		return nil
	}
	name := l.created[0]
	l.created = l.created[1:]
	l.mu.Unlock()
	return l.client.LibV1beta1().ClusterSets().Delete(ctx, name, metav1.DeleteOptions{})
}

func (l *apiLoad) fail(sent time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, failure{sent, time.Now(), err})
}

// stop ends the load, and waits until everything was answered and every watch
// has what was written last.
func (l *apiLoad) stop(ctx context.Context) error {
	close(l.stopping)
	l.took = time.Since(l.began)
	l.sending.Wait()
	if err := l.watches.stop(ctx, l.client); err != nil {
		l.fail(time.Now(), err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if rate := float64(l.requests()) / l.took.Seconds(); rate < 200 {
		return fmt.Errorf("only %.0f requests a second were sent", rate)
	}
	return nil
}

func (l *apiLoad) requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.latencies) + len(l.failures)
}

// failedApart counts the failures of what was neither in flight at one of these
// moments nor sent within a time after it.
func (l *apiLoad) failedApart(moments []time.Time, within time.Duration) (failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.failures {
		if !slices.ContainsFunc(moments, func(m time.Time) bool { return f.failed.After(m) && f.sent.Before(m.Add(within)) }) {
			failed++
		}
	}
	return failed
}

// explain logs the first failures.
func (l *apiLoad) explain(b *bench) {
	const most = 10
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.failures {
		if i == most {
			b.logf("and %d more", len(l.failures)-most)
			return
		}
		b.logf("failed, sent at %s: %v", f.sent.Format("15:04:05.000"), f.err)
	}
}

// measure adds what all loads have in common.
func (l *apiLoad) measure(m *Measure) *Measure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return m.Number("rate", float64(len(l.latencies)+len(l.failures))/l.took.Seconds(), 0).
		Number("watches", loadWatches, 0).
		Number("p50_ms", median(l.latencies), 1).
		Number("p99_ms", quantile(l.latencies, 0.99), 1).
		Number("max_ms", quantile(l.latencies, 1), 0)
}
