// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/storage/records/recordstest"
)

// remembering is a reconciler with a history of three entries, and a profile.
type remembering struct {
	*Reconciler
	*testing.T
	stored  client.WithWatch
	records *recordstest.Memory
}

// authored is a store that knows who wrote what, which the fake one does not tell.
type authored struct{ client.Reader }

func (a authored) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	at := metav1.NewTime(time.Now())
	wrote := func(manager, subresource, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, Time: &at, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	err := a.Reader.Get(ctx, key, into, options...)
	into.SetManagedFields([]metav1.ManagedFieldsEntry{
		wrote("alice", "", `{"f:spec":{}}`), wrote("muster", "status", `{"f:spec":{}}`), wrote("muster", "", `{"f:metadata":{}}`),
	})
	return err
}

func newRemembering(t *testing.T) *remembering {
	r, stored := newReconciler(t, fleetOf{"cluster1"}, everywhere("web"))
	r.Live = authored{stored}
	out := &remembering{Reconciler: r, T: t, stored: stored, records: recordstest.New()}
	out.Revisions, out.History = revision.NewStore(out.records), history.NewStore(out.records, 3)
	return out
}

var webKey = Key{Kind: configv1beta1.KindClusterProfile, Name: "web"}

// change edits the profile and reconciles it.
func (r *remembering) change(edit func(*configv1beta1.ClusterProfile)) *configv1beta1.ClusterProfile {
	r.Helper()
	p := &configv1beta1.ClusterProfile{}
	if err := r.stored.Get(r.Context(), client.ObjectKey{Name: "web"}, p); err != nil {
		r.Fatal(err)
	}
	edit(p)
	if err := r.stored.Update(r.Context(), p); err != nil {
		r.Fatal(err)
	}
	for range 2 {
		if _, err := r.Reconcile(r.Context(), webKey); err != nil {
			r.Fatal(err)
		}
	}
	if err := r.stored.Get(r.Context(), client.ObjectKey{Name: "web"}, p); err != nil {
		r.Fatal(err)
	}
	return p
}

// deployed reports a deployment of what the summary asks for, from a ConfigMap that
// holds a value.
func (r *remembering) deployed(value string) {
	r.Helper()
	rev := r.revision()
	spec, err := revision.Name(webKey, rev.Spec)
	if err != nil {
		r.Fatal(err)
	}
	source := history.Observed{Key: history.Key{Kind: "ConfigMap", Namespace: "apps", Name: "a"}, Content: history.Content{Data: map[string][]byte{"x": []byte(value)}}}
	err = r.History.Deployed(r.Context(), webKey, clusterref.Of("civo", "cluster1"), history.Report{
		Revision: rev.Name, Spec: spec, State: history.StateDeployed, Sources: []history.Observed{source},
	})
	if err != nil {
		r.Fatal(err)
	}
}

// revision is what the summary has.
func (r *remembering) revision() revision.Revision {
	r.Helper()
	summary := &configv1beta1.ClusterSummary{}
	if err := r.stored.Get(r.Context(), client.ObjectKey{Namespace: "civo", Name: summaryName(webKey, "cluster1")}, summary); err != nil {
		r.Fatal(err)
	}
	rev, err := r.Revisions.Get(r.Context(), summary.Spec.ProfileRevision)
	if err != nil {
		r.Fatal(err)
	}
	return rev
}

func (r *remembering) entries() string {
	r.Helper()
	p, err := r.History.Profile(r.Context(), webKey)
	if err != nil {
		r.Fatal(err)
	}
	var out []string
	for _, e := range p.Entries {
		out = append(out, fmt.Sprintf("%d %s %q of %d", e.Number, e.Cause, e.Author, e.ContentsOf))
	}
	return strings.Join(out, "\n")
}

func tier(n int32) func(*configv1beta1.ClusterProfile) {
	return func(p *configv1beta1.ClusterProfile) { p.Spec.Tier = n }
}

func contentsOf(n string, edit func(*configv1beta1.ClusterProfile)) func(*configv1beta1.ClusterProfile) {
	return func(p *configv1beta1.ClusterProfile) {
		edit(p)
		p.Annotations = map[string]string{configv1beta1.AnnotationContentsOf: n}
	}
}

