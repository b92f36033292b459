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
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func (b *bench) withdraw(o inventory.Owner, behavior Behavior) (WithdrawResult, error) {
	b.t.Helper()
	return b.deployer.Withdraw(context.Background(), b.cluster, o.Key(), behavior)
}

func (b *bench) mustWithdraw(o inventory.Owner, behavior Behavior) WithdrawResult {
	b.t.Helper()
	result, err := b.withdraw(o, behavior)
	if err != nil {
		b.t.Fatalf("Withdraw: %v", err)
	}
	if b.record(o) != nil {
		b.t.Fatalf("the inventory of %s is still there", o)
	}
	return result
}

var web = owner("web", 100)

func TestWithdrawDeletesInTheRightOrder(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{
		Objects: resources(
			object(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}\n"),
			object(t, widgetCRD),
			configMap(t, "a", "1"),
			object(t, "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: w, namespace: apps}\n"),
		),
		Charts: ChartList{Charts: []Chart{chart("one", "1"), chart("two", "1")}},
	})
	mapper := newMapper()
	mapper.Add(schema.GroupVersionKind{Group: "example.io", Version: "v1", Kind: "Widget"}, meta.RESTScopeNamespace)
	b.cluster.Mapper = mapper
	b.wire.take()
	var order []string
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodDelete {
			order = append(order, req.Path[strings.LastIndex(req.Path, "/")+1:])
		}
		return nil
	}
	b.charts.hook = func(call string) {
		if name, ok := strings.CutPrefix(call, "uninstall "); ok {
			order = append(order, name)
		}
	}
	b.mustWithdraw(web, WithdrawPolicies)
	if diff := cmp.Diff([]string{"w", "a", "two", "one", "widgets.example.io", "mine"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestWithdrawDeletesExactlyWhatItLookedAt(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	live := b.wire.get(configMapPath("a"))
	b.wire.take()
	b.mustWithdraw(web, WithdrawPolicies)
	for _, req := range b.wire.take() {
		if req.Method != http.MethodDelete {
			continue
		}
		want := map[string]any{
			"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
			"preconditions": map[string]any{"uid": string(live.GetUID()), "resourceVersion": live.GetResourceVersion()},
		}
		if diff := cmp.Diff(want, req.Body); diff != "" {
			t.Errorf("options (-want +got):\n%s", diff)
		}
		return
	}
	t.Error("nothing was deleted")
}

// What withdrawal does about an object that is not as the inventory has it.
func TestWithdrawLooksBeforeItDeletes(t *testing.T) {
	marks := ", annotations: {" + OwnerKindAnnotation + ": ClusterProfile, " + OwnerNameAnnotation + ": %s}"
	tests := map[string]struct {
		live    func(*bench) // what happened to the object
		deleted bool
	}{
		"as applied":                            {func(*bench) {}, true},
		"gone":                                  {func(b *bench) { delete(b.wire.objects, configMapPath("a")) }, true},
		"made anew":                             {replaced("another", ""), false},
		"made anew by a backup, with its marks": {replaced("another", fmt.Sprintf(marks, "web")), true},
		"another profile's now":                 {replaced("", fmt.Sprintf(marks, "rival")), false},
		"its marks were taken off":              {replaced("", ""), true},
		"changed while it was looked at": {func(b *bench) {
			b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
				if req.Method == http.MethodDelete {
					b.wire.intercept = nil
					b.wire.store(configMapPath("a"), b.wire.objects[configMapPath("a")])
				}
				return nil
			}
		}, true},
		"taken by another profile while it was looked at": {func(b *bench) {
			b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
				if req.Method == http.MethodDelete {
					b.wire.intercept = nil
					live := b.wire.objects[configMapPath("a")].DeepCopy()
					live.SetAnnotations(map[string]string{OwnerKindAnnotation: "ClusterProfile", OwnerNameAnnotation: "rival"})
					b.wire.store(configMapPath("a"), live)
				}
				return nil
			}
		}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
			tc.live(b)
			b.mustWithdraw(web, WithdrawPolicies)
			if deleted := b.wire.get(configMapPath("a")) == nil; deleted != tc.deleted {
				t.Errorf("deleted = %v", deleted)
			}
		})
	}
}

