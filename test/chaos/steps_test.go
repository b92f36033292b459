// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// How far a change of a source has come.
const (
	stepUnwritten = "unwritten" // the source is as it was
	stepWritten   = "written"   // the source is changed, the cluster is as it was
	stepDeployed  = "deployed"  // the cluster has it
)

func changeSteps() []string { return []string{stepUnwritten, stepWritten, stepDeployed} }

// How far a fail-over has come.
const (
	stepUndetected = "undetected"
	stepDetected   = "detected" // the cluster is not ready, and still selected
	stepSelected   = "selected" // the other one is selected, and has nothing yet
)

func failoverSteps() []string {
	return []string{stepUndetected, stepDetected, stepSelected, stepDeployed}
}

// detectionTime is a little less than it takes to find a cluster down that refuses
// connections.
const detectionTime = 2 * time.Second

// fresh is content that nothing has had.
func (e *environment) fresh(what string) string {
	e.changes++
	return fmt.Sprintf("%s, change %d", what, e.changes)
}

// strikeInChange has a fault strike while a change is under way from its source
// to the active cluster, at a step that was struck seldom so far, and returns
// when the source was written to. The error is of that.
func (e *environment) strikeInChange(t *testing.T, fault, content string, strike func()) (struck time.Time, err error) {
	t.Helper()
	active, err := e.active(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	aimed := e.struck.aim(e.random, fault, changeSteps())
	ctx, cancel := context.WithTimeout(t.Context(), convergence)
	defer cancel()
	inSource := func(found *corev1.ConfigMap) bool {
		return strings.Contains(found.Data[sourceKey], strconv.Quote(content))
	}
	sources, contents := e.host.CoreV1().ConfigMaps(name), e.managed[active].CoreV1().ConfigMaps(contentNamespace)
	var changing errgroup.Group
	changing.Go(func() error { return e.tryChange(ctx, content) })
	switch aimed {
	case stepUnwritten:
		pause(t, e.moment(changeTime/4))
	case stepWritten:
		awaitEvent(t, "the source is written", sources.Watch, name, inSource)
	case stepDeployed:
		awaitEvent(t, "the change is deployed", contents.Watch, name,
			func(found *corev1.ConfigMap) bool { return found.Data["content"] == content })
		pause(t, e.moment(changeTime))
	}
	struck = time.Now()
	strike()
	step := stepUnwritten
	source, sourceErr := sources.Get(ctx, name, metav1.GetOptions{})
	deployed := e.has(active, content)(ctx) == nil
	err = changing.Wait()
	switch {
	case deployed:
		step = stepDeployed
	// The host may be what was struck.
	case sourceErr == nil && inSource(source) || sourceErr != nil && err == nil:
		step = stepWritten
	}
	e.struck.strike(t, fault, changeSteps(), aimed, step)
	return struck, err
}

// mustStrikeInChange is strikeInChange for a fault that leaves the host alone. It
// makes another change if the first one was there before the fault, so that there
// is always one to arrive after it, and returns the content that is to come.
func (e *environment) mustStrikeInChange(t *testing.T, fault, what string, strike func()) (struck time.Time, content string) {
	t.Helper()
	content = e.fresh(what)
	struck, err := e.strikeInChange(t, fault, content, strike)
	if err != nil {
		t.Fatal(err)
	}
	if e.awaits(t, content) {
		return struck, content
	}
	content = e.fresh(what)
	e.change(t, content)
	return struck, content
}

// awaits says whether no cluster has this content yet.
func (e *environment) awaits(t *testing.T, content string) bool {
	t.Helper()
	for cluster := range e.managed {
		found, err := e.content(t.Context(), cluster)
		if err != nil {
			t.Fatal(err)
		}
		if found == content {
			return false
		}
	}
	return true
}

// awaitFailoverStep waits until a fail-over has come to a step, and then for a
// moment of the time that the step takes.
func (e *environment) awaitFailoverStep(t *testing.T, step, from, to string) {
	t.Helper()
	client, err := e.anyReplica()
	if err != nil {
		t.Fatal(err)
	}
	switch step {
	case stepUndetected:
		pause(t, e.moment(detectionTime))
	case stepDetected:
		awaitEvent(t, from+" is not ready", client.LibV1beta1().SveltosClusters(name).Watch, from,
			func(c *libv1beta1.SveltosCluster) bool { return !c.Status.Ready })
	case stepSelected:
		awaitEvent(t, to+" is selected", client.LibV1beta1().ClusterSets().Watch, name, func(s *libv1beta1.ClusterSet) bool {
			refs := s.Status.SelectedClusterRefs
			return len(refs) == 1 && refs[0].Name == to
		})
	case stepDeployed:
		awaitEvent(t, to+" has the content", e.managed[to].CoreV1().ConfigMaps(contentNamespace).Watch, name,
			func(*corev1.ConfigMap) bool { return true })
		pause(t, e.moment(changeTime))
	}
}

// awaitEvent waits by watch, which leaves more of a short step than polling, until
// an object is as it should be.
func awaitEvent[T runtime.Object](t *testing.T, what string, open func(context.Context, metav1.ListOptions) (watch.Interface, error), object string, reached func(T) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), convergence)
	defer cancel()
	watcher, err := open(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + object})
	if err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if found, ok := event.Object.(T); ok && event.Type != watch.Deleted && reached(found) {
			return
		}
	}
	t.Fatalf("waited %s until %s", convergence, what)
}
