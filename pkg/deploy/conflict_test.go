// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func conflictOf(result Result, feature Feature) *ConflictError {
	var conflict *ConflictError
	errors.As(result.Features[feature].Err, &conflict)
	return conflict
}

func TestConflictLowerTierWinsAndTiesKeepTheOwner(t *testing.T) {
	for name, tc := range map[string]struct {
		tier  int32
		taken bool
	}{
		"lower": {99, true}, "equal": {100, false}, "higher": {101, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first, second := owner("first", 100), owner("second", tc.tier)
			b.mustDeploy(Request{Owner: first, Objects: resources(configMap(t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
			uid := b.wire.get(configMapPath("a")).GetUID()
			b.wire.take()

			result := b.deploy(Request{Owner: second, Objects: resources(configMap(t, "a", "2")), Charts: ChartList{Charts: []Chart{chart("nginx", "2")}}})
			if result.OK() != tc.taken {
				t.Fatalf("taken = %v: %v", !tc.taken, result.Features)
			}
			live := b.wire.get(configMapPath("a"))
			if live.GetUID() != uid {
				t.Error("handed over by deleting")
			}
			winner, loser := first, second
			if tc.taken {
				winner, loser = second, first
				if diff := cmp.Diff([]inventory.OwnerKey{first.Key()}, result.Requeue); diff != "" {
					t.Errorf("to be queued (-want +got):\n%s", diff)
				}
			} else {
				for _, feature := range []Feature{Resources, Helm} {
					if c := conflictOf(result, feature); c == nil || c.Owner != first.Key() || c.Temporary {
						t.Errorf("conflict of %s: %+v", feature, c)
					}
				}
				if writes := b.wire.writes(); len(writes) > 0 {
					t.Errorf("wrote %v", writes)
				}
			}
			if got := live.GetAnnotations()[OwnerNameAnnotation]; got != winner.Name {
				t.Errorf("marked as %s's", got)
			}
			want := []string{"a", "release apps/nginx"}
			if diff := cmp.Diff(want, keys(b.record(winner))); diff != "" {
				t.Errorf("the owner's inventory (-want +got):\n%s", diff)
			}
			if got := keys(b.record(loser)); len(got) > 0 {
				t.Errorf("the loser's inventory has %v", got)
			}
		})
	}
}

func TestConflictErrorsNameWhatAndWho(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Owner: owner("first", 100), Objects: resources(configMap(t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
	result := b.deploy(Request{Owner: owner("second", 100), Objects: resources(configMap(t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
	for feature, want := range map[Feature]string{
		Resources: "conflict: ConfigMap apps/a on SveltosCluster civo/cluster1 is owned by ClusterProfile first",
		Helm:      "conflict: release apps/nginx on SveltosCluster civo/cluster1 is owned by ClusterProfile first",
	} {
		if err := result.Features[feature].Err; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", feature, err)
		}
	}
}

func TestConflictLoserDeletesNothing(t *testing.T) {
	for name, lose := range map[string]func(*bench, inventory.Owner){
		"withdraws": func(b *bench, loser inventory.Owner) { b.mustWithdraw(loser, WithdrawPolicies) },
		"prunes":    func(b *bench, loser inventory.Owner) { b.mustDeploy(Request{Owner: loser}) },
		"reconciles, then withdraws": func(b *bench, loser inventory.Owner) {
			b.deploy(Request{Owner: loser, Objects: resources(configMap(b.t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
			b.mustWithdraw(loser, WithdrawPolicies)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			loser, winner := owner("loser", 100), owner("winner", 50)
			request := Request{Objects: resources(configMap(t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}}
			for _, o := range []inventory.Owner{loser, winner} {
				request.Owner = o
				b.mustDeploy(request)
			}
			b.wire.take()
			b.charts.take()
			lose(b, loser)
			if writes := b.wire.writes(); len(writes) > 0 {
				t.Errorf("wrote %v", writes)
			}
			if calls := b.charts.take(); slices.Contains(calls, "uninstall nginx") {
				t.Errorf("charts: %v", calls)
			}
			if diff := cmp.Diff([]string{"a", "release apps/nginx"}, keys(b.record(winner))); diff != "" {
				t.Errorf("the winner's inventory (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConflictWhatIsLetGoGoesToWhoeverWantsIt(t *testing.T) {
	for name, let := range map[string]func(*bench, inventory.Owner) []inventory.OwnerKey{
		"withdrawn": func(b *bench, o inventory.Owner) []inventory.OwnerKey {
			return b.mustWithdraw(o, WithdrawPolicies).Requeue
		},
		"left": func(b *bench, o inventory.Owner) []inventory.OwnerKey {
			return b.mustWithdraw(o, LeavePolicies).Requeue
		},
		"pruned": func(b *bench, o inventory.Owner) []inventory.OwnerKey { return b.mustDeploy(Request{Owner: o}).Requeue },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first, second, third := owner("first", 100), owner("second", 100), owner("third", 90)
			b.profiles["first"], b.profiles["second"], b.profiles["third"] = true, true, true
			request := Request{Objects: resources(configMap(t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}}
			request.Owner = third
			b.mustDeploy(request)
			for _, o := range []inventory.Owner{first, second} {
				request.Owner = o
				if b.deploy(request).OK() {
					t.Fatalf("%s has no conflict", o)
				}
			}
			uid := b.wire.get(configMapPath("a")).GetUID()
			b.charts.take()

			requeue := let(b, third)
			if diff := cmp.Diff([]inventory.OwnerKey{first.Key()}, requeue); diff != "" {
				t.Errorf("to be queued (-want +got):\n%s", diff)
			}
			request.Owner = first
			b.mustDeploy(request)
			live := b.wire.get(configMapPath("a"))
			if live.GetUID() != uid || live.GetAnnotations()[OwnerNameAnnotation] != "first" {
				t.Errorf("object %s of %s", live.GetUID(), live.GetAnnotations()[OwnerNameAnnotation])
			}
			if slices.Contains(b.charts.take(), "uninstall nginx") {
				t.Error("the release was uninstalled on its way")
			}
			if got := keys(b.record(third)); len(got) > 0 {
				t.Errorf("the old owner still has %v", got)
			}
		})
	}
}

func TestConflictReturnsToItsLoser(t *testing.T) {
	b := newBench(t)
	loser, winner := owner("loser", 100), owner("winner", 50)
	b.mustDeploy(Request{Owner: loser, Objects: resources(configMap(t, "a", "1"))})
	b.mustDeploy(Request{Owner: winner, Objects: resources(configMap(t, "a", "2"))})
	// The loser had no pass in between, and yet is known to want it.
	if got := b.mustWithdraw(winner, WithdrawPolicies).Requeue; !slices.Equal(got, []inventory.OwnerKey{loser.Key()}) {
		t.Errorf("to be queued: %v", got)
	}
	b.wire.take()
	b.mustDeploy(Request{Owner: loser, Objects: resources(configMap(t, "a", "1"))})
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestConflictWithinOneProfile(t *testing.T) {
	with := func(name string, tier int32, value string) Object {
		o := configMap(t, "a", value)
		o.Source = source(name, tier)
		return o
	}
	tests := map[string]struct {
		lists    []ObjectList
		conflict bool
		value    string
	}{
		"the lower tier, first":     {resources(with("x", 50, "x"), with("y", 100, "y")), false, "x"},
		"the lower tier, second":    {resources(with("x", 100, "x"), with("y", 50, "y")), false, "y"},
		"equals":                    {resources(with("x", 100, "x"), with("y", 100, "y")), true, "x"},
		"equals in different lists": {[]ObjectList{{Feature: Resources, Objects: []Object{with("x", 100, "x")}}, {Feature: Kustomize, Objects: []Object{with("y", 100, "y")}}}, true, "x"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			result := b.deploy(Request{Objects: tc.lists})
			if result.OK() == tc.conflict {
				t.Fatalf("result %v", result.Features)
			}
			value := b.wire.get(configMapPath("a")).Object["data"].(map[string]any)["value"]
			if value != tc.value {
				t.Errorf("value %v", value)
			}
			if tc.conflict {
				last := tc.lists[len(tc.lists)-1].Feature
				if c := conflictOf(result, last); c == nil || c.Source != "ConfigMap civo/x" {
					t.Errorf("conflict %v", result.Features[last].Err)
				}
			}
		})
	}
}

func TestConflictStopsItsListUnlessToldOtherwise(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Owner: owner("first", 100), Objects: resources(configMap(t, "a", "1"))})
	b.wire.take()
	request := Request{Owner: owner("second", 100), Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1"))}
	b.deploy(request)
	if writes := b.wire.writes(); len(writes) > 0 {
		t.Errorf("wrote %v behind a conflict", writes)
	}
	if got := keys(b.record(request.Owner)); len(got) > 0 {
		t.Errorf("claimed %v behind a conflict", got)
	}
	request.ContinueOnConflict = true
	b.deploy(request)
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("b")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestConflictNothingIsTakenFromAPassUnderWay(t *testing.T) {
	b := newBench(t)
	slow, fast := owner("slow", 100), owner("fast", 50)
	request := Request{Owner: slow, Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}}
	reached, goOn := make(chan struct{}), make(chan struct{})
	b.charts.hook = func(string) {
		b.charts.hook = nil
		close(reached)
		<-goOn
	}
	done := make(chan Result)
	go func() { done <- b.deployer.Deploy(context.Background(), b.cluster, request) }()
	<-reached

	taking := Request{Owner: fast, Charts: request.Charts}
	if c := conflictOf(b.deploy(taking), Helm); c == nil || !c.Temporary {
		t.Errorf("conflict %+v", c)
	}
	close(goOn)
	if result := <-done; !result.OK() {
		t.Errorf("the slow pass: %v, %v", result.Features, result.Err)
	}
	b.mustDeploy(taking)
	if got := keys(b.record(slow)); len(got) > 0 {
		t.Errorf("the slow one still has %v", got)
	}
}

// A handover of either direction, cut short after any write of the inventory.
func TestHandoverCutShortAnywhere(t *testing.T) {
	first, second := owner("first", 100), owner("second", 50)
	request := func(o inventory.Owner) Request {
		return Request{Owner: o, Objects: resources(configMap(t, "a", o.Name)), Charts: ChartList{Charts: []Chart{chart("nginx", o.Name)}}}
	}
	handovers := map[string]struct {
		before, cut func(*bench)
		winner      inventory.Owner
	}{
		"taken over": {
			func(b *bench) { b.mustDeploy(request(first)) },
			func(b *bench) { b.deploy(request(second)) }, second,
		},
		"let go": {
			func(b *bench) { b.mustDeploy(request(second)); b.deploy(request(first)) },
			func(b *bench) { _, _ = b.withdraw(second, WithdrawPolicies) }, first,
		},
	}
	for name, tc := range handovers {
		for writes := 1; ; writes++ {
			b := newBench(t)
			b.profiles["first"], b.profiles["second"] = true, true
			tc.before(b)
			uid := b.wire.get(configMapPath("a")).GetUID()
			died, begun := false, b.shelf.writes
			b.shelf.fail = func(write int, _ string) error {
				if died = write-begun >= writes; died {
					return errDied
				}
				return nil
			}
			tc.cut(b)
			b.shelf.fail = nil
			b.restart()
			b.checkOneOwner(fmt.Sprintf("%s, after %d writes", name, writes))
			tc.cut(b)
			b.mustDeploy(request(tc.winner))
			live := b.wire.get(configMapPath("a"))
			if live.GetUID() != uid || live.GetAnnotations()[OwnerNameAnnotation] != tc.winner.Name {
				t.Errorf("%s, after %d writes: object %s of %s", name, writes, live.GetUID(), live.GetAnnotations()[OwnerNameAnnotation])
			}
			if slices.Contains(b.charts.take(), "uninstall nginx") {
				t.Errorf("%s, after %d writes: uninstalled", name, writes)
			}
			if !died {
				break
			}
		}
	}
}

// checkOneOwner makes sure that the object and the release have one owner each.
func (b *bench) checkOneOwner(when string) {
	b.t.Helper()
	records, err := inventory.NewStore(b.shelf).ForCluster(context.Background(), b.cluster.Ref)
	if err != nil {
		b.t.Fatal(err)
	}
	settle(records)
	objects, releases := 0, 0
	for _, r := range records {
		objects, releases = objects+len(r.Objects), releases+len(r.Releases)
	}
	if objects != 1 || releases != 1 {
		b.t.Errorf("%s: %d owners of the object, %d of the release", when, objects, releases)
	}
}