func TestARollbackPinsContentsUntilTheSpecChanges(t *testing.T) {
	r := newRemembering(t)
	r.change(tier(1))
	r.deployed("former")
	r.change(tier(2))
	r.deployed("present")

	p := r.change(contentsOf("1", tier(1)))
	rev := r.revision()
	if rev.Pinned == nil || rev.Pinned.Of != 1 || rev.Spec.Tier != 1 || p.Annotations[configv1beta1.AnnotationContentsOf] != "1" {
		t.Fatalf("the revision is %+v, the annotations %v", rev, p.Annotations)
	}
	pin, found := rev.Pinned.Pin("ConfigMap", "apps", "a")
	content, err := r.History.Content(t.Context(), pin.Digest)
	if !found || err != nil || string(content.Data["x"]) != "former" {
		t.Errorf("pinned is %+v, %v", content, err)
	}
	if got, want := r.entries(), "1 Spec \"alice\" of 0\n2 Spec \"alice\" of 0\n3 Rollback \"alice\" of 1"; got != want {
		t.Errorf("the history is\n%s\nwant\n%s", got, want)
	}
	// Another spec ends it, whoever leaves the annotation.
	p = r.change(tier(3))
	if rev := r.revision(); rev.Pinned != nil || rev.Spec.Tier != 3 || len(p.Annotations) != 0 {
		t.Errorf("the revision is %+v, the annotations %v", rev, p.Annotations)
	}
	if got, want := r.entries(), "2 Spec \"alice\" of 0\n3 Rollback \"alice\" of 1\n4 Spec \"alice\" of 0"; got != want {
		t.Errorf("the history is\n%s\nwant\n%s", got, want)
	}
}

// A cluster that is behind adds a source to the revision that is gone back to.
func TestARollbackStaysWhatItBeganWith(t *testing.T) {
	r := newRemembering(t)
	r.change(tier(1))
	r.deployed("former")
	plain := r.revision()
	r.change(tier(2))
	r.change(contentsOf("1", tier(1)))
	before := r.revision().Name
	late := history.Observed{Key: history.Key{Kind: "ConfigMap", Namespace: "apps", Name: "late"}}
	report := history.Report{Revision: plain.Name, State: history.StateDeployed, Sources: []history.Observed{late}}
	if err := r.History.Deployed(t.Context(), webKey, clusterref.Of("civo", "cluster2"), report); err != nil {
		t.Fatal(err)
	}
	if r.change(func(*configv1beta1.ClusterProfile) {}); r.revision().Name != before {
		t.Errorf("the revision is %s, and was %s", r.revision().Name, before)
	}
}

func TestARollbackEndsWithItsAnnotation(t *testing.T) {
	r := newRemembering(t)
	r.change(tier(1))
	r.deployed("former")
	r.change(contentsOf("1", tier(1)))
	if r.revision().Pinned == nil {
		t.Fatal("nothing is pinned")
	}
	r.change(func(p *configv1beta1.ClusterProfile) { p.Annotations = nil })
	if rev := r.revision(); rev.Pinned != nil {
		t.Errorf("the revision is %+v", rev)
	}
}

// An annotation that is about no revision is taken away, and what is deployed stays.
func TestARollbackToNothing(t *testing.T) {
	r := newRemembering(t)
	r.change(tier(1))
	before := r.revision().Name
	for _, value := range []string{"17", "x"} {
		if p := r.change(contentsOf(value, tier(1))); len(p.Annotations) != 0 || r.revision().Name != before {
			t.Errorf("%q leaves annotations %v and revision %s", value, p.Annotations, r.revision().Name)
		}
	}
}

// The specs of all entries stay readable, those of others go, and with the profile all
// of it goes.
func TestRevisionsStayWithTheirEntries(t *testing.T) {
	r := newRemembering(t)
	for n := range int32(6) {
		r.change(tier(n + 1))
	}
	p, err := r.History.Profile(t.Context(), webKey)
	if err != nil || len(p.Entries) != 3 {
		t.Fatalf("%d entries, %v", len(p.Entries), err)
	}
	for _, e := range p.Entries {
		if _, err := r.Revisions.Get(t.Context(), e.Revision); err != nil {
			t.Errorf("entry %d: %v", e.Number, err)
		}
	}
	stored, err := r.Revisions.History(t.Context(), webKey)
	if err != nil || len(stored) != 3 {
		t.Errorf("%d revisions are stored, %v", len(stored), err)
	}
	r.forgetsAll()
}

func (r *remembering) forgetsAll() {
	r.Helper()
	p := &configv1beta1.ClusterProfile{}
	if err := r.stored.Get(r.Context(), client.ObjectKey{Name: "web"}, p); err != nil {
		r.Fatal(err)
	}
	if err := r.stored.Delete(r.Context(), p); err != nil {
		r.Fatal(err)
	}
	for range 2 {
		if _, err := r.Reconcile(r.Context(), webKey); err != nil {
			r.Fatal(err)
		}
		if err := r.stored.DeleteAllOf(r.Context(), &configv1beta1.ClusterSummary{}, client.InNamespace("civo")); err != nil {
			r.Fatal(err)
		}
	}
	for key := range r.records.All() {
		r.Errorf("%s is left", key)
	}
	owners, err := r.History.Owners(r.Context())
	if err != nil || slices.Contains(owners, webKey) {
		r.Errorf("histories of %v are left, %v", owners, err)
	}
}
