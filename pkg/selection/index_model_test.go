// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// modelCases is how many random histories an index is tried on; each has some
// thirty steps, and all sets are looked at after each step.
const modelCases = 500

// history is an index and its model going through the same changes.
type history struct {
	model
	index   *selection.Index
	notices map[selection.SetKey]int
	// known is what every set selected after the step before.
	known map[selection.SetKey]selection.Result
}

func TestIndexAgreesWithCompute(t *testing.T) {
	atLeast(t, modelCases)
	rapid.Check(t, func(t *rapid.T) {
		h := &history{
			model: model{
				members:   map[fleet.Ref]fleet.Member{},
				sets:      map[selection.SetKey]selection.SetState{},
				summaries: map[types.NamespacedName]selection.Summary{},
			},
			index:   selection.NewIndex(),
			notices: map[selection.SetKey]int{},
			known:   map[selection.SetKey]selection.Result{},
		}
		defer h.index.OnChange(func(key selection.SetKey) { h.notices[key]++ })()
		h.load(t)
		t.Repeat(map[string]func(*rapid.T){
			"":              h.check,
			"put member":    h.putMember,
			"flip member":   h.flipMember,
			"same member":   h.sameMember,
			"delete member": h.deleteMember,
			"put set":       h.putSet,
			"persist set":   h.persistSet,
			"brake set":     h.brakeSet,
			"scale set":     h.scaleSet,
			"same set":      h.sameSet,
			"delete set":    h.deleteSet,
			"put summary":   h.putSummary,
			"end summary":   h.deleteSummary,
			"load":          h.load,
		})
	})
}

func (h *history) putMember(t *rapid.T) {
	m := drawMember(t, rapid.SampledFrom(universe()).Draw(t, "cluster"))
	m.UID = types.UID(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "uid"))
	m.EverReady = rapid.Bool().Draw(t, "ever ready")
	h.members[m.Ref] = m
	h.index.PutMember(m)
}

func (h *history) flipMember(t *rapid.T) {
	m := h.someMember(t)
	m.Ready = !m.Ready
	h.members[m.Ref] = m
	h.index.PutMember(m)
}

func (h *history) sameMember(t *rapid.T) {
	m := h.someMember(t)
	m.Labels = maps.Clone(m.Labels)
	h.quietly(t, func() { h.index.PutMember(m) })
	// What sets do not look at is kept and moves nothing.
	m.EverReady, m.Paused, m.UID = !m.EverReady, !m.Paused, m.UID+"'"
	h.members[m.Ref] = m
	h.quietly(t, func() { h.index.PutMember(m) })
}

func (h *history) deleteMember(t *rapid.T) {
	ref := rapid.SampledFrom(universe()).Draw(t, "cluster")
	delete(h.members, ref)
	h.index.DeleteMember(ref)
}

func (h *history) putSet(t *rapid.T) {
	set := drawSet(t)
	h.sets[set.Spec.Set] = set
	h.index.PutSet(set.Spec, set.Stored)
}

// persistSet does what the controller does.
func (h *history) persistSet(t *rapid.T) {
	set := h.someSet(t)
	result, err := h.index.Result(set.Spec.Set)
	if err != nil {
		t.Fatal(err)
	}
	set.Stored = selection.Stored{Selected: result.Selected, Count: len(result.Selected)}
	h.sets[set.Spec.Set] = set
	h.index.PutSet(set.Spec, set.Stored)
	if view, err := h.index.Selection(set.Spec.Set, selection.Query{}); err != nil || !view.Persisted {
		t.Fatalf("not persisted after it was stored: %+v, %v", view, err)
	}
}

func (h *history) brakeSet(t *rapid.T) {
	set := h.someSet(t)
	set.Spec.Halted = !set.Spec.Halted
	h.sets[set.Spec.Set] = set
	h.index.PutSet(set.Spec, set.Stored)
}

func (h *history) scaleSet(t *rapid.T) {
	set := h.someSet(t)
	set.Spec.MaxReplicas = rapid.IntRange(0, 8).Draw(t, "replicas")
	h.sets[set.Spec.Set] = set
	h.index.PutSet(set.Spec, set.Stored)
}

