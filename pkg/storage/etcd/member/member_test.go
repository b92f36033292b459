// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"errors"
	"strings"
	"testing"
)

func TestThreeMembersBootstrapOneClusterAndRestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	processes := c.bootstrap()
	client := c.client()
	before := c.voters(client, 3)
	eventually(t, func() error {
		if state, err := c.state.Get(t.Context()); err != nil || state.Completed == nil {
			return errors.New("that the cluster was bootstrapped is not recorded")
		}
		return nil
	})

	// One member less, as in a rolling restart: the others go on.
	processes[0].stop()
	c.put(client, "/k", "v2")
	c.start("m0")
	c.holds("m0", "/k", "v2")

	for _, p := range processes[1:] {
		p.stop()
	}
	c.start("m1")
	c.start("m2")
	c.put(client, "/k", "v3")
	for name, id := range c.voters(client, 3) {
		if id != before[name] {
			t.Errorf("%s is member %x after a restart, want %x", name, id, before[name])
		}
		c.holds(name, "/k", "v3")
	}
}

func TestAMemberThatIsSlowAtTheFirstStartIsOneOfTheFirst(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.start("m0")
	c.start("m1")
	client := c.client("m0", "m1")
	c.put(client, "/k", "v")
	slow := c.start("m2")
	c.holds("m2", "/k", "v")
	c.voters(client, 3)
	if log := slow.log.String(); !strings.Contains(log, "Starting as one of the cluster's first members") {
		t.Errorf("it did not start as the member that the others waited for:\n%s", log)
	}
}

func TestAMemberThatLostItsDataIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	processes := c.bootstrap()
	client := c.client("m0", "m1")
	before := c.voters(client, 3)

	processes[2].stop()
	c.wipe("m2")
	c.start("m2")
	c.holds("m2", "/k", "v")
	after := c.voters(client, 3)
	if after["m2"] == before["m2"] {
		t.Error("the member has the ID that it had before it lost its data")
	}
	if after["m0"] != before["m0"] || after["m1"] != before["m1"] {
		t.Errorf("members were %v and are %v: others were replaced too", before, after)
	}
	eventually(t, func() error { return c.ready("m2") })

	// What was learned is kept: the new member restarts like any other, and two members suffice.
	processes[1].stop()
	c.put(c.client("m0", "m2"), "/k", "v2")
}

func TestNothingIsBootstrappedAnewWithoutAMajority(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	processes := c.bootstrap()
	for _, p := range processes {
		p.stop()
	}
	bootstrapped := c.state.state.ClusterID

	// Two of three have lost everything: they are a majority, and must not be one of an empty cluster.
	saved := c.dir("m1") + ".saved"
	rename(t, c.dir("m1"), saved)
	c.wipe("m0")
	c.start("m0")
	empty := c.start("m1")
	c.start("m2")
	for _, name := range []string{"m0", "m1"} {
		c.waits(name, "use muster restore")
	}
	c.waits("m2", "no majority of the cluster is up")
	if got := c.state.state.ClusterID; got != bootstrapped {
		t.Errorf("the cluster is %s, it was %s", got, bootstrapped)
	}

	// The second volume is found again: the third member is taken back in.
	empty.stop()
	c.wipe("m1")
	rename(t, saved, c.dir("m1"))
	c.start("m1")
	c.holds("m0", "/k", "v")
	c.voters(c.client(), 3)
}

func TestALoneMemberThatLostItsDataWaits(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	p := c.start("m0")
	c.put(c.client(), "/k", "v")
	p.stop()
	c.wipe("m0")
	p = c.start("m0")
	c.waits("m0", "use muster restore")
	// It must not be killed for that.
	for _, path := range []string{"/livez", "/metrics"} {
		if err := c.probe("m0", path); err != nil {
			t.Errorf("%s of a member that waits: %v", path, err)
		}
	}
	p.stop()
}

func TestMembersAreAdded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	all := c.peers
	c.peers = all[:1]
	c.start("m0")
	client := c.client("m0")
	c.put(client, "/k", "v")
	c.peers = all
	c.start("m1")
	c.start("m2")
	c.voters(client, 3)
	c.holds("m1", "/k", "v")
	c.holds("m2", "/k", "v")
}

func TestAMemberWithDataStartsWithoutTheHostCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	p := c.start("m0")
	c.put(c.client(), "/k", "v")
	p.stop()
	c.state.fail(errors.New("the host cluster is down"))
	c.start("m0")
	c.holds("m0", "/k", "v")

	other := newCluster(t, 1)
	other.state.fail(errors.New("the host cluster is down"))
	other.start("m0")
	other.waits("m0", "it is not known whether the cluster was bootstrapped before: the host cluster is down")
	other.state.fail(nil)
	other.put(other.client(), "/k", "v")
}
