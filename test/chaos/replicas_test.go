// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// leaseDuration is the shipped one.
const leaseDuration = 5 * time.Second

// changeTime is a little more than a change takes from the start of kubectl to
// the managed cluster.
const changeTime = 500 * time.Millisecond

// TestReplicas runs three replicas on three members of etcd, as the chart
// installs them, and strikes them one after the other.
func TestReplicas(t *testing.T) {
	besideOthers(t)
	e := start(t)
	e.deploy(t)
	t.Run("every replica serves the same", e.testServing)
	for round := range *rounds {
		for strike := range strikes() {
			t.Run(fmt.Sprintf("leader is killed in a fail-over %d.%d", round, strike), e.testKillInFailover)
			t.Run(fmt.Sprintf("leader is killed in a Helm install %d.%d", round, strike), e.testKillInHelmInstall)
		}
		t.Run(fmt.Sprintf("Helm upgrade is left pending %d", round), e.testHelmUpgradeLeftPending)
		t.Run(fmt.Sprintf("leader is ended in order %d", round), e.testTerminate)
		t.Run(fmt.Sprintf("leader is paused for longer than the lease %d", round), e.testPause)
		t.Run(fmt.Sprintf("leader is cut off from the host %d", round), e.testCutFromHost)
		t.Run(fmt.Sprintf("leader is cut off from etcd %d", round), e.testCutFromEtcd)
		t.Run(fmt.Sprintf("leader is cut off from managed clusters %d", round), e.testCutFromManaged)
		t.Run(fmt.Sprintf("member of etcd is killed %d", round), e.testMember)
		t.Run(fmt.Sprintf("quorum of etcd is lost %d", round), e.testQuorum)
		t.Run(fmt.Sprintf("host is restarted %d", round), e.testHostRestart)
		t.Run(fmt.Sprintf("lease is deleted and edited %d", round), e.testLease)
		// Once alone they cost more than they tell: leaders are ended in order and Helm's
		// work is broken off above, and TestOperations scales.
		if *rounds > 1 {
			t.Run(fmt.Sprintf("leader is ended in a Helm upgrade %d", round), e.testTerminateInHelmUpgrade)
			t.Run(fmt.Sprintf("scale %d", round), e.testScale)
		}
		if t.Failed() {
			break
		}
	}
	e.expectNothingStale(t)
	e.expectNothingForbidden(t)
	e.struck.report(t)
}