func (h *history) sameSet(t *rapid.T) {
	set := h.someSet(t)
	h.quietly(t, func() { h.index.PutSet(set.Spec, set.Stored) })
}

func (h *history) deleteSet(t *rapid.T) {
	key := rapid.SampledFrom(setKeys()).Draw(t, "set")
	delete(h.sets, key)
	h.index.DeleteSet(key)
}

func (h *history) putSummary(t *rapid.T) {
	summary := drawSummary(t)
	h.summaries[summary.NamespacedName] = summary
	h.index.PutSummary(summary)
	h.quietly(t, func() { h.index.PutSummary(summary) })
}

func (h *history) deleteSummary(t *rapid.T) {
	name := rapid.SampledFrom(summaryNames()).Draw(t, "summary")
	delete(h.summaries, name)
	h.index.DeleteSummary(name)
}

// load replaces everything, half of the time by what is there already.
func (h *history) load(t *rapid.T) {
	if rapid.Bool().Draw(t, "anew") {
		clear(h.members)
		clear(h.sets)
		clear(h.summaries)
		for _, ref := range universe() {
			h.members[ref] = drawMember(t, ref)
		}
		for range 3 {
			set := drawSet(t)
			h.sets[set.Spec.Set] = set
		}
		for range 6 {
			summary := drawSummary(t)
			h.summaries[summary.NamespacedName] = summary
		}
	}
	h.index.Load(selection.State{
		Members:   slices.Collect(maps.Values(h.members)),
		Sets:      slices.Collect(maps.Values(h.sets)),
		Summaries: slices.Collect(maps.Values(h.summaries)),
	})
}

// someMember is a member that exists; where there is none, one comes first.
func (h *history) someMember(t *rapid.T) fleet.Member {
	if len(h.members) == 0 {
		h.putMember(t)
	}
	refs := slices.SortedFunc(maps.Keys(h.members), fleet.Ref.Compare)
	return h.members[rapid.SampledFrom(refs).Draw(t, "cluster")]
}

// someSet is a set that exists; where there is none, one comes first.
func (h *history) someSet(t *rapid.T) selection.SetState {
	if len(h.sets) == 0 {
		h.putSet(t)
	}
	var known []selection.SetKey
	for _, key := range setKeys() {
		if _, exists := h.sets[key]; exists {
			known = append(known, key)
		}
	}
	return h.sets[rapid.SampledFrom(known).Draw(t, "set")]
}

// quietly fails where a change that is none is announced.
func (h *history) quietly(t *rapid.T, change func()) {
	before := maps.Clone(h.notices)
	change()
	mustEqual(t, "a change of nothing is not announced", before, h.notices)
}

func setKeys() []selection.SetKey {
	return []selection.SetKey{
		{Kind: selection.KindClusterSet, Name: "prod"},
		{Kind: selection.KindClusterSet, Name: "edge"},
		{Kind: selection.KindSet, Namespace: "east", Name: "prod"},
		{Kind: selection.KindSet, Namespace: "west", Name: "prod"},
	}
}

func drawSet(t *rapid.T) selection.SetState {
	spec, _ := drawSpec(t)
	spec.Set = rapid.SampledFrom(setKeys()).Draw(t, "set")
	stored := rapid.SliceOfN(rapid.SampledFrom(universe()), 0, 4).Draw(t, "stored")
	return selection.SetState{Spec: spec, Stored: selection.Stored{Selected: stored, Count: len(stored)}}
}

func summaryNames() []types.NamespacedName {
	var names []types.NamespacedName
	for i := range 8 {
		names = append(names, types.NamespacedName{Namespace: "east", Name: fmt.Sprint("s", i)})
	}
	return names
}

func drawSummary(t *rapid.T) selection.Summary {
	causes := append(setKeys(), selection.SetKey{Kind: "Selector"})
	return selection.Summary{
		NamespacedName: rapid.SampledFrom(summaryNames()).Draw(t, "summary"),
		Cluster:        rapid.SampledFrom(universe()).Draw(t, "cluster"),
		Deleting:       !oneIn(t, 2, "not deleting"),
		Causes:         rapid.SliceOfN(rapid.SampledFrom(causes), 0, 2).Draw(t, "causes"),
	}
}

