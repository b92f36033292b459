// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/deploy/release"
)

func (b *bench) preview(request Request) Preview {
	b.t.Helper()
	if request.Owner.Name == "" {
		request.Owner = owner("web", 100)
	}
	preview, err := b.deployer.Preview(context.Background(), b.cluster, request)
	if err != nil {
		b.t.Fatal(err)
	}
	return preview
}

// actions are what would become of objects and releases.
func actions(p Preview) []string {
	var out []string
	for _, o := range p.Objects {
		out = append(out, string(o.Action)+" "+o.Name)
	}
	for _, r := range p.Releases {
		out = append(out, string(r.Action)+" "+r.ReleaseKey.String())
	}
	return out
}

func wantActions(t *testing.T, p Preview, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, actions(p)); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}

// message is that of an object.
func message(t *testing.T, p Preview, name string) string {
	t.Helper()
	for _, o := range p.Objects {
		if o.Name == name {
			return o.Message
		}
	}
	t.Fatalf("%s is not in the preview", name)
	return ""
}

func secretObject(t *testing.T, name, value string) Object {
	return object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+", namespace: apps}\nstringData: {password: "+value+"}\n")
}

func TestPreviewSaysWhatWouldChangeAndWritesNothing(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "same", "1"), configMap(t, "changed", "1"), configMap(t, "stale", "1"), secretObject(t, "s", "hunter22"))})
	writes, before := b.shelf.writes, b.wire.paths()
	b.wire.take()

	preview := b.preview(Request{Objects: resources(configMap(t, "same", "1"), configMap(t, "changed", "2"), configMap(t, "new", "1"), secretObject(t, "s", "correct-horse"))})
	wantActions(t, preview, "No Action same", "Update changed", "Create new", "Update s", "Delete stale")
	if !preview.Changes() {
		t.Error("it says that nothing changes")
	}
	for _, want := range []string{"-  value: \"1\"", "+  value: \"2\"", "ConfigMap apps/changed (live)"} {
		if got := message(t, preview, "changed"); !strings.Contains(got, want) {
			t.Errorf("the difference has no %q:\n%s", want, got)
		}
	}
	secret := message(t, preview, "s")
	if strings.Contains(secret, "hunter22") || strings.Contains(secret, "correct-horse") || !strings.Contains(secret, "*** (after)") {
		t.Errorf("the difference of a Secret is:\n%s", secret)
	}
	for _, r := range b.wire.take() {
		if r.Method != http.MethodGet && !strings.Contains(r.Query, "dryRun=All") {
			t.Errorf("it wrote: %s?%s", r, r.Query)
		}
	}
	if b.shelf.writes != writes || !slices.Equal(b.wire.paths(), before) {
		t.Errorf("%d writes of the inventory, objects %v", b.shelf.writes-writes, b.wire.paths())
	}
	// What it says is what happens.
	b.mustDeploy(Request{Objects: resources(configMap(t, "same", "1"), configMap(t, "changed", "2"), configMap(t, "new", "1"), secretObject(t, "s", "correct-horse"))})
	after := b.preview(Request{Objects: resources(configMap(t, "same", "1"), configMap(t, "changed", "2"), configMap(t, "new", "1"), secretObject(t, "s", "correct-horse"))})
	if after.Changes() {
		t.Errorf("after a pass it says %v", actions(after))
	}
}

func TestPreviewShowsDrift(t *testing.T) {
	b := newBench(t)
	request := Request{Objects: resources(configMap(t, "a", "1"))}
	b.mustDeploy(request)
	changed := b.wire.get(configMapPath("a")).DeepCopy()
	_ = unstructured.SetNestedField(changed.Object, "edited", "data", "value")
	b.wire.put(configMapPath("a"), changed)
	wantActions(t, b.preview(request), "Update a")
	// Fields that others may change are not looked at.
	request.Excluded = func(*unstructured.Unstructured) []string { return []string{"/data/value"} }
	wantActions(t, b.preview(request), "No Action a")
}

