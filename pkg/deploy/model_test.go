// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// model drives several profiles over one cluster, with failures of the cluster
// and deaths of the process between any two writes, and checks after each
// request and each pass what must never be otherwise.
type model struct {
	*bench
	rt *rapid.T

	owners  []inventory.Owner
	desired map[string]map[string]string // owner → object → value; no entry: withdrawn
	acting  inventory.Owner
	// refused is set when an apply of the acting pass failed.
	refused bool
	deaths  int
}

var errDied = errors.New("the process died")

func newModel(t *testing.T, rt *rapid.T) *model {
	m := &model{bench: newBench(t), rt: rt, desired: map[string]map[string]string{}}
	for i := range 3 {
		name := fmt.Sprintf("p%d", i)
		m.owners = append(m.owners, owner(name, int32(rapid.IntRange(1, 3).Draw(rt, "tier"))))
		m.profiles[name] = true
	}
	return m
}

// request is what the owner wants now, in the order of names.
func (m *model) request(o inventory.Owner) Request {
	wants := m.desired[o.Name]
	names := make([]string, 0, len(wants))
	for name := range wants {
		names = append(names, name)
	}
	slices.Sort(names)
	list := ObjectList{Feature: Resources}
	for _, name := range names {
		list.Objects = append(list.Objects, configMap(m.t, name, wants[name]))
	}
	return Request{Owner: o, Revision: fmt.Sprint(wants), Objects: []ObjectList{list}, ContinueOnConflict: true}
}

// check is called for every request, before the cluster acts on it.
func (m *model) check(req wireRequest) *apierrors.StatusError {
	name := req.Path[strings.LastIndex(req.Path, "/")+1:]
	key := inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: name}
	switch req.Method {
	case http.MethodPatch:
		if record := m.record(m.acting); record == nil || record.Object(key) == nil {
			m.rt.Fatalf("%s applied %s, which its inventory does not name", m.acting, name)
		}
		if others := m.ownersOf(key); slices.ContainsFunc(others, func(o inventory.Owner) bool { return o.Key() != m.acting.Key() }) {
			m.rt.Fatalf("%s applied %s of %v", m.acting, name, others)
		}
	case http.MethodDelete:
		for _, o := range m.ownersOf(key) {
			if o.Key() != m.acting.Key() {
				m.rt.Fatalf("%s deleted %s, which %s owns", m.acting, name, o)
			}
		}
		if m.refused {
			m.rt.Fatalf("%s pruned %s although an apply had failed", m.acting, name)
		}
		if _, wanted := m.desired[m.acting.Name][name]; wanted {
			m.rt.Fatalf("%s deleted %s, which it wants", m.acting, name)
		}
	}
	return nil
}

// ownersOf returns who owns an object by the records as they are stored, with
// takeovers counted as complete from their first write.
func (m *model) ownersOf(key inventory.ObjectKey) []inventory.Owner {
	records, err := inventory.NewStore(m.shelf).ForCluster(context.Background(), m.cluster.Ref)
	if err != nil {
		m.rt.Fatal(err)
	}
	settle(records)
	var owners []inventory.Owner
	for _, r := range records {
		if r.Object(key) != nil {
			owners = append(owners, r.Owner)
		}
	}
	return owners
}

// pass makes one pass of an owner. fault is how many writes of the cluster, and
// death how many of the inventory, succeed before one fails; 0 is none.
func (m *model) pass(o inventory.Owner, fault, death int) (died bool) {
	m.acting, m.refused = o, false
	applies := 0
	m.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if err := m.check(req); err != nil {
			return err
		}
		if req.Method == http.MethodPatch {
			if applies++; applies == fault {
				m.refused = true
				return apierrors.NewInternalError(errors.New("etcd is slow"))
			}
		}
		return nil
	}
	first := m.shelf.writes
	m.shelf.fail = func(write int, _ string) error {
		if death > 0 && write-first >= death {
			died = true
			return errDied
		}
		return nil
	}
	if _, wants := m.desired[o.Name]; wants {
		m.deployer.Deploy(context.Background(), m.cluster, m.request(o))
	} else {
		_, _ = m.deployer.Withdraw(context.Background(), m.cluster, o.Key(), WithdrawPolicies)
	}
	m.shelf.fail, m.wire.intercept = nil, nil
	if died {
		m.deaths++
		m.restart()
	}
	m.checkOwners()
	return died
}

