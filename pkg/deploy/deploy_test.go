// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func (b *bench) deploy(request Request) Result {
	b.t.Helper()
	if request.Owner.Name == "" {
		request.Owner = owner("web", 100)
	}
	return b.deployer.Deploy(context.Background(), b.cluster, request)
}

// mustDeploy fails the test unless all went well.
func (b *bench) mustDeploy(request Request) Result {
	b.t.Helper()
	result := b.deploy(request)
	if !result.OK() {
		b.t.Fatalf("Deploy: %v, %v", result.Features, result.Err)
	}
	return result
}

func keys(r *inventory.Record) []string {
	var out []string
	if r == nil {
		return nil
	}
	for _, o := range r.Objects {
		out = append(out, o.Name)
	}
	for _, o := range r.Releases {
		out = append(out, o.ReleaseKey.String())
	}
	return out
}

func TestDeployMarksWhatItApplies(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Summary: "web-sveltos-cluster1", Revision: "web-1", Objects: resources(configMap(t, "a", "1"))})

	live := b.wire.get(configMapPath("a"))
	wantAnnotations := map[string]string{
		HashAnnotation:               live.GetAnnotations()[HashAnnotation],
		OwnerKindAnnotation:          "ClusterProfile",
		OwnerNameAnnotation:          "web",
		OwnerTierAnnotation:          "100",
		ReferenceKindAnnotation:      "ConfigMap",
		ReferenceNamespaceAnnotation: "civo",
		ReferenceNameAnnotation:      "manifests",
		ReferenceTierAnnotation:      "100",
	}
	if diff := cmp.Diff(wantAnnotations, live.GetAnnotations()); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{ReasonLabel: "Resources"}, live.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}

	record := b.record(owner("web", 100))
	entry := record.Objects[0]
	if entry.UID != live.GetUID() || entry.ContentHash == "" || entry.LastAppliedTime.IsZero() || entry.TakenFrom != nil {
		t.Errorf("inventory entry %+v does not say what was applied", entry)
	}
	if record.Summary != "web-sveltos-cluster1" || record.Revision != "web-1" || record.ClusterUID != "registration-1" || record.ClusterID != "cluster-1" {
		t.Errorf("record %+v is not bound to its cluster, summary and revision", record)
	}
}

func TestDeployAppliesWithForceUnderItsOwnManager(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	requests := b.wire.take()
	last := requests[len(requests)-1]
	if last.Method != http.MethodPatch || last.Query != "fieldManager=muster&force=true" {
		t.Errorf("applied with %s?%s", last, last.Query)
	}
}

func TestDeployUnchangedAsksAndWritesNothing(t *testing.T) {
	b := newBench(t)
	request := Request{
		Revision: "web-1",
		Objects:  resources(configMap(t, "a", "1"), object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nowhere}\n")),
		Charts:   ChartList{Charts: []Chart{chart("nginx", "1.0.0")}},
	}
	b.mustDeploy(request)
	b.wire.take()
	b.charts.take()
	writes := b.shelf.writes

	b.restart()
	b.cluster.Mapper = nil // nor may it ask what a ConfigMap is
	b.mustDeploy(request)
	if got := b.wire.take(); len(got) > 0 {
		t.Errorf("requests for an unchanged profile: %v", got)
	}
	if got := b.charts.take(); len(got) > 0 {
		t.Errorf("charts touched for an unchanged profile: %v", got)
	}
	if b.shelf.writes != writes {
		t.Errorf("%d writes of the inventory for an unchanged profile", b.shelf.writes-writes)
	}
}

