// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	libclient "github.com/muster-project/muster/pkg/generated/clientset/versioned/typed/lib/v1beta1"
)

const (
	// loadWorkers make a request each, every loadPeriod: 20 a second together.
	loadWorkers = 4
	loadPeriod  = 200 * time.Millisecond
	loadWatches = 5
	// requestLimit is how long a request may take, with its retries.
	requestLimit = 30 * time.Second
	// loadLabel counts a worker's writes on its set.
	loadLabel = "chaos.example.org/write"
	// shownFailures is how many failed requests are told of.
	shownFailures = 10
)

// load is reads, writes and watches through the host's aggregator, with stock
// clients. What fails after their own retries has failed.
type load struct {
	clients []versioned.Interface // one for each worker and watch: they share no connection

	// Watches end later than the writes that they have to see.
	stopWork, stopWatches context.CancelFunc
	working, watching     sync.WaitGroup

	mu       sync.Mutex
	requests map[string]int
	failures []string
	written  map[string]int   // by set: the last write that was answered
	seen     []map[string]int // by watch and set: the last write
	cuts     int              // of watches, by the server's end
}

// startLoad starts load that goes on until stop.
func (e *environment) startLoad(t *testing.T) *load {
	t.Helper()
	l := &load{requests: map[string]int{}, written: map[string]int{}}
	e.connectLoad(t, l)
	working, stopWork := context.WithCancel(context.WithoutCancel(t.Context()))
	watching, stopWatches := context.WithCancel(context.WithoutCancel(t.Context()))
	l.stopWork, l.stopWatches = stopWork, stopWatches
	for i := range loadWorkers {
		l.working.Go(func() { l.work(working, i) })
	}
	for i := range loadWatches {
		l.seen = append(l.seen, map[string]int{})
		l.watching.Go(func() { l.watch(watching, l.clients[loadWorkers+i], i) })
	}
	t.Cleanup(func() { // a test that failed in between has not stopped it
		stopWork()
		stopWatches()
		l.working.Wait()
		l.watching.Wait()
	})
	return l
}

// connectLoad makes the clients of load, and the workers' sets.
func (e *environment) connectLoad(t *testing.T, l *load) {
	t.Helper()
	for range loadWorkers + loadWatches {
		config, err := e.fleet.Host.RESTConfig()
		if err != nil {
			t.Fatal(err)
		}
		config.WarningHandler = rest.NoWarnings{}
		// With a dialer of its own it has connections of its own.
		config.Dial = (&net.Dialer{}).DialContext
		client, err := versioned.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		l.clients = append(l.clients, client)
	}
	for i := range loadWorkers {
		set := &libv1beta1.ClusterSet{ObjectMeta: metav1.ObjectMeta{Name: workerSet(i)}, Spec: libv1beta1.ClusterSetSpec{MaxReplicas: 1}}
		if _, err := l.clients[i].LibV1beta1().ClusterSets().Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func workerSet(i int) string { return fmt.Sprintf("load-%d", i) }

// did counts a request, and keeps why it failed, if it has.
func (l *load) did(what string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests[what]++
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("%s %s: %v", time.Now().Format(time.StampMilli), what, err))
	}
	return err == nil
}

// work makes one request after the other until ctx ends; the last one is let end.
func (l *load) work(ctx context.Context, i int) {
	sets := l.clients[i].LibV1beta1().ClusterSets()
	ticker := time.NewTicker(loadPeriod)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		l.request(context.WithoutCancel(ctx), sets, i, n)
	}
}

// request makes a worker's nth request.
func (l *load) request(ctx context.Context, sets libclient.ClusterSetInterface, i, n int) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	switch n % 5 {
	case 0:
		_, err := sets.List(ctx, metav1.ListOptions{})
		l.did("list", err)
	case 1:
		_, err := sets.GetSelection(ctx, workerSet(i), metav1.GetOptions{})
		l.did("selection", err)
	case 2:
		temporary := &libv1beta1.ClusterSet{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", workerSet(i), n)}}
		if _, err := sets.Create(ctx, temporary, metav1.CreateOptions{}); l.did("create", err) {
			l.did("delete", sets.Delete(ctx, temporary.Name, metav1.DeleteOptions{}))
		}
	default:
		patch := []byte(fmt.Sprintf(`{"metadata":{"labels":{%q:"%d"}}}`, loadLabel, n))
		_, err := sets.Patch(ctx, workerSet(i), types.MergePatchType, patch, metav1.PatchOptions{})
		if l.did("patch", err) {
			l.mu.Lock()
			l.written[workerSet(i)] = n
			l.mu.Unlock()
		}
	}
}

// watch watches from where it was whenever the server ends a watch, as reflectors
// do it.
func (l *load) watch(ctx context.Context, client versioned.Interface, i int) {
	sets := client.LibV1beta1().ClusterSets()
	options := metav1.ListOptions{AllowWatchBookmarks: true}
	for ctx.Err() == nil {
		if options.ResourceVersion == "" {
			list, err := sets.List(ctx, metav1.ListOptions{})
			if ctx.Err() != nil || !l.did("list to watch", err) {
				continue
			}
			options.ResourceVersion = list.ResourceVersion
		}
		watcher, err := sets.Watch(ctx, options)
		if ctx.Err() != nil || !l.did("watch", err) {
			continue
		}
		for event := range watcher.ResultChan() {
			if ctx.Err() != nil {
				watcher.Stop() // what comes now is the end that the test has made
				return
			}
			l.observe(i, event, &options)
		}
		l.mu.Lock()
		l.cuts++
		l.mu.Unlock()
	}
}

func (l *load) observe(i int, event watch.Event, options *metav1.ListOptions) {
	if event.Type == watch.Error {
		err := apierrors.FromObject(event.Object)
		l.did("event of a watch", err)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			options.ResourceVersion = ""
		}
		return
	}
	object, err := meta.Accessor(event.Object)
	if err != nil {
		l.did("event of a watch", err)
		return
	}
	options.ResourceVersion = object.GetResourceVersion()
	if n, err := strconv.Atoi(object.GetLabels()[loadLabel]); err == nil {
		l.mu.Lock()
		l.seen[i][object.GetName()] = n
		l.mu.Unlock()
	}
}

// finish ends the writes, waits until every watch has seen them, and says what
// failed.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stopWork()
	l.working.Wait()
	eventually(t, "all watches have seen all writes", takeoverLimit, l.caughtUp)
	l.stopWatches()
	l.watching.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	total := 0
	for _, n := range l.requests {
		total += n
	}
	t.Logf("requests=%d failed=%d %v, watches were ended %d times", total, len(l.failures), l.requests, l.cuts)
	for _, failure := range l.failures[:min(len(l.failures), shownFailures)] {
		t.Errorf("failed: %s", failure)
	}
	for i := range loadWorkers {
		if err := l.clients[i].LibV1beta1().ClusterSets().Delete(t.Context(), workerSet(i), metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// caughtUp checks that all watches have seen all that was written.
func (l *load) caughtUp(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, seen := range l.seen {
		for set, n := range l.written {
			if seen[set] < n {
				return fmt.Errorf("watch %d has seen write %d of %s, and %d was answered", i, seen[set], set, n)
			}
		}
	}
	return nil
}