// check compares everything that can be read.
func (h *history) check(t *rapid.T) {
	for _, key := range setKeys() {
		set, exists := h.sets[key]
		before, existed := h.known[key]
		if !exists {
			h.checkUnknown(t, key, existed)
			continue
		}
		e := h.expect(set)
		h.checkSet(t, set, e)
		sameStatus := slices.Equal(before.Selected, e.result.Selected) &&
			slices.Equal(before.Matching, e.result.Matching) && before.Healthy == e.result.Healthy
		if (!existed || !sameStatus) && h.notices[key] == 0 {
			t.Fatalf("%s: changed unannounced, from %v to %v", key, before.Selected, e.result.Selected)
		}
		h.known[key] = e.result
	}
	clear(h.notices)
	for _, ref := range universe() {
		want, exists := h.members[ref]
		got, found := h.index.Member(ref)
		if found != exists {
			t.Fatalf("%s: found %v, want %v", ref, found, exists)
		}
		mustEqual(t, ref.String(), want, got)
	}
	h.checkMembers(t)
}

func (h *history) checkUnknown(t *rapid.T, key selection.SetKey, existed bool) {
	if view, err := h.index.Selection(key, selection.Query{}); err == nil {
		t.Fatalf("%s does not exist and selects %+v", key, view)
	}
	if existed && h.notices[key] == 0 {
		t.Fatalf("%s: deleted unannounced", key)
	}
	delete(h.known, key)
}

func (h *history) checkSet(t *rapid.T, set selection.SetState, e expected) {
	key := set.Spec.Set
	result, err := h.index.Result(key)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, key.String()+" by Compute and by the index", e.result, result)
	reason := rapid.SampledFrom(append(selection.Reasons(), "")).Draw(t, "reason")
	query := selection.Query{Reason: reason, Limit: rapid.IntRange(1, 5).Draw(t, "limit")}
	entries := []selection.Entry{}
	for {
		view, err := h.index.Selection(key, query)
		if err != nil {
			t.Fatal(err)
		}
		persisted := slices.Equal(set.Stored.Selected, result.Selected)
		want := selection.View{
			Selected:    e.selected(),
			Counts:      e.result.Counts,
			Persisted:   persisted,
			Halted:      set.Spec.Halted,
			MaxReplicas: set.Spec.MaxReplicas,
			Candidates:  view.Candidates,
			Continue:    view.Continue,
		}
		mustEqual(t, key.String(), want, view)
		entries = append(entries, view.Candidates...)
		if view.Continue == "" {
			break
		}
		if len(entries) > len(e.entries) {
			t.Fatalf("%s: the pages have no end", key)
		}
		if len(view.Candidates) != query.Limit {
			t.Fatalf("%s: a page of %d where %d were asked for and there are more", key, len(view.Candidates), query.Limit)
		}
		query.Continue = view.Continue
	}
	mustEqual(t, fmt.Sprintf("%s, pages of %q", key, reason), e.having(reason), entries)
	total := 0
	for _, r := range selection.Reasons() {
		total += result.Counts.Of(r)
		if got, want := result.Counts.Of(r), len(e.having(r)); got != want {
			t.Fatalf("%s: counts %d %s, there are %d", key, got, r, want)
		}
	}
	if total != len(e.entries) {
		t.Fatalf("%s: counts %d clusters of %d", key, total, len(e.entries))
	}
}

func (h *history) checkMembers(t *rapid.T) {
	selector := rapid.SampledFrom(selectors()).Draw(t, "selector")
	namespace := rapid.SampledFrom([]string{"", "east", "west", "nowhere"}).Draw(t, "namespace")
	parsed, err := labels.Parse(selector.text)
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Member{}
	for _, ref := range slices.SortedFunc(maps.Keys(h.members), fleet.Ref.Compare) {
		m := h.members[ref]
		if !m.Deleting && selector.predicate != nil && selector.predicate(m.Labels) && (namespace == "" || namespace == ref.Namespace) {
			want = append(want, m)
		}
	}
	mustEqual(t, fmt.Sprintf("members of %q in %q", selector.text, namespace), want, h.index.Members(parsed, namespace))
}