func TestDeployAppliesWhatChanged(t *testing.T) {
	base := func(t *testing.T) []Object { return []Object{configMap(t, "a", "1"), configMap(t, "b", "1")} }
	tests := map[string]struct {
		change func(*Request)
		want   []string
	}{
		"content":   {func(r *Request) { r.Objects[0].Objects[1].Content.Object["data"] = map[string]any{"value": "2"} }, []string{"b"}},
		"order":     {func(r *Request) { slices.Reverse(r.Objects[0].Objects) }, []string{"b", "a"}},
		"tier":      {func(r *Request) { r.Owner.Tier = 7 }, []string{"a", "b"}},
		"source":    {func(r *Request) { r.Objects[0].Objects[0].Source.Name = "other" }, []string{"a"}},
		"list":      {func(r *Request) { r.Objects[0].Feature = Kustomize }, []string{"a", "b"}},
		"asked for": {func(r *Request) { r.Reapply = true }, []string{"a", "b"}},
		"restored":  {func(r *Request) { r.Era = 1 }, []string{"a", "b"}},
		"one more":  {func(r *Request) { r.Objects = resources(append(r.Objects[0].Objects, configMap(t, "c", "1"))...) }, []string{"c"}},
		"one between": {func(r *Request) {
			r.Objects[0].Objects = slices.Insert(r.Objects[0].Objects, 1, configMap(t, "c", "1"))
		}, []string{"c"}},
		"nothing": {func(r *Request) {}, nil},
		"server fields": {func(r *Request) {
			metadata := r.Objects[0].Objects[0].Content.Object["metadata"].(map[string]any)
			metadata["resourceVersion"], metadata["uid"], metadata["creationTimestamp"] = "17", "x", nil
		}, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustDeploy(Request{Owner: owner("web", 100), Objects: resources(base(t)...)})
			b.wire.take()
			request := Request{Owner: owner("web", 100), Objects: resources(base(t)...)}
			tc.change(&request)
			b.mustDeploy(request)
			var want []string
			for _, name := range tc.want {
				want = append(want, "PATCH "+configMapPath(name))
			}
			if diff := cmp.Diff(want, b.wire.writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDeployAfterARestore: what was withdrawn after the backup is missing, and the inventory has it.
// A pass that does not come to its end leaves all of it in doubt, and one that does settles it.
func TestDeployAfterARestore(t *testing.T) {
	b := newBench(t)
	request := Request{Owner: owner("web", 100), Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1"))}
	b.mustDeploy(request)
	request.Era = 1
	broken := request
	broken.Objects = []ObjectList{{Feature: Resources, Objects: request.Objects[0].Objects[:1], Err: errors.New("a source is missing")}}
	if result := b.deploy(broken); result.OK() {
		t.Error("a pass without a source went well")
	}
	b.wire.take()
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a"), "PATCH " + configMapPath("b")}, b.wire.writes()); diff != "" {
		t.Errorf("after a restore, writes (-want +got):\n%s", diff)
	}
	b.wire.take()
	b.mustDeploy(request)
	if got := b.wire.writes(); len(got) > 0 {
		t.Errorf("another pass in the same era wrote %v", got)
	}
}

func TestDeployRecordsBeforeItApplies(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	var atApply []inventory.Object
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch && atApply == nil {
			atApply = b.record(owner("web", 100)).Objects
		}
		return nil
	}
	b.mustDeploy(Request{Objects: resources(configMap(t, "b", "1"), configMap(t, "a", "2"))})
	if got := keys(&inventory.Record{Objects: atApply}); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("the inventory named %v as the first object was applied", got)
	}
	for _, o := range atApply {
		if o.ContentHash != "" {
			t.Errorf("%s was not in doubt while it was about to be applied", o.ObjectKey)
		}
	}
}

func TestDeployDoesNotApplyWhatItCouldNotRecord(t *testing.T) {
	b := newBench(t)
	full := errors.New("etcd: no space")
	b.shelf.fail = func(int, string) error { return full }
	if result := b.deploy(Request{Objects: resources(configMap(t, "a", "1"))}); !errors.Is(result.Err, full) {
		t.Errorf("Err = %v", result.Err)
	}
	if writes := b.wire.writes(); len(writes) > 0 {
		t.Errorf("wrote %v", writes)
	}
}

func TestDeployStopsAtTheFirstFailureAndPrunesNothing(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1"), configMap(t, "b", "1"))})
	b.wire.take()
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch && strings.HasSuffix(req.Path, "/b") {
			return apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "b", nil)
		}
		return nil
	}
	request := Request{Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "2"), configMap(t, "c", "1"))}
	result := b.deploy(request)
	err := result.Features[Resources].Err
	if !apierrors.IsInvalid(err) {
		t.Errorf("error %v is not the server's", err)
	}
	for _, part := range []string{"ConfigMap apps/b", "SveltosCluster civo/cluster1"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not name %s", err, part)
		}
	}
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a"), "PATCH " + configMapPath("b")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	// b was refused, so that it is what it was; c was never tried.
	if diff := cmp.Diff([]string{"a", "b", "old"}, keys(result.Record)); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	if result.Record.Object(inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "b"}).ContentHash == "" {
		t.Error("a refused apply left its object in doubt")
	}

	request.ContinueOnError = true
	b.deploy(request)
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("b"), "PATCH " + configMapPath("c")}, b.wire.writes()); diff != "" {
		t.Errorf("writes with ContinueOnError (-want +got):\n%s", diff)
	}

	b.wire.intercept = nil
	if result := b.mustDeploy(request); result.Pruned != 1 {
		t.Errorf("pruned %d", result.Pruned)
	}
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("b"), "DELETE " + configMapPath("old")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestDeployKeepsInDoubtWhatMayHaveBeenWritten(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch {
			return apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
		}
		return nil
	}
	b.deploy(Request{Objects: resources(configMap(t, "a", "2"))})
	b.wire.intercept = nil
	b.wire.take()
	// The old content is wanted again, but the new one may be what is there.
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestDeployPrunesOnlyWhenEveryListIsComplete(t *testing.T) {
	broken := errors.New("ConfigMap civo/gone does not exist")
	tests := map[string]struct {
		request Request
		fail    map[string]error
		want    Feature
	}{
		"a source is missing":    {Request{Objects: []ObjectList{{Feature: Resources, Err: broken}}}, nil, Resources},
		"another list's source":  {Request{Objects: []ObjectList{{Feature: Kustomize, Err: broken}}}, nil, Kustomize},
		"values can't be read":   {Request{Charts: ChartList{Err: broken}}, nil, Helm},
		"a chart can't be found": {Request{Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}}, map[string]error{"load nginx": broken}, Helm},
		"a chart fails":          {Request{Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}}, map[string]error{"deploy nginx": broken}, Helm},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1")), Charts: ChartList{Charts: []Chart{chart("redis", "1")}}})
			b.wire.take()
			b.charts.take()
			b.charts.fail = tc.fail
			result := b.deploy(tc.request)
			if !errors.Is(result.Features[tc.want].Err, broken) {
				t.Errorf("errors %v", result.Features)
			}
			if result.Pruned > 0 || len(b.wire.writes()) > 0 || slices.Contains(b.charts.take(), "uninstall redis") {
				t.Error("pruned although not everything was deployed")
			}
			if got := keys(result.Record); !slices.Contains(got, "old") || !slices.Contains(got, "release apps/redis") {
				t.Errorf("the inventory forgot what is there: %v", got)
			}
		})
	}
}

