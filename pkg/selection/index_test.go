// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// loaded returns an index with one set, prod, and the clusters of named.
func loaded(t *testing.T, replicas int, clusters string) (*selection.Index, []fleet.Member) {
	t.Helper()
	members, returning := named(t, clusters)
	index := selection.NewIndex()
	index.PutSet(prod(replicas), selection.Stored{})
	for _, m := range members {
		index.PutMember(m)
		index.PutSummary(selection.Summary{
			NamespacedName: types.NamespacedName{Namespace: "fleet", Name: "summary-" + m.Name},
			Cluster:        m.Ref,
			Deleting:       returning[m.Ref],
			Causes:         []selection.SetKey{prod(1).Set},
		})
	}
	return index, members
}

func view(t *testing.T, index *selection.Index, query selection.Query) selection.View {
	t.Helper()
	v, err := index.Selection(prod(1).Set, query)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSelectionShowsAll(t *testing.T) {
	index, members := loaded(t, 2, "A B~ c D E~")
	index.PutMember(fleet.Member{Ref: cluster("fleet", "other")})
	index.PutSet(prod(2), selection.Stored{Selected: []fleet.Ref{members[2].Ref}, Count: 1})
	entry := func(i int, reason selection.Reason) selection.Entry {
		return selection.Entry{Ref: members[i].Ref, Reason: reason, Ready: members[i].Ready, Rank: i + 1}
	}
	a, b, c := entry(0, selection.Selected), entry(1, selection.Returning), entry(2, selection.NotReady)
	d, e := entry(3, selection.Selected), entry(4, selection.Returning)
	byAge := []selection.Entry{{Ref: a.Ref, Reason: selection.Selected, Ready: true}, {Ref: d.Ref, Reason: selection.Selected, Ready: true}}
	want := selection.View{
		Selected:    byAge,
		Counts:      selection.Counts{Selected: 2, NotReady: 1, Returning: 2, NotMatching: 1},
		Candidates:  []selection.Entry{a, b, c, d, e},
		MaxReplicas: 2,
	}
	if diff := cmp.Diff(want, view(t, index, selection.Query{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	other := selection.Entry{Ref: cluster("fleet", "other"), Reason: selection.NotMatching}
	got := view(t, index, selection.Query{Reason: selection.NotMatching}).Candidates
	if diff := cmp.Diff([]selection.Entry{other}, got); diff != "" {
		t.Errorf("not matching: -want +got:\n%s", diff)
	}
}

// The status agrees when it has the same clusters in the same order, and their
// number.
func TestPersisted(t *testing.T) {
	index, members := loaded(t, 2, "A B C")
	a, b, c := members[0].Ref, members[1].Ref, members[2].Ref
	for _, step := range []struct {
		name   string
		stored selection.Stored
		want   bool
	}{
		{"nothing stored", selection.Stored{}, false},
		{"one of two", selection.Stored{Selected: []fleet.Ref{a}, Count: 1}, false},
		{"both", selection.Stored{Selected: []fleet.Ref{a, b}, Count: 2}, true},
		{"a status without the count", selection.Stored{Selected: []fleet.Ref{a, b}}, false},
		{"both, the other way round", selection.Stored{Selected: []fleet.Ref{b, a}, Count: 2}, true},
		{"too many", selection.Stored{Selected: []fleet.Ref{a, b, c}, Count: 3}, false},
	} {
		index.PutSet(prod(2), step.stored)
		if got := view(t, index, selection.Query{}).Persisted; got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}

// The stored list belongs to the caller, who may go on with it.
func TestStoredIsCopied(t *testing.T) {
	index, members := loaded(t, 1, "A B")
	stored := []fleet.Ref{members[1].Ref}
	index.PutSet(prod(1), selection.Stored{Selected: stored, Count: 1})
	stored[0] = members[0].Ref
	if got := view(t, index, selection.Query{}).Selected[0].Ref; got != members[1].Ref {
		t.Errorf("selected %s, which was never stored", got)
	}
}

// Summaries count only when they are being deleted and are the set's alone.
func TestReturning(t *testing.T) {
	set := prod(1).Set
	other := selection.SetKey{Kind: selection.KindClusterSet, Name: "other"}
	profile := selection.SetKey{Kind: "Selector", Name: "profile"}
	for _, c := range []struct {
		name     string
		deleting bool
		causes   []selection.SetKey
		want     selection.Reason
	}{
		{"being withdrawn", true, []selection.SetKey{set}, selection.Returning},
		{"named twice as the cause", true, []selection.SetKey{set, set}, selection.Returning},
		{"not being deleted", false, []selection.SetKey{set}, selection.Selected},
		{"another set's", true, []selection.SetKey{other}, selection.Selected},
		{"also another set's", true, []selection.SetKey{set, other}, selection.Selected},
		{"also a profile's own", true, []selection.SetKey{profile, set}, selection.Selected},
		{"nobody's", true, nil, selection.Selected},
	} {
		t.Run(c.name, func(t *testing.T) {
			index, members := loaded(t, 1, "A")
			summary := selection.Summary{
				NamespacedName: types.NamespacedName{Namespace: "fleet", Name: "s"},
				Cluster:        members[0].Ref,
				Deleting:       c.deleting,
				Causes:         c.causes,
			}
			index.PutSummary(summary)
			if got := view(t, index, selection.Query{}).Candidates[0].Reason; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			index.DeleteSummary(summary.NamespacedName)
			if got := view(t, index, selection.Query{}).Candidates[0].Reason; got != selection.Selected {
				t.Errorf("%s after it was withdrawn", got)
			}
		})
	}
}

// Of several summaries on one cluster the last one counts, and it may be known
// before the cluster and the set are.
func TestReturningUntilTheLastSummaryIsGone(t *testing.T) {
	index := selection.NewIndex()
	ref := cluster("fleet", "c1")
	names := []types.NamespacedName{{Namespace: "fleet", Name: "one"}, {Namespace: "fleet", Name: "two"}}
	for _, name := range names {
		index.PutSummary(selection.Summary{NamespacedName: name, Cluster: ref, Deleting: true, Causes: []selection.SetKey{prod(1).Set}})
	}
	index.PutSet(prod(1), selection.Stored{})
	index.PutMember(fleet.Member{Ref: ref, Labels: map[string]string{"env": "prod"}, Ready: true})
	for i, want := range []selection.Reason{selection.Returning, selection.Returning, selection.Selected} {
		if got := view(t, index, selection.Query{}).Candidates[0].Reason; got != want {
			t.Errorf("with %d summaries left: %s, want %s", 2-i, got, want)
		}
		if i < len(names) {
			index.DeleteSummary(names[i])
		}
	}
}

func TestSelectionRefuses(t *testing.T) {
	index, _ := loaded(t, 1, "A B C")
	index.PutSet(selection.Spec{Set: setIn("fleet")}, selection.Stored{})
	token := view(t, index, selection.Query{Limit: 1}).Continue
	for _, c := range []struct {
		name      string
		key       selection.SetKey
		query     selection.Query
		parameter string
	}{
		{"negative limit", prod(1).Set, selection.Query{Limit: -1}, "limit"},
		{"unknown reason", prod(1).Set, selection.Query{Reason: "selected"}, "reason"},
		{"garbage", prod(1).Set, selection.Query{Continue: "garbage"}, "continue"},
		{"not base64", prod(1).Set, selection.Query{Continue: "%%%"}, "continue"},
		{"a token cut short", prod(1).Set, selection.Query{Continue: token[:len(token)-4]}, "continue"},
		{"a token of another set", setIn("fleet"), selection.Query{Continue: token}, "continue"},
		{"a token of another reason", prod(1).Set, selection.Query{Continue: token, Reason: selection.Standby}, "continue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := index.Selection(c.key, c.query)
			var refused *selection.QueryError
			if !errors.As(err, &refused) || refused.Parameter != c.parameter {
				t.Errorf("got %v, want a QueryError of %s", err, c.parameter)
			}
		})
	}
	unknown := selection.SetKey{Kind: selection.KindClusterSet, Name: "unknown"}
	if _, err := index.Selection(unknown, selection.Query{}); !errors.Is(err, selection.ErrUnknownSet) {
		t.Errorf("got %v, want ErrUnknownSet", err)
	}
	if _, err := index.Result(unknown); !errors.Is(err, selection.ErrUnknownSet) {
		t.Errorf("got %v, want ErrUnknownSet", err)
	}
}

func TestPageSizes(t *testing.T) {
	const clusters = selection.MaxLimit + 200
	index := selection.NewIndex()
	index.PutSet(prod(1), selection.Stored{})
	for _, ref := range ranked(prod(1).Set, clusters) {
		index.PutMember(fleet.Member{Ref: ref, Labels: map[string]string{"env": "prod"}})
	}
	for limit, want := range map[int]int{0: selection.DefaultLimit, 7: 7, clusters: selection.MaxLimit} {
		v := view(t, index, selection.Query{Limit: limit})
		if len(v.Candidates) != want || v.Continue == "" {
			t.Errorf("limit %d: %d candidates, want %d and a token", limit, len(v.Candidates), want)
		}
	}
}

// A page that ends exactly with the last candidate is the last page, and a
// token outlives the candidate that it names.
func TestPagingWhileCandidatesComeAndGo(t *testing.T) {
	index, members := loaded(t, 1, "A B C D")
	if v := view(t, index, selection.Query{Limit: 4}); v.Continue != "" {
		t.Errorf("a page of all %d has a token", len(v.Candidates))
	}
	first := view(t, index, selection.Query{Limit: 2})
	index.DeleteMember(members[1].Ref)
	index.DeleteMember(members[2].Ref)
	second := view(t, index, selection.Query{Limit: 2, Continue: first.Continue})
	if len(second.Candidates) != 1 || second.Candidates[0].Ref != members[3].Ref || second.Continue != "" {
		t.Errorf("second page %+v, want %s alone", second.Candidates, members[3].Ref)
	}
}

// A change is announced after it shows, once per set that it concerns, and
// not after the listener has stopped.
func TestOnChange(t *testing.T) {
	index, members := loaded(t, 1, "A B")
	var seen []string
	stop := index.OnChange(func(key selection.SetKey) {
		v, err := index.Selection(key, selection.Query{}) // no lock is held
		if err != nil {
			seen = append(seen, key.Name+" is gone")
			return
		}
		seen = append(seen, fmt.Sprintf("%s selects %d of %d", key.Name, len(v.Selected), v.Counts.NotMatching))
	})
	other := prod(2)
	other.Set.Name, other.Selector = "other", labels.SelectorFromSet(labels.Set{"env": "dev"})

	down := members[0]
	down.Ready = false
	index.PutMember(down)
	index.PutMember(down) // no change
	index.PutSet(other, selection.Stored{})
	index.PutMember(fleet.Member{Ref: cluster("fleet", "dev"), Labels: map[string]string{"env": "dev"}, Ready: true})
	index.PutMember(fleet.Member{Ref: cluster("fleet", "unlabelled")}) // matches nobody
	relabelled := members[1]
	relabelled.Labels = map[string]string{"env": "prod", "tier": "gold"} // matches as before
	index.PutMember(relabelled)
	index.DeleteMember(cluster("fleet", "dev"))
	index.DeleteMember(cluster("fleet", "dev"))
	index.DeleteSet(other.Set)
	index.DeleteSet(other.Set)
	index.PutMember(fleet.Member{Ref: cluster("fleet", "dev"), Labels: map[string]string{"env": "dev"}}) // matched the set that is gone
	stop()
	index.DeleteMember(members[1].Ref)

	want := []string{"prod selects 1 of 0", "other selects 0 of 2", "other selects 1 of 2", "other selects 0 of 3", "other is gone"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Load announces what is new, what is gone, and what may have changed.
func TestLoadAnnounces(t *testing.T) {
	index, _ := loaded(t, 1, "A")
	var seen []string
	defer index.OnChange(func(key selection.SetKey) { seen = append(seen, key.Name) })()
	replaced := prod(1)
	replaced.Set.Name = "replaced"
	for _, sets := range [][]selection.SetState{{{Spec: prod(1)}}, {{Spec: replaced}}} {
		seen = nil
		index.Load(selection.State{Sets: sets})
		slices.Sort(seen)
		want := slices.Compact(slices.Sorted(slices.Values([]string{"prod", sets[0].Spec.Set.Name})))
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestMember(t *testing.T) {
	index := selection.NewIndex()
	want := fleet.Member{
		Ref: cluster("fleet", "c1"), UID: "uid", Labels: map[string]string{"env": "prod", "": "empty key"},
		Ready: true, EverReady: true, Deleting: true, Paused: true,
	}
	index.PutMember(want)
	got, found := index.Member(want.Ref)
	if diff := cmp.Diff(want, got); diff != "" || !found {
		t.Errorf("found %v, -want +got:\n%s", found, diff)
	}
	got.Labels["env"] = "changed by the caller"
	if again, _ := index.Member(want.Ref); again.Labels["env"] != "prod" {
		t.Error("a caller's map is the index's own")
	}
}

// Readers see one moment each, whatever is written meanwhile. The race detector
// is half of this test.
func TestReadersBesideWriters(t *testing.T) {
	const clusters, replicas = 300, 20
	index := selection.NewIndex()
	refs := ranked(prod(1).Set, clusters)
	for _, ref := range refs {
		index.PutMember(fleet.Member{Ref: ref, Labels: map[string]string{"env": "prod"}, Ready: true})
	}
	index.PutSet(prod(replicas), selection.Stored{})

	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for seed := range uint64(2) {
		writers.Go(func() { churn(index, refs, rand.New(rand.NewPCG(seed, 0))) })
	}
	for range 2 {
		readers.Go(func() {
			for reads := 0; ; reads++ {
				select {
				case <-done:
					return
				default:
				}
				if problem := readOnce(index, selection.Reasons()[reads%6]); problem != "" {
					t.Error(problem)
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
}

func churn(index *selection.Index, refs []fleet.Ref, random *rand.Rand) {
	for range 500 {
		ref := refs[random.IntN(len(refs))]
		switch random.IntN(12) {
		case 0:
			index.DeleteMember(ref)
		case 1:
			result, err := index.Result(prod(1).Set)
			if err == nil {
				index.PutSet(prod(20), selection.Stored{Selected: result.Selected, Count: len(result.Selected)})
			}
		case 2:
			spec := prod(20)
			spec.Refs = refs[:random.IntN(3)]
			index.PutSet(spec, selection.Stored{})
		case 3, 4:
			index.PutSummary(selection.Summary{
				NamespacedName: types.NamespacedName{Name: ref.Name},
				Cluster:        ref,
				Deleting:       random.IntN(2) == 0,
				Causes:         []selection.SetKey{prod(1).Set},
			})
		default:
			env := []string{"prod", "prod", "dev"}[random.IntN(3)]
			index.PutMember(fleet.Member{Ref: ref, Labels: map[string]string{"env": env}, Ready: random.IntN(3) > 0})
		}
	}
}

// readOnce returns what is wrong with one view and the page in it.
func readOnce(index *selection.Index, reason selection.Reason) string {
	v, err := index.Selection(prod(1).Set, selection.Query{Reason: reason, Limit: selection.MaxLimit})
	if err != nil {
		return err.Error()
	}
	if got, want := len(v.Candidates), v.Counts.Of(reason); got != want {
		return fmt.Sprintf("%d are %s, and %d are counted", got, reason, want)
	}
	if got, want := len(v.Selected), v.Counts.Selected+v.Counts.Held; got != want || got > v.MaxReplicas {
		return fmt.Sprintf("%d selected, %d counted, of %d", got, want, v.MaxReplicas)
	}
	for _, entry := range v.Candidates {
		if entry.Reason != reason {
			return fmt.Sprintf("%s is listed as %s", entry.Ref, reason)
		}
	}
	for i, m := range index.Members(labels.SelectorFromSet(labels.Set{"env": "dev"}), "fleet") {
		if m.Labels["env"] != "dev" {
			return fmt.Sprintf("member %d has labels %v", i, m.Labels)
		}
	}
	return ""
}