// testServing writes through each replica and reads and watches through all.
func (e *environment) testServing(t *testing.T) {
	ctx := t.Context()
	e.leader(t)
	want, err := e.views(ctx, e.fleet.Muster.Replica(0).Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, reader := range e.fleet.Muster.Replicas()[1:] {
		if got, err := e.views(ctx, reader.Name()); err != nil || got != want {
			t.Errorf("%s serves, %v\n%s\nand %s\n%s", reader.Name(), err, got, e.fleet.Muster.Replica(0).Name(), want)
		}
	}
	e.expectDiffs(t)
	for _, writer := range e.fleet.Muster.Replicas() {
		e.expectWriteSeen(t, writer)
	}
}

// expectWriteSeen makes a set through one replica, changes and deletes it, and
// sees to it that every replica's watch and reads have all of that.
func (e *environment) expectWriteSeen(t *testing.T, writer *fleet.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), takeoverLimit)
	defer cancel()
	only := metav1.ListOptions{FieldSelector: "metadata.name=by-" + writer.Name()}
	var watching errgroup.Group
	for _, reader := range e.fleet.Muster.Replicas() {
		sets := e.replicas[reader.Name()].LibV1beta1().ClusterSets()
		list, err := sets.List(ctx, only)
		if err != nil {
			t.Fatal(err)
		}
		from := only
		from.ResourceVersion = list.ResourceVersion
		watcher, err := sets.Watch(ctx, from)
		if err != nil {
			t.Fatal(err)
		}
		watching.Go(func() error {
			defer watcher.Stop()
			seen := map[string]bool{}
			for event := range watcher.ResultChan() {
				if seen[string(event.Type)] = true; len(seen) == 3 {
					return nil
				}
			}
			return fmt.Errorf("a watch at %s has seen only %v of what %s wrote", reader.Name(), seen, writer.Name())
		})
	}
	sets := e.replicas[writer.Name()].LibV1beta1().ClusterSets()
	set, err := sets.Create(ctx, &libv1beta1.ClusterSet{
		ObjectMeta: metav1.ObjectMeta{Name: "by-" + writer.Name()},
		Spec:       libv1beta1.ClusterSetSpec{MaxReplicas: 1},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, reader := range e.fleet.Muster.Replicas() {
		found, err := e.replicas[reader.Name()].LibV1beta1().ClusterSets().Get(ctx, set.Name, metav1.GetOptions{})
		if err != nil || found.UID != set.UID {
			t.Errorf("read through %s what %s wrote: %v, %v", reader.Name(), writer.Name(), found, err)
		}
	}
	if _, err := sets.Patch(ctx, set.Name, types.MergePatchType, []byte(`{"spec":{"maxReplicas":2}}`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if err := sets.Delete(ctx, set.Name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := watching.Wait(); err != nil {
		t.Error(err)
	}
}

// testKillInFailover kills the leader at some moment of a fail-over. Another
// replica finishes it.
func (e *environment) testKillInFailover(t *testing.T) {
	from, err := e.active(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to := map[string]string{"cluster1": "cluster2", "cluster2": "cluster1"}[from]
	before, err := e.content(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	const fault = "leader killed in a fail-over"
	leader, aimed := e.leader(t), e.struck.aim(e.random, fault, failoverSteps())
	proxy := e.fleet.Managed(from).Proxy
	if err := proxy.Set(t.Context(), fleet.Refuse); err != nil {
		t.Fatal(err)
	}
	failed := time.Now()
	e.awaitFailoverStep(t, aimed, from, to)
	struck := time.Now()
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed %s %.2f s after %s failed", leader.Name(), struck.Sub(failed).Seconds(), from)
	e.struck.strike(t, fault, failoverSteps(), aimed, e.step(t, from, to))
	e.awaitTakeover(t, leader, struck)
	took := eventually(t, to+" has the content", convergence-time.Since(struck), e.has(to, before))
	t.Logf("the fail-over was finished %.2f s after the takeover", took.Seconds())
	if err := proxy.Set(t.Context(), fleet.Forward); err != nil {
		t.Fatal(err)
	}
	if err := leader.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("everything is as it should be after %.2f s", e.awaitSettled(t, before).Seconds())
	if err := e.has(to, before)(t.Context()); err != nil {
		t.Errorf("it has moved back: %v", err)
	}
}

// step is how far a fail-over had come when the leader was struck.
func (e *environment) step(t *testing.T, from, to string) string {
	t.Helper()
	client, err := e.anyReplica()
	if err != nil {
		t.Fatal(err)
	}
	set, err := client.LibV1beta1().ClusterSets().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := client.LibV1beta1().SveltosClusters(name).Get(t.Context(), from, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	content, err := e.content(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	refs := set.Status.SelectedClusterRefs
	switch {
	case content != "":
		return stepDeployed
	case len(refs) == 1 && refs[0].Name == to:
		return stepSelected
	case !cluster.Status.Ready:
		return stepDetected
	default:
		return stepUndetected
	}
}

// testTerminate ends the leader with SIGTERM while a change is under way.
func (e *environment) testTerminate(t *testing.T) {
	leader := e.leader(t)
	ctx, cancel := context.WithTimeout(t.Context(), 75*time.Second) // the shipped grace period
	defer cancel()
	var ending errgroup.Group
	struck, content := e.mustStrikeInChange(t, "leader ended in order", "after an orderly end", func() {
		ending.Go(func() error { return leader.Stop(ctx) })
	})
	e.awaitTakeover(t, leader, struck)
	t.Logf("a change arrived after %.2f s", e.awaitActiveHas(t, content).Seconds())
	if err := ending.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("it ended after %.2f s", time.Since(struck).Seconds())
	if err := leader.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.awaitSettled(t, content)
}

// awaitActiveHas waits until one cluster has content, and this one.
func (e *environment) awaitActiveHas(t *testing.T, content string) time.Duration {
	t.Helper()
	return eventually(t, "the active cluster has "+content, convergence, func(ctx context.Context) error {
		active, err := e.active(ctx)
		if err != nil {
			return err
		}
		return e.has(active, content)(ctx)
	})
}

// testPause stops the leader's process where it is, for longer than its lease,
// and lets it go on when another one leads.
func (e *environment) testPause(t *testing.T) {
	leader := e.leader(t)
	pid := leader.PID()
	// Some of the time it is about to write this, and would when it goes on.
	struck, content := e.mustStrikeInChange(t, "leader paused", "while the leader is paused", func() {
		if err := leader.Pause(); err != nil {
			t.Fatal(err)
		}
	})
	now := e.awaitTakeover(t, leader, struck)
	// It was renewed last at most a retry period before.
	if took := time.Since(struck); took < leaseDuration-time.Second {
		t.Errorf("%s led after %s, before the lease of the other had run out", now.Name(), took)
	}
	pause(t, e.moment(leaseDuration))
	if err := leader.Resume(); err != nil {
		t.Fatal(err)
	}
	resumed := time.Now()
	t.Logf("a change arrived after %.2f s", e.awaitActiveHas(t, content).Seconds())
	e.awaitFollows(t, leader, pid)
	t.Logf("the former leader follows %.2f s after it went on", time.Since(resumed).Seconds())
	e.awaitSettled(t, content)
	if err := e.leads(t.Context(), now, true); err != nil {
		t.Error(err)
	}
}

// testCutFromHost takes the host from the leader, and nothing else.
func (e *environment) testCutFromHost(t *testing.T) {
	e.cutOff(t, "the host", func(leader *fleet.Server) []*fleet.Proxy { return []*fleet.Proxy{leader.Host} })
}

// testCutFromEtcd takes etcd from the leader, and nothing else.
func (e *environment) testCutFromEtcd(t *testing.T) {
	e.cutOff(t, "etcd", func(leader *fleet.Server) []*fleet.Proxy { return leader.Etcd })
}

// cutOff closes ways of the leader, in one manner or the other. Another replica
// leads and makes a change, and the former leader follows without having been
// started again.
func (e *environment) cutOff(t *testing.T, from string, ways func(leader *fleet.Server) []*fleet.Proxy) {
	leader := e.leader(t)
	pid, mode := leader.PID(), []fleet.Mode{fleet.Refuse, fleet.BlackHole}[e.random.IntN(2)]
	set := func(mode fleet.Mode) {
		t.Helper()
		for _, way := range ways(leader) {
			if err := way.Set(t.Context(), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%s: %s", leader.Name(), mode)
	struck, content := e.mustStrikeInChange(t, "leader cut off from "+from, "while the leader is cut off", func() { set(mode) })
	now := e.awaitTakeover(t, leader, struck)
	t.Logf("a change arrived after %.2f s", e.awaitActiveHas(t, content).Seconds())
	pause(t, e.moment(leaseDuration))
	set(fleet.Forward)
	healed := time.Now()
	e.awaitFollows(t, leader, pid)
	t.Logf("the former leader follows %.2f s after the end of it", time.Since(healed).Seconds())
	e.awaitSettled(t, content)
	if err := e.leads(t.Context(), now, true); err != nil {
		t.Error(err)
	}
}

// awaitFollows waits until a former leader is a follower that is ready, in the
// process that it was.
func (e *environment) awaitFollows(t *testing.T, former *fleet.Server, pid int) {
	t.Helper()
	eventually(t, "the former leader follows", takeoverLimit, func(ctx context.Context) error { return e.leads(ctx, former, false) })
	eventually(t, "the former leader is ready", takeoverLimit, func(ctx context.Context) error {
		_, err := e.replicas[former.Name()].Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
	if former.PID() != pid {
		t.Error("losing the lease ended the process")
	}
}

// testMember kills one member of etcd. Two are enough.
func (e *environment) testMember(t *testing.T) {
	leader := e.leader(t)
	members := e.fleet.Muster.Members()
	member := members[e.random.IntN(len(members))]
	killed, content := e.mustStrikeInChange(t, "member of etcd killed", "without "+member.Name(), func() {
		if err := member.Kill(); err != nil {
			t.Fatal(err)
		}
	})
	for _, replica := range e.fleet.Muster.Replicas() {
		e.expectWriteSeen(t, replica)
	}
	t.Logf("without %s every replica had written after %.2f s", member.Name(), time.Since(killed).Seconds())
	t.Logf("a change arrived after %.2f s", e.awaitActiveHas(t, content).Seconds())
	if err := member.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.awaitSettled(t, content)
	if now := e.leader(t); now != leader {
		t.Errorf("one member of three was gone, and %s leads in place of %s", now.Name(), leader.Name())
	}
}

// testScale goes from three replicas to one, which may be one that has followed,
// and back.
func (e *environment) testScale(t *testing.T) {
	before := e.uids(t)
	kept := e.random.IntN(replicas)
	var scaling errgroup.Group
	ctx, cancel := context.WithTimeout(t.Context(), 75*time.Second)
	defer cancel()
	for i, replica := range e.fleet.Muster.Replicas() {
		if i != kept {
			scaling.Go(func() error { return replica.Stop(ctx) })
		}
	}
	if err := scaling.Wait(); err != nil {
		t.Fatal(err)
	}
	if leader := e.leader(t); leader != e.fleet.Muster.Replica(kept) {
		t.Errorf("%s leads and does not run", leader.Name())
	}
	content := e.fresh("one replica")
	e.change(t, content)
	e.awaitSettled(t, content)
	if alone := e.uids(t); alone != before {
		t.Errorf("with one replica there is\n%s\nthere was\n%s", alone, before)
	}
	if err := e.fleet.Muster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	content = e.fresh("three replicas again")
	e.change(t, content)
	e.awaitSettled(t, content)
	if again := e.uids(t); again != before {
		t.Errorf("with three replicas there is\n%s\nthere was\n%s", again, before)
	}
}