// replaced puts another object in the place of a; without a UID it is the same
// one, with other marks.
func replaced(uid, marks string) func(*bench) {
	return func(b *bench) {
		obj := parse(b.t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps"+marks+"}\n")
		if uid == "" {
			uid = string(b.wire.get(configMapPath("a")).GetUID())
		}
		obj.SetUID(types.UID(uid))
		b.wire.put(configMapPath("a"), obj)
	}
}

func TestWithdrawLeavesWithoutMarks(t *testing.T) {
	b := newBench(t)
	kept := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps, labels: {left: here}, annotations: {note: kept}}\n")
	b.mustDeploy(Request{Objects: resources(kept), Charts: ChartList{Charts: []Chart{chart("one", "1")}}})
	before := b.wire.get(configMapPath("a"))
	b.wire.take()
	b.charts.take()
	b.mustWithdraw(web, LeavePolicies)

	live := b.wire.get(configMapPath("a"))
	if diff := cmp.Diff(map[string]string{"note": "kept"}, live.GetAnnotations()); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"left": "here"}, live.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	requests := b.wire.take()
	metadata := requests[len(requests)-1].Body["metadata"].(map[string]any)
	if metadata["uid"] != string(before.GetUID()) || metadata["resourceVersion"] != before.GetResourceVersion() {
		t.Errorf("patched without preconditions: %v", metadata)
	}
	if calls := b.charts.take(); len(calls) > 0 {
		t.Errorf("charts: %v", calls)
	}
}

func TestWithdrawWaitsUntilAllIsGone(t *testing.T) {
	b := newBench(t)
	held := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, namespace: apps, finalizers: [example.io/hold]}\n")
	request := Request{Objects: resources(configMap(t, "a", "1"), held)}
	b.mustDeploy(request)

	_, err := b.withdraw(web, WithdrawPolicies)
	var pending *PendingError
	if !errors.As(err, &pending) || !slices.Equal(pending.Objects, []string{"ConfigMap apps/held (finalizers example.io/hold)"}) {
		t.Fatalf("error %v", err)
	}
	if b.wire.get(configMapPath("a")) != nil {
		t.Error("one stuck object kept the other")
	}
	if diff := cmp.Diff([]string{"held"}, keys(b.record(web))); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}

	// Wanted again before it was gone: it is not taken for what was applied.
	if err := b.deploy(request).Features[Resources].Err; err == nil || !strings.Contains(err.Error(), "being deleted") {
		t.Errorf("deployed again: %v", err)
	}
	delete(b.wire.objects, configMapPath("held"))
	b.mustDeploy(request)
	if b.wire.get(configMapPath("held")) == nil {
		t.Error("not made anew")
	}
	delete(b.wire.objects, configMapPath("held"))
	b.mustWithdraw(web, WithdrawPolicies)
}

func TestWithdrawKeepsTheInventoryOfWhatItCouldNotDelete(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1"))})
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodDelete && strings.HasSuffix(req.Path, "/b") {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "b", errors.New("not yours"))
		}
		return nil
	}
	_, err := b.withdraw(web, WithdrawPolicies)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "ConfigMap apps/b from SveltosCluster civo/cluster1") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"b"}, keys(b.record(web))); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	b.wire.intercept = nil
	b.mustWithdraw(web, WithdrawPolicies)
}

// noAnswer is a cluster that does not answer.
type noAnswer struct{ requests int }

func (n *noAnswer) RoundTrip(*http.Request) (*http.Response, error) {
	n.requests++
	return nil, errors.New("connection refused")
}

func TestWithdrawFromAnUnreachableClusterForgetsNothing(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1"))})
	dead := &noAnswer{}
	reachable := b.cluster
	unreachable := newCluster(t, b.wire)
	unreachable.Config.Transport = dead
	unreachable.Dynamic = dynamic.NewForConfigOrDie(unreachable.Config)
	b.cluster = unreachable
	if _, err := b.withdraw(web, WithdrawPolicies); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
	if dead.requests != 1 {
		t.Errorf("%d requests to a cluster that does not answer", dead.requests)
	}
	if len(keys(b.record(web))) != 2 {
		t.Errorf("inventory %v", keys(b.record(web)))
	}
	b.cluster = reachable
	b.mustWithdraw(web, WithdrawPolicies)
}

