// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/test/fleet"
)

// chartProfile deploys the chart to the cluster that the set selects.
const chartProfile = name + "-helm"

// How far an install or an upgrade has come.
const (
	stepUnrecorded = "unrecorded" // no record of the revision, but maybe the CRD
	stepRecorded   = "recorded"   // it is pending, and nothing else has happened
	stepHook       = "hook"       // the first hook runs
	stepObjects    = "objects"    // some objects are there
	stepApplied    = "applied"    // all are, and the last hook runs
	stepReleased   = "released"   // the revision is deployed, and Muster may not know it
)

func helmSteps() []string {
	return []string{stepUnrecorded, stepRecorded, stepHook, stepObjects, stepApplied, stepReleased}
}

const (
	// slowness is how long each piece of a request to a managed cluster is held
	// back while a chart is deployed, so that the steps that take no time
	// otherwise can be struck.
	slowness = 15 * time.Millisecond
	// stepTime is how long after its beginning a step is struck, at most.
	stepTime = 150 * time.Millisecond
)

// helmRound is one release that is deployed, struck and withdrawn.
type helmRound struct {
	*environment
	repository string
	active     string
	want       wanted

	mu       sync.Mutex
	finished []string // the hooks that complete
}

func (e *environment) newHelmRound(t *testing.T) *helmRound {
	t.Helper()
	active, err := e.active(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &helmRound{environment: e, repository: serveChart(t), active: active}
	r.forgetHooks(t)
	r.startHooks(t)
	return r
}

// startHooks has hooks complete, those that may, for as long as the test runs.
func (r *helmRound) startHooks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var finishing sync.WaitGroup
	finishing.Go(func() { r.finishHooks(ctx) })
	t.Cleanup(func() { cancel(); finishing.Wait() })
}

// deploy asks for a version of the chart, with a value that nothing has had.
func (r *helmRound) deploy(t *testing.T, version string) {
	t.Helper()
	r.changes++
	r.want = wanted{version: version, color: fmt.Sprintf("color%d", r.changes)}
	r.apply(t, `
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %s}
spec:
  setRefs: [%s]
  helmCharts:
  - {repositoryURL: %q, repositoryName: chaos, chartName: chaos/steps, chartVersion: %s, releaseName: %s, releaseNamespace: %s, values: "color: %s"}
`, chartProfile, name, r.repository, version, chartRelease, chartNamespace, r.want.color)
}

// finishHooks completes the hooks that may, until ctx is done.
func (r *helmRound) finishHooks(ctx context.Context) {
	going := errors.New("until the test ends")
	_ = fleet.Await(ctx, func(ctx context.Context) error {
		for cluster := range r.managed {
			jobs := r.managed[cluster].BatchV1().Jobs(chartNamespace)
			list, err := jobs.List(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			for i := range list.Items {
				if job := &list.Items[i]; job.Status.CompletionTime == nil && r.mayFinish(job.Name) {
					finish(job)
					_, _ = jobs.UpdateStatus(ctx, job, metav1.UpdateOptions{}) // or in the next turn
				}
			}
		}
		return going
	})
}

func (r *helmRound) mayFinish(hook string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.finished, hook)
}

// let says which hooks complete from now on.
func (r *helmRound) let(hooks ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = hooks
}

