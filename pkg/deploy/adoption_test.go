// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDeployAppliesToTheObjectThatItDecidedOn(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	first := b.wire.get(configMapPath("a")).GetUID()

	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "2"))})
	requests := b.wire.take()
	if uid := requests[len(requests)-1].Body["metadata"].(map[string]any)["uid"]; uid != string(first) {
		t.Errorf("applied with uid %v, not %v", uid, first)
	}

	// Somebody else took the name, and says so: it is not written to.
	stranger := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps, uid: another, annotations: {"+
		OwnerKindAnnotation+": ClusterProfile, "+OwnerNameAnnotation+": rival}}\n")
	b.wire.put(configMapPath("a"), stranger)
	b.profiles["rival"] = true
	var conflict *ConflictError
	if result := b.deploy(Request{Objects: resources(configMap(t, "a", "3"))}); !errors.As(result.Features[Resources].Err, &conflict) {
		t.Errorf("error %v", result.Features[Resources].Err)
	}
	if b.wire.get(configMapPath("a")).GetUID() != "another" {
		t.Error("the stranger's object was written to")
	}

	// Nobody's: it is adopted.
	delete(b.profiles, "rival")
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "3"))})
	if got := b.record(owner("web", 100)).Objects[0].UID; got != "another" {
		t.Errorf("adopted UID %s", got)
	}
}

func TestDeployAdoption(t *testing.T) {
	marks := func(kind, name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps, annotations: {" +
			OwnerKindAnnotation + ": " + kind + ", " + OwnerNameAnnotation + ": " + name + "}}\n"
	}
	tests := map[string]struct {
		text  string
		adopt bool
	}{
		"no marks":                     {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\n", true},
		"the same profile's":           {marks("ClusterProfile", "web"), true},
		"a profile's that is gone":     {marks("ClusterProfile", "gone"), true},
		"another profile's":            {marks("ClusterProfile", "rival"), false},
		"a Profile's of the same name": {marks("Profile", "rival"), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.profiles["rival"] = true
			b.wire.put(configMapPath("a"), parse(t, tc.text))
			result := b.deploy(Request{Objects: resources(configMap(t, "a", "1"))})
			var conflict *ConflictError
			if errors.As(result.Features[Resources].Err, &conflict) == tc.adopt {
				t.Errorf("error %v", result.Features[Resources].Err)
			}
			if adopted := result.OK() && len(result.Record.Objects) == 1; adopted != tc.adopt {
				t.Errorf("adopted %v: %v", adopted, result.Features)
			}
			if !tc.adopt && conflict.Owner.Name != "rival" {
				t.Errorf("conflict names %s", conflict.Owner)
			}
		})
	}
}

func TestDeployDoesNotTrustAnObjectThatIsBeingDeleted(t *testing.T) {
	b := newBench(t)
	dying := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps, finalizers: [example.io/hold]}\n")
	now := metav1.Now()
	dying.SetDeletionTimestamp(&now)
	b.wire.put(configMapPath("a"), dying)
	result := b.deploy(Request{Objects: resources(configMap(t, "a", "1"))})
	if err := result.Features[Resources].Err; err == nil || !strings.Contains(err.Error(), "being deleted (finalizers example.io/hold)") {
		t.Errorf("error %v", err)
	}
	if result.Record.Objects[0].ContentHash != "" {
		t.Error("recorded as applied")
	}
}

func TestDeployVoidsTheInventoryOfAnotherCluster(t *testing.T) {
	for name, swap := range map[string]func(*Cluster){
		"registered anew":   func(c *Cluster) { c.UID = "registration-2" },
		"another behind it": func(c *Cluster) { c.ID = "cluster-2" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1"))})
			swap(&b.cluster)
			result := b.mustDeploy(Request{Objects: resources(configMap(t, "new", "1"))})
			if diff := cmp.Diff([]string{"new"}, keys(result.Record)); diff != "" {
				t.Errorf("inventory (-want +got):\n%s", diff)
			}
			if b.wire.get(configMapPath("old")) == nil || result.Pruned > 0 {
				t.Error("pruned what another cluster's inventory named")
			}
		})
	}
}
