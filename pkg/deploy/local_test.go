// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// ownerFor is a profile as the owner of what it has on the host for a cluster.
func ownerFor(cluster string) inventory.Owner {
	o := owner("web", 100)
	o.Cluster = "civo/" + cluster
	return o
}

func newHostBench(t *testing.T) *bench {
	b := newBench(t)
	b.cluster.Ref, b.cluster.UID = inventory.Host(), "host"
	b.profiles["web"] = true
	return b
}

// One object on the host for two clusters is one object: it stays until the last of
// them lets it go, with what it was.
func TestAProfileSharesWhatItHasOnTheHost(t *testing.T) {
	b := newHostBench(t)
	one, two := ownerFor("one"), ownerFor("two")
	b.mustDeploy(Request{Owner: one, Objects: resources(configMap(t, "a", "1"))})
	if got := b.wire.get(configMapPath("a")).GetAnnotations()[ClusterAnnotation]; got != "civo/one" {
		t.Errorf("it is said to be for %q", got)
	}
	b.wire.take()
	b.mustDeploy(Request{Owner: two, Objects: resources(configMap(t, "a", "1"))})
	if writes := b.wire.writes(); len(writes) > 0 {
		t.Errorf("applied again for the second cluster: %v", writes)
	}
	requeue := b.mustWithdraw(one, WithdrawPolicies).Requeue
	if diff := cmp.Diff([]inventory.OwnerKey{two.Key()}, requeue); diff != "" {
		t.Errorf("to be queued (-want +got):\n%s", diff)
	}
	uid := b.wire.get(configMapPath("a")).GetUID()
	b.mustDeploy(Request{Owner: two, Objects: resources(configMap(t, "a", "1"))})
	found := b.wire.get(configMapPath("a"))
	if found.GetUID() != uid || found.GetAnnotations()[ClusterAnnotation] != "civo/two" {
		t.Errorf("handed over as %s, marked for %s", found.GetUID(), found.GetAnnotations()[ClusterAnnotation])
	}
	b.mustWithdraw(two, WithdrawPolicies)
	if b.wire.get(configMapPath("a")) != nil {
		t.Error("it is left behind")
	}
}

func TestAProfileConflictsWithItselfOnTheHost(t *testing.T) {
	b := newHostBench(t)
	b.mustDeploy(Request{Owner: ownerFor("one"), Objects: resources(configMap(t, "a", "1"))})
	result := b.deploy(Request{Owner: ownerFor("two"), Objects: resources(configMap(t, "a", "2"))})
	c := conflictOf(result, Resources)
	if c == nil || c.Temporary || !c.Sibling || !strings.Contains(c.Error(), "ClusterProfile web for civo/one") || !strings.Contains(c.Error(), "HostCluster host") {
		t.Errorf("conflict %v", c)
	}
	other := owner("other", 100)
	other.Cluster = "civo/two"
	result = b.deploy(Request{Owner: other, Objects: resources(configMap(t, "a", "1"))})
	if c := conflictOf(result, Resources); c == nil || c.Sibling {
		t.Errorf("another profile: %v", result.Features)
	}
}

func TestLeavingWhatIsOnTheHostTakesItsMarks(t *testing.T) {
	b := newHostBench(t)
	b.mustDeploy(Request{Owner: ownerFor("one"), Objects: resources(configMap(t, "a", "1"))})
	b.mustWithdraw(ownerFor("one"), LeavePolicies)
	if found := b.wire.get(configMapPath("a")); found == nil || len(found.GetAnnotations())+len(found.GetLabels()) > 0 {
		t.Errorf("left %v", found)
	}
}

// What Sveltos deployed to the host says nothing of the cluster it is for.
func TestWhatSveltosLeftOnTheHostIsAdopted(t *testing.T) {
	b := newHostBench(t)
	b.wire.put(configMapPath("a"), parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps, annotations: {"+
		OwnerKindAnnotation+": ClusterProfile, "+OwnerNameAnnotation+": web}}\n"))
	b.mustDeploy(Request{Owner: ownerFor("one"), Objects: resources(configMap(t, "a", "1"))})
}

func TestObjectsStayInTheOneNamespace(t *testing.T) {
	b := newHostBench(t)
	for _, tc := range []struct{ text, outside string }{
		{"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", ""},
		{"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\n", ""},
		{"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\n", "ConfigMap default/a"},
		{"apiVersion: v1\nkind: Namespace\nmetadata: {name: apps}\n", "Namespace apps"},
	} {
		result := b.deploy(Request{Owner: ownerFor("one"), Namespace: "apps", Objects: resources(object(t, tc.text))})
		var outside *OutsideError
		err := result.Features[Resources].Err
		if errors.As(err, &outside) != (tc.outside != "") || err != nil && !strings.Contains(err.Error(), tc.outside) {
			t.Errorf("%q: %v", tc.text, err)
		}
	}
	for _, path := range b.wire.paths() {
		if path != "/api/v1/namespaces/apps" && path != configMapPath("a") {
			t.Errorf("there is %s", path)
		}
	}
}

// All that a predecessor has goes to its successor, however long the list.
func TestAPredecessorHandsEverythingOver(t *testing.T) {
	for _, behavior := range []Behavior{WithdrawPolicies, LeavePolicies} {
		b := newBench(t)
		before, next := owner("before", 100), owner("next", 100)
		request := Request{Owner: before, Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1"), configMap(t, "mine", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1"), chart("redis", "1")}}}
		b.mustDeploy(request)
		uids := []any{b.wire.get(configMapPath("a")).GetUID(), b.wire.get(configMapPath("b")).GetUID()}
		request = Request{Owner: next, Predecessor: before.Key(), Objects: resources(configMap(t, "a", "2"), configMap(t, "b", "2")), Charts: ChartList{Charts: []Chart{chart("nginx", "2"), chart("redis", "2")}}}
		if b.deploy(request).OK() {
			t.Fatal("taken over from a profile that has not left")
		}
		b.wire.take()
		b.charts.take()
		b.mustWithdraw(before, behavior)
		b.mustDeploy(request)
		for _, write := range b.wire.writes() {
			if strings.HasPrefix(write, "DELETE") && !strings.HasSuffix(write, "/mine") {
				t.Errorf("%s: %s", behavior, write)
			}
		}
		for _, call := range b.charts.take() {
			if strings.HasPrefix(call, "uninstall") {
				t.Errorf("%s: %s", behavior, call)
			}
		}
		if got := []any{b.wire.get(configMapPath("a")).GetUID(), b.wire.get(configMapPath("b")).GetUID()}; got[0] != uids[0] || got[1] != uids[1] {
			t.Errorf("%s: the objects are others", behavior)
		}
		if left := b.wire.get(configMapPath("mine")) != nil; left != (behavior == LeavePolicies) {
			t.Errorf("%s: what the successor does not want is left: %v", behavior, left)
		}
	}
}