// forgetHooks deletes what Helm leaves of hooks, as their time to live would.
func (r *helmRound) forgetHooks(t *testing.T) {
	t.Helper()
	background := metav1.DeletePropagationBackground
	for cluster := range r.managed {
		err := r.managed[cluster].BatchV1().Jobs(chartNamespace).DeleteCollection(t.Context(),
			metav1.DeleteOptions{PropagationPolicy: &background}, metav1.ListOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
}

// awaitDeployed waits until the release is as it should be.
func (r *helmRound) awaitDeployed(t *testing.T) {
	t.Helper()
	r.let(hookBefore, hookAfter)
	took := eventually(t, fmt.Sprintf("release %v is deployed", r.want), convergence, r.deployedOn(r.active, r.want))
	t.Logf("the release is as it should be after %.2f s", took.Seconds())
}

// withdraw deletes the profile, and waits until nothing is left.
func (r *helmRound) withdraw(t *testing.T) {
	t.Helper()
	if _, err := r.fleet.Kubectl(t.Context(), "delete", "clusterprofile", chartProfile, "--wait=false"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the release is withdrawn", convergence, r.withdrawnFrom(r.active))
	eventually(t, "the profile is gone", convergence, func(ctx context.Context) error {
		client, err := r.anyReplica()
		if err != nil {
			return err
		}
		_, err = client.ConfigV1beta1().ClusterProfiles().Get(ctx, chartProfile, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

// stepOf is how far the revision after a former one has come.
func (r *helmRound) stepOf(state releaseState, former int) string {
	last, number := state.last(), strconv.Itoa(former+1)
	made := 0
	for _, object := range state.objects {
		if object.GetAnnotations()["revision"] == number {
			made++
		}
	}
	switch {
	case last.number <= former:
		return stepUnrecorded
	case last.status == "deployed":
		return stepReleased
	case made == len(r.want.objects()):
		return stepApplied
	case made > 0:
		return stepObjects
	case state.hooks[hookBefore].Annotations["revision"] == number:
		return stepHook
	default:
		return stepRecorded
	}
}

// awaitStep lets the release come as far as a step, and waits for a moment of it.
// The steps of hooks last until they are let finish; others may be over.
func (r *helmRound) awaitStep(t *testing.T, step string, former int) {
	t.Helper()
	switch step {
	case stepObjects, stepApplied:
		r.let(hookBefore)
	case stepReleased:
		r.let(hookBefore, hookAfter)
	}
	eventually(t, "the release comes to step "+step, convergence, func(ctx context.Context) error {
		state, err := r.release(ctx, r.active)
		if err != nil {
			return err
		}
		found := r.stepOf(state, former)
		if slices.Index(helmSteps(), found) < slices.Index(helmSteps(), step) {
			return fmt.Errorf("it is at %s", found)
		}
		return nil
	})
	if step == stepHook || step == stepApplied || step == stepUnrecorded {
		pause(t, r.moment(stepTime))
	}
}

// strike has a fault strike while the chart is deployed, and counts the step. It
// returns the release as it was then.
func (r *helmRound) strike(t *testing.T, fault, aimed, version string, strike func()) releaseState {
	t.Helper()
	before, err := r.release(t.Context(), r.active)
	if err != nil {
		t.Fatal(err)
	}
	r.let()
	proxy := r.fleet.Managed(r.active).Proxy
	proxy.Delay(slowness)
	r.deploy(t, version)
	r.awaitStep(t, aimed, before.last().number)
	strike()
	state, err := r.release(t.Context(), r.active)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Delay(0)
	r.struck.strike(t, fault, helmSteps(), aimed, r.stepOf(state, before.last().number))
	return state
}

// changeMind has the profile ask for something else, some of the time, before
// there is a leader again: what the former attempt has made and the next does not
// want has to go.
func (r *helmRound) changeMind(t *testing.T) {
	t.Helper()
	if *rounds > 1 && r.random.IntN(3) > 0 {
		return
	}
	version := oldVersion
	if r.want.version == oldVersion {
		version = newVersion
	}
	r.deploy(t, version)
	t.Logf("the profile asks for %v instead", r.want)
}

// testKillInHelmInstall kills the leader at some moment of a Helm install.
func (e *environment) testKillInHelmInstall(t *testing.T) {
	const fault = "leader killed in a Helm install"
	aimed := e.struck.aim(e.random, fault, helmSteps())
	if *rounds == 1 {
		aimed = stepHook // which leaves a pending release for certain
	}
	r, leader := e.newHelmRound(t), e.leader(t)
	var struck time.Time
	state := r.strike(t, fault, aimed, oldVersion, func() { struck = e.kill(t, leader) })
	if aimed == stepHook && state.last().status != "pending-install" {
		t.Errorf("the leader was killed while a hook ran, and the release is %v", state.last())
	}
	if *rounds > 1 {
		r.changeMind(t)
	}
	r.awaitRecovery(t, leader, struck, nil)
}

// testHelmUpgradeLeftPending kills the leader while a hook of an upgrade runs,
// which leaves a pending release for certain.
func (e *environment) testHelmUpgradeLeftPending(t *testing.T) {
	const fault = "leader killed in a Helm upgrade"
	aimed := []string{stepHook, stepApplied}[e.random.IntN(2)]
	if *rounds > 1 && e.random.IntN(2) == 0 {
		aimed = e.struck.aim(e.random, fault, helmSteps())
	}
	r, leader := e.newHelmRound(t), e.leader(t)
	r.deploy(t, oldVersion)
	r.awaitDeployed(t)
	var struck time.Time
	state := r.strike(t, fault, aimed, newVersion, func() { struck = e.kill(t, leader) })
	if (aimed == stepHook || aimed == stepApplied) && state.last().status != "pending-upgrade" {
		t.Errorf("the leader was killed while a hook ran, and the release is %v", state.last())
	}
	r.changeMind(t)
	r.awaitRecovery(t, leader, struck, nil)
}

// testTerminateInHelmUpgrade ends the leader with SIGTERM at some moment of a Helm
// upgrade.
func (e *environment) testTerminateInHelmUpgrade(t *testing.T) {
	const fault = "leader ended in a Helm upgrade"
	aimed := e.struck.aim(e.random, fault, helmSteps())
	r, leader := e.newHelmRound(t), e.leader(t)
	r.deploy(t, oldVersion)
	r.awaitDeployed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 75*time.Second) // the shipped grace period
	defer cancel()
	var ending errgroup.Group
	var struck time.Time
	r.strike(t, fault, aimed, newVersion, func() {
		struck = time.Now()
		ending.Go(func() error { return leader.Stop(ctx) })
	})
	r.changeMind(t)
	r.awaitRecovery(t, leader, struck, &ending)
}

// kill kills the leader, and says when.
func (e *environment) kill(t *testing.T, leader *fleet.Server) time.Time {
	t.Helper()
	struck := time.Now()
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	return struck
}

// awaitRecovery waits until another replica has finished what the former leader has
// begun, starts that one again, once it has ended, and takes everything back.
func (r *helmRound) awaitRecovery(t *testing.T, leader *fleet.Server, struck time.Time, ending *errgroup.Group) {
	t.Helper()
	r.awaitTakeover(t, leader, struck)
	r.awaitDeployed(t)
	if ending != nil {
		if err := ending.Wait(); err != nil {
			t.Error(err)
		}
		t.Logf("it ended after %.2f s", time.Since(struck).Seconds())
	}
	if err := leader.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.withdraw(t)
}