func TestDeployAppliesWhatStandsBeforeARenderError(t *testing.T) {
	b := newBench(t)
	broken := errors.New("second document: broken YAML")
	result := b.deploy(Request{Objects: []ObjectList{{Feature: Resources, Objects: []Object{configMap(t, "a", "1")}, Err: broken}}})
	if !errors.Is(result.Features[Resources].Err, broken) || result.Features[Resources].Applied != 1 {
		t.Errorf("result %+v", result.Features[Resources])
	}
}

func TestDeployLeavesNoRecordOfNothing(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{})
	if len(b.shelf.values) > 0 || b.shelf.writes > 0 {
		t.Errorf("wrote %d records for a profile that wants nothing", b.shelf.writes)
	}
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	b.mustDeploy(Request{})
	if len(b.shelf.values) > 0 {
		t.Error("the record of a profile that has nothing was kept")
	}
}

func TestDeployEndsWithItsContext(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch {
			cancel()
		}
		return nil
	}
	result := b.deployer.Deploy(ctx, b.cluster, Request{
		Owner: owner("web", 100), Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1")),
	})
	if !errors.Is(result.Features[Resources].Err, context.Canceled) {
		t.Errorf("error %v", result.Features[Resources].Err)
	}
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	// What happened is recorded all the same, and nothing else.
	record := b.record(owner("web", 100))
	if diff := cmp.Diff([]string{"a"}, keys(record)); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	if record.Objects[0].UID != types.UID(b.wire.get(configMapPath("a")).GetUID()) {
		t.Error("the object's UID was lost")
	}
}