func TestWithdrawFromAnotherClusterWithdrawsNothing(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	b.cluster.ID = "cluster-2"
	b.wire.take()
	result, err := b.withdraw(web, WithdrawPolicies)
	if err != nil || !result.Voided || b.record(web) != nil {
		t.Errorf("result %+v, %v", result, err)
	}
	if requests := b.wire.take(); len(requests) > 0 {
		t.Errorf("requests: %v", requests)
	}
}

func TestWithdrawWhoseKindIsGone(t *testing.T) {
	widget := "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: w, namespace: apps}\n"
	tests := map[string]struct {
		served []*metav1.APIResourceList
		want   bool // that the withdrawal ends
	}{
		"with its group":     {nil, true},
		"from its group":     {[]*metav1.APIResourceList{{GroupVersion: "example.io/v1", APIResources: []metav1.APIResource{{Kind: "Gadget"}}}}, true},
		"but for the mapper": {[]*metav1.APIResourceList{{GroupVersion: "example.io/v2", APIResources: []metav1.APIResource{{Kind: "Widget"}}}}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustDeploy(Request{Objects: resources(object(t, widgetCRD), object(t, widget))})
			b.cluster = newCluster(t, b.wire, append(tc.served, &metav1.APIResourceList{GroupVersion: "v1"})...)
			_, err := b.withdraw(web, WithdrawPolicies)
			if (err == nil) != tc.want {
				t.Errorf("error %v", err)
			}
			if (b.record(web) == nil) != tc.want {
				t.Errorf("inventory %v", keys(b.record(web)))
			}
		})
	}
}

func TestWithdrawTwiceIsNoError(t *testing.T) {
	b := newBench(t)
	b.mustWithdraw(web, WithdrawPolicies)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	b.mustWithdraw(web, WithdrawPolicies)
	b.mustWithdraw(web, WithdrawPolicies)
}

func TestWithdrawOfAReleaseGoesOnWhereItFailed(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Charts: ChartList{Charts: []Chart{chart("one", "1"), chart("two", "1")}}})
	b.charts.take()
	b.charts.fail["uninstall one"] = errors.New("a hook failed")
	if _, err := b.withdraw(web, WithdrawPolicies); err == nil || !strings.Contains(err.Error(), "release apps/one from SveltosCluster civo/cluster1") {
		t.Errorf("error %v", err)
	}
	b.restart()
	delete(b.charts.fail, "uninstall one")
	b.mustWithdraw(web, WithdrawPolicies)
	if diff := cmp.Diff([]string{"uninstall two", "uninstall one", "uninstall one"}, b.charts.take()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestForgetTouchesNothing(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	b.wire.take()
	if err := b.deployer.Forget(context.Background(), b.cluster.Ref, web.Key()); err != nil {
		t.Fatal(err)
	}
	if b.record(web) != nil || len(b.wire.take()) > 0 {
		t.Error("the cluster was touched, or the inventory kept")
	}
}

func TestPrunePendingIsReportedAndRetried(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, namespace: apps, finalizers: [example.io/hold]}\n"))})
	result := b.deploy(Request{Objects: resources(configMap(t, "a", "1"))})
	var pending *PendingError
	if !errors.As(result.Err, &pending) || result.Features[Resources].Err != nil {
		t.Errorf("result %v, %v", result.Features, result.Err)
	}
	delete(b.wire.objects, configMapPath("held"))
	if result := b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))}); len(result.Record.Objects) != 1 {
		t.Errorf("inventory %v", keys(result.Record))
	}
}

func TestPassesOfOneOwnerTakeTurns(t *testing.T) {
	b := newBench(t)
	reached, goOn := make(chan struct{}), make(chan struct{})
	b.charts.hook = func(string) {
		b.charts.hook = nil
		close(reached)
		<-goOn
	}
	deployed := make(chan Result)
	go func() {
		deployed <- b.deployer.Deploy(context.Background(), b.cluster, Request{Owner: web, Charts: ChartList{Charts: []Chart{chart("one", "1")}}})
	}()
	<-reached
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := b.deployer.Withdraw(ctx, b.cluster, web.Key(), WithdrawPolicies); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second call did not wait: %v", err)
	}
	close(goOn)
	if result := <-deployed; !result.OK() {
		t.Errorf("%v", result.Features)
	}
	b.mustWithdraw(web, WithdrawPolicies)
	if len(b.deployer.ledgers.clusters) > 0 {
		t.Error("the ledger of a cluster with no pass under way was kept")
	}
}