func TestPreviewSaysWhatWouldBeRefused(t *testing.T) {
	denied := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "a", nil)
	denied.ErrStatus.Message = `admission webhook "policy.example" denied the request: no`
	unsupported := apierrors.NewBadRequest(`admission webhook "old.example" does not support dry run`)
	tests := map[string]struct {
		err     *apierrors.StatusError
		deploy  bool
		want    string
		message string
	}{
		"a denial":                          {denied, false, "Error a", `admission webhook "policy.example" denied the request`},
		"a webhook that refuses dry runs":   {unsupported, false, "Create a", `"old.example" does not support dry run: what it would change or deny is not known`},
		"a webhook, and nothing is changed": {unsupported, true, "No Action a", "old.example"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			request := Request{Objects: resources(configMap(t, "a", "1"))}
			if tc.deploy {
				b.mustDeploy(request)
			} else {
				b.wire.put("/api/v1/namespaces/apps", parse(t, "{apiVersion: v1, kind: Namespace, metadata: {name: apps}}"))
			}
			b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
				if req.Method == http.MethodPatch {
					return tc.err
				}
				return nil
			}
			preview := b.preview(request)
			wantActions(t, preview, tc.want)
			if got := message(t, preview, "a"); !strings.Contains(got, tc.message) {
				t.Errorf("message %q, want %q", got, tc.message)
			}
		})
	}
}

func TestPreviewOfWhatIsMadeFirst(t *testing.T) {
	b := newBench(t)
	elsewhere := func() Object {
		return object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: elsewhere}}")
	}
	preview := b.preview(Request{Objects: resources(elsewhere())})
	wantActions(t, preview, "Create a")
	if got := message(t, preview, "a"); !strings.Contains(got, "namespace elsewhere is made first") {
		t.Errorf("message %q", got)
	}
	missing := elsewhere()
	missing.SkipNamespaceCreation = true
	wantActions(t, b.preview(Request{Objects: resources(missing)}), "Error a")
}

func TestPreviewNamesConflicts(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Owner: owner("first", 100), Objects: resources(configMap(t, "a", "1"))})
	preview := b.preview(Request{ContinueOnConflict: true, Objects: resources(configMap(t, "a", "2"), configMap(t, "b", "1"))})
	wantActions(t, preview, "Conflict a", "Create b")
	if got := message(t, preview, "a"); !strings.Contains(got, "ClusterProfile first") {
		t.Errorf("message %q", got)
	}
	// A lower tier would take it over.
	wantActions(t, b.preview(Request{Owner: owner("web", 1), Objects: resources(configMap(t, "a", "2"))}), "Update a")
	if got := keys(b.record(owner("first", 100))); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the owner has %v after a preview", got)
	}
}

func TestPreviewRemovesNothingWhileASourceIsBroken(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1"))})
	list := resources(configMap(t, "a", "1"))
	list[0].Err = errTest("policyRefs[1]: is not there")
	preview := b.preview(Request{Objects: list})
	wantActions(t, preview, "No Action a", "No Action b")
	if !strings.Contains(preview.Failure, "policyRefs[1]: is not there") || !preview.Changes() {
		t.Errorf("failure %q", preview.Failure)
	}
}

type errTest string

func (e errTest) Error() string { return string(e) }

func TestPreviewWithdrawal(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"), configMap(t, "gone", "1"))})
	b.wire.mu.Lock()
	delete(b.wire.objects, configMapPath("gone"))
	b.wire.mu.Unlock()
	for behavior, want := range map[Behavior][]string{
		WithdrawPolicies: {"No Action gone", "Delete a"},
		LeavePolicies:    {"No Action gone", "No Action a"},
	} {
		preview, err := b.deployer.PreviewWithdrawal(context.Background(), b.cluster, owner("web", 100), behavior)
		if err != nil {
			t.Fatal(err)
		}
		wantActions(t, preview, want...)
	}
}

// helmPreviews are releases that are there, and what would become of them.
type helmPreviews struct {
	preview  release.Preview
	manifest []*unstructured.Unstructured
	states   []release.ObjectState
	err      error
	repairs  []release.Repair
}

func (h *helmPreviews) Repair(_ context.Context, _ release.Cluster, repair release.Repair) ([]release.ObjectState, error) {
	h.repairs = append(h.repairs, repair)
	return h.states, h.err
}

func (h *helmPreviews) Preview(context.Context, release.Cluster, release.Release) (release.Preview, error) {
	return h.preview, h.err
}

func (h *helmPreviews) Manifest(context.Context, release.Cluster, string, string) ([]*unstructured.Unstructured, error) {
	return h.manifest, h.err
}

