// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// How far a deployment has come. Each step is that of the last thing which is certain:
// the request that begins the next one is stopped.
const (
	stepAsked     = "asked"      // it is in the API, and Muster may not have begun
	stepSource    = "source"     // a source is being read
	stepRendered  = "rendered"   // all are read, and the inventory may have what is planned
	stepPlanned   = "planned"    // the inventory has it, and the cluster nothing
	stepFirst     = "first"      // the cluster has got one write
	stepRelease   = "release"    // the release is pending, and a hook of it runs
	stepHalf      = "half"       // half of the objects are applied
	stepUnpruned  = "unpruned"   // all are applied, nothing is pruned
	stepPruning   = "pruning"    // something is pruned
	stepFinal     = "final"      // the inventory has what is there, and the checks begin
	stepChecks    = "checks"     // a check has failed, and is made again
	stepStatus    = "status"     // the status says that it is deployed
	stepDeleting  = "deleting"   // the first thing is about to be withdrawn
	stepUninstall = "uninstall"  // the release is being uninstalled
	stepGone      = "everything" // all is withdrawn, and the inventory may not know
)

func installationSteps() []string {
	return []string{stepSource, stepRendered, stepPlanned, stepFirst, stepRelease, stepHalf, stepFinal, stepChecks, stepStatus}
}

func editionSteps() []string {
	return []string{stepSource, stepPlanned, stepRelease, stepHalf, stepUnpruned, stepPruning, stepFinal, stepStatus}
}

func handOverSteps() []string {
	return []string{stepAsked, stepPlanned, stepHalf, stepFinal, stepStatus}
}

func withdrawalSteps() []string {
	return []string{stepAsked, stepDeleting, stepHalf, stepUninstall, stepGone}
}

// shortly is how long after a step whose end nothing stops it is struck, at most.
const shortly = 60 * time.Millisecond

// arm sets the trap for a step of a change, and lets go on what comes before it.
func (d *deployments) arm(aimed string, c change) *trap {
	d.let(hookBefore, hookAfter)
	if aimed == stepRelease {
		d.let()
	}
	d.depot.healthy.Store(aimed != stepFinal && aimed != stepChecks)
	return d.stops.arm(c.wants(aimed))
}

// wants is true of the request that ends a step.
func (c change) wants(aimed string) func(*http.Request) bool {
	pruned := requests(http.MethodDelete, "/configmaps/content-only-", "/configmaps/built-only-")
	checked := func(r *http.Request) bool {
		return r.URL.Path == metricsPath && r.URL.Query().Get("query") == c.of.metric(c.owner)
	}
	switch aimed {
	case stepSource:
		return requests(http.MethodGet, "/"+manifestsFile)
	case stepRendered:
		return requests(http.MethodGet, "/"+kustomizationFile)
	case stepAsked, stepPlanned, stepDeleting:
		return isWrite
	case stepFirst:
		return nth(2, isWrite)
	case stepHalf:
		return requests("", "/configmaps/"+midContent)
	case stepUnpruned:
		return pruned
	case stepPruning:
		return nth(2, pruned)
	case stepFinal:
		return checked
	case stepChecks:
		return nth(2, checked)
	case stepUninstall:
		return nth(3, requests(http.MethodDelete, "/namespaces/"+chartNamespace+"/"))
	case stepGone:
		return requests(http.MethodDelete, "/customresourcedefinitions/")
	}
	return func(*http.Request) bool { return false } // what is known otherwise
}

// awaitTrap waits until a change has come to a step, and returns the step that it has
// come to, and the trap that is set then.
func (d *deployments) awaitTrap(t *testing.T, aimed string, c change, set *trap) (*trap, string) {
	t.Helper()
	switch aimed {
	case stepAsked:
		pause(t, d.moment(4*shortly))
		if isCaught(set) {
			return set, c.steps[1]
		}
		return set, aimed
	case stepRelease:
		eventually(t, "the hook runs", convergence, d.hookRuns)
		pause(t, d.moment(shortly))
		return set, aimed
	case stepStatus:
		d.awaitProvisioned(t, c)
		return set, aimed
	}
	select {
	case <-set.caught:
	case <-time.After(convergence):
		t.Fatalf("waited %s for step %s of what follows: %s", convergence, aimed, c.fault)
	}
	if aimed != stepRendered && aimed != stepGone {
		return set, aimed
	}
	next := d.stops.arm(isWrite)
	d.stops.open(set, true)
	pause(t, d.moment(shortly))
	if aimed == stepRendered && isCaught(next) {
		return next, stepPlanned
	}
	return next, aimed
}

func isCaught(set *trap) bool {
	select {
	case <-set.caught:
		return true
	default:
		return false
	}
}

// hookRuns checks that the release is pending and waits for its first hook.
func (d *deployments) hookRuns(ctx context.Context) error {
	state, err := d.release(ctx, d.active)
	if err != nil {
		return err
	}
	hook, made := state.hooks[hookBefore]
	last := state.last()
	if !made || hook.Status.CompletionTime != nil || (last.status != "pending-install" && last.status != "pending-upgrade") {
		return fmt.Errorf("the release is at %v, its hook made: %t", last, made)
	}
	return nil
}

// awaitProvisioned waits until the status says that a change has been made, by watch.
func (d *deployments) awaitProvisioned(t *testing.T, c change) {
	t.Helper()
	client, err := d.anyReplica()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), convergence)
	defer cancel()
	watcher, err := client.ConfigV1beta1().ClusterSummaries(name).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if summary, ok := event.Object.(*configv1beta1.ClusterSummary); ok && isOf(summary, c.owner) && provisioned(summary, c.of) == nil {
			return
		}
	}
	t.Fatalf("waited %s until the status of %s says that edition %d is deployed", convergence, c.owner, c.of.number)
}