// checkOwners makes sure that nothing has two owners, and that nothing in the
// cluster has none.
func (m *model) checkOwners() {
	for _, path := range m.wire.paths() {
		name, ok := strings.CutPrefix(path, "/api/v1/namespaces/apps/configmaps/")
		if !ok {
			continue
		}
		owners := m.ownersOf(inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: name})
		if len(owners) != 1 {
			m.rt.Fatalf("%s is in the cluster and has the owners %v", name, owners)
		}
	}
}

// converge makes passes without faults until nothing changes, as queues would.
func (m *model) converge() {
	for range 10 {
		before := fmt.Sprint(m.shelf.values)
		for _, o := range m.owners {
			m.pass(o, 0, 0)
		}
		if fmt.Sprint(m.shelf.values) == before {
			return
		}
	}
	m.rt.Fatal("passes without faults change something again and again")
}

// checkConverged compares the cluster with what the profiles want.
func (m *model) checkConverged() {
	best := map[string]int32{}
	for _, o := range m.owners {
		for name := range m.desired[o.Name] {
			if tier, ok := best[name]; !ok || o.Tier < tier {
				best[name] = o.Tier
			}
		}
	}
	var live []string
	for _, path := range m.wire.paths() {
		if name, ok := strings.CutPrefix(path, "/api/v1/namespaces/apps/configmaps/"); ok {
			live = append(live, name)
		}
	}
	for _, name := range live {
		holder := m.ownersOf(inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: name})[0]
		if _, wanted := best[name]; !wanted && !m.hasConflict(holder.Name) {
			m.rt.Fatalf("%s was left behind, the profiles want %v", name, best)
		}
	}
	for name, tier := range best {
		obj := m.wire.get(configMapPath(name))
		if obj == nil {
			m.rt.Fatalf("%s is missing", name)
		}
		holder := obj.GetAnnotations()[OwnerNameAnnotation]
		at := slices.IndexFunc(m.owners, func(o inventory.Owner) bool { return o.Name == holder })
		value := obj.Object["data"].(map[string]any)["value"]
		if at < 0 || m.owners[at].Tier != tier || value != m.desired[holder][name] {
			m.rt.Fatalf("%s has value %v of %s, tier %d should have it: %v", name, value, holder, tier, m.desired)
		}
	}
}

// hasConflict reports whether somebody else has what an owner wants: that one
// may not prune.
func (m *model) hasConflict(name string) bool {
	for object := range m.desired[name] {
		if m.wire.get(configMapPath(object)).GetAnnotations()[OwnerNameAnnotation] != name {
			return true
		}
	}
	return false
}

// uids returns the UIDs of the objects in the cluster.
func (m *model) uids() map[string]types.UID {
	out := map[string]types.UID{}
	for _, path := range m.wire.paths() {
		if name, ok := strings.CutPrefix(path, "/api/v1/namespaces/apps/configmaps/"); ok {
			out[name] = m.wire.get(path).GetUID()
		}
	}
	return out
}

func TestModelNothingIsLostStolenOrLeftBehind(t *testing.T) {
	deaths, runs := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(m.owners)-1).Draw(rt, "owner")
			switch rapid.SampledFrom([]string{"want", "want", "withdraw", "tier", "same"}).Draw(rt, "change") {
			case "want":
				m.desired[m.owners[i].Name] = rapid.MapOfN(
					rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.SampledFrom([]string{"1", "2"}), 0, 4).Draw(rt, "objects")
			case "withdraw":
				delete(m.desired, m.owners[i].Name)
			case "tier":
				m.owners[i].Tier = int32(rapid.IntRange(1, 3).Draw(rt, "tier"))
			}
			m.pass(m.owners[i], rapid.IntRange(0, 4).Draw(rt, "fault"), rapid.IntRange(0, 6).Draw(rt, "death"))
		}
		m.converge()
		m.checkConverged()
		deaths, runs = deaths+m.deaths, runs+1

		// What somebody else wants too is handed over as it is.
		leaver := m.owners[rapid.IntRange(0, len(m.owners)-1).Draw(rt, "leaver")]
		before := m.uids()
		delete(m.desired, leaver.Name)
		m.pass(leaver, 0, 0)
		m.converge()
		m.checkConverged()
		for name, uid := range m.uids() {
			if before[name] != uid {
				rt.Fatalf("%s was deleted and made anew", name)
			}
		}
	})
	if deaths < runs/2 {
		t.Errorf("only %d deaths in %d runs: the test does not test what it says", deaths, runs)
	}
}
