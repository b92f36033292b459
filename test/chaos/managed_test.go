// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/test/fleet"
)

// testCutFromManaged takes all managed clusters from the leader, and from nobody
// else. To the leader they look dead, all at once: it keeps what runs, and moves
// nothing, neither then nor when they are back.
func (e *environment) testCutFromManaged(t *testing.T) {
	active, err := e.active(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader, before := e.leader(t), e.uids(t)
	pids, mode := e.pids(), []fleet.Mode{fleet.Refuse, fleet.BlackHole}[e.random.IntN(2)]
	set := func(mode fleet.Mode) {
		t.Helper()
		if err := e.fleet.SetManagedFor(leader, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s: %s", leader.Name(), mode)
	struck, content := e.mustStrikeInChange(t, "leader cut off from managed clusters", "while the leader is cut off from managed clusters",
		func() { set(mode) })
	eventually(t, "no cluster is ready", takeoverLimit, e.noneReady)
	t.Logf("no cluster was ready %.2f s after that", time.Since(struck).Seconds())
	e.expectUnmoved(t, active, e.moment(outage))
	set(fleet.Forward)
	t.Logf("everything is as it should be %.2f s after the end of it", e.awaitSettled(t, content).Seconds())
	e.expectUnmoved(t, active, time.Second)
	if err := e.leads(t.Context(), leader, true); err != nil {
		t.Error(err)
	}
	e.expectSame(t, before, pids)
}

// noneReady checks that no cluster is ready.
func (e *environment) noneReady(ctx context.Context) error {
	client, err := e.anyReplica()
	if err != nil {
		return err
	}
	clusters, err := client.LibV1beta1().SveltosClusters(name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range clusters.Items {
		if clusters.Items[i].Status.Ready {
			return fmt.Errorf("%s is ready", clusters.Items[i].Name)
		}
	}
	return nil
}

// onlySelected checks which cluster the set has selected.
func onlySelected(ctx context.Context, client versioned.Interface, cluster string) error {
	set, err := client.LibV1beta1().ClusterSets().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if refs := set.Status.SelectedClusterRefs; len(refs) != 1 || refs[0].Name != cluster {
		return fmt.Errorf("selected is %v", refs)
	}
	return nil
}

// expectUnmoved sees to it that a cluster stays the selected one, and the one that
// has the content, for all of that time.
func (e *environment) expectUnmoved(t *testing.T, active string, during time.Duration) {
	t.Helper()
	client, err := e.anyReplica()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	unmoved := errors.New("it is where it was")
	err = fleet.Await(ctx, func(ctx context.Context) error {
		found, err := e.active(ctx)
		if err == nil && found != active {
			err = fmt.Errorf("content is on %s", found)
		}
		if err == nil {
			err = onlySelected(ctx, client, active)
		}
		if err != nil && ctx.Err() == nil {
			t.Errorf("%s was active and nothing should move: %v", active, err)
			return nil
		}
		return unmoved
	})
	if err == nil {
		t.FailNow()
	}
}