func TestPreviewOfReleases(t *testing.T) {
	was, is := configMap(t, "a", "1").Content, configMap(t, "a", "hunter22").Content
	tests := map[string]struct {
		releases helmPreviews
		chart    Chart
		want     []string
	}{
		"unchanged": {helmPreviews{preview: release.Preview{Action: release.Unchanged}}, chart("nginx", "1"), []string{"No Action release apps/nginx"}},
		"new": {
			helmPreviews{preview: release.Preview{Action: release.Installed, After: []*unstructured.Unstructured{is}}},
			chart("nginx", "1"), []string{"Create a", "Install release apps/nginx"},
		},
		"another version": {
			helmPreviews{preview: release.Preview{Action: release.Upgraded, Before: []*unstructured.Unstructured{was, configMap(t, "old", "1").Content}, After: []*unstructured.Unstructured{is}}},
			chart("nginx", "2"), []string{"Update a", "Delete old", "Upgrade release apps/nginx"},
		},
		"other values": {
			helmPreviews{preview: release.Preview{Action: release.Upgraded, ValuesOnly: true, Before: []*unstructured.Unstructured{was}, After: []*unstructured.Unstructured{was}}},
			chart("nginx", "1"), []string{"No Action a", "Update Values release apps/nginx"},
		},
		"a chart that does not render": {helmPreviews{err: errTest("hunter22 is no color")}, chart("nginx", "1"), []string{"Error release apps/nginx"}},
		"to be uninstalled": {
			helmPreviews{manifest: []*unstructured.Unstructured{was}},
			Chart{Ref: release.ChartRef{ChartName: "nginx"}, Namespace: "apps", Name: "nginx", Uninstall: true},
			[]string{"Delete a", "Delete release apps/nginx"},
		},
		"uninstalled": {
			helmPreviews{err: release.ErrNotDeployed},
			Chart{Ref: release.ChartRef{ChartName: "nginx"}, Namespace: "apps", Name: "nginx", Uninstall: true},
			[]string{"No Action release apps/nginx"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.deployer.options.Releases = &tc.releases
			tc.chart.Sensitive = []string{"hunter22"}
			preview := b.preview(Request{Charts: ChartList{Charts: []Chart{tc.chart}}})
			wantActions(t, preview, tc.want...)
			for _, o := range preview.Objects {
				if strings.Contains(o.Message, "hunter22") {
					t.Errorf("a sensitive value is in %q", o.Message)
				}
			}
			for _, r := range preview.Releases {
				if strings.Contains(r.Message, "hunter22") {
					t.Errorf("a sensitive value is in %q", r.Message)
				}
			}
		})
	}
}

func TestPreviewOfAReleaseThatNothingNames(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
	b.deployer.options.Releases = &helmPreviews{manifest: []*unstructured.Unstructured{configMap(t, "a", "1").Content}}
	wantActions(t, b.preview(Request{}), "Delete a", "Delete release apps/nginx")
}

func TestWarningsAreHeardOnceAndWithoutSecrets(t *testing.T) {
	v := &previewer{pass: &pass{}}
	v.plan.objects = []objectStep{{wantedObject: wantedObject{content: secretObject(t, "s", "hunter22").Content}}}
	for range 2 {
		warnings{v}.HandleWarningHeaderWithContext(t.Context(), 299, "", "password hunter22 is weak")
	}
	warnings{v}.HandleWarningHeaderWithContext(t.Context(), 100, "", "not for people")
	if diff := cmp.Diff([]string{"password *** is weak"}, v.heard()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// Comparing takes the square of the lines where every second one has changed.
func TestDiffsOfLargeObjects(t *testing.T) {
	state := func(changed string) map[string]any {
		data := map[string]any{}
		for i := range 50000 {
			data[fmt.Sprintf("a%06d", i)] = "same"
			data[fmt.Sprintf("a%06d-", i)] = changed + fmt.Sprint(i)
		}
		return map[string]any{"kind": "ConfigMap", "data": data}
	}
	began := time.Now()
	text, err := unifiedDiff("ConfigMap a", state("old"), state("new"), false)
	if err != nil || len(text) > maxDiff+500 || !strings.Contains(text, "-  a000000-: old0\n+  a000000-: new0\n") || !strings.Contains(text, "in line 3, are compared") {
		t.Errorf("%d bytes in %s, %v:\n%.300s", len(text), time.Since(began), err, text)
	}
	same, err := unifiedDiff("ConfigMap a", state("old"), state("old"), false)
	if err != nil || same != "" {
		t.Errorf("the same: %v, %.300s", err, same)
	}
}
