// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// propertyCases is how many cases the properties of Compute are tried on.
const propertyCases = 10_000

// atLeast sets how many cases rapid tries; -rapid.checks may ask for more.
func atLeast(t *testing.T, cases int) {
	t.Helper()
	if testing.Short() {
		cases *= 5 // of which rapid then tries a fifth
	}
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	if n, err := strconv.Atoi(before); err != nil || n >= cases {
		return
	}
	if err := checks.Set(strconv.Itoa(cases)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Set(before) })
}

// mustEqual shows how two values differ. It is asked millions of times, and
// cmp takes a hundred times as long to find that nothing does.
func mustEqual(t *rapid.T, what string, want, got any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%s: -one +other:\n%s", what, cmp.Diff(want, got, cmp.AllowUnexported(selection.Result{})))
	}
}

// oneIn draws true once in 2^bits times.
func oneIn(t *rapid.T, bits int, label string) bool {
	for range bits {
		if !rapid.Bool().Draw(t, label) {
			return false
		}
	}
	return true
}

// selectors pairs each selector with what it means, so that the oracle does
// not ask the selector.
func selectors() []namedSelector {
	has := func(key, value string) func(map[string]string) bool {
		return func(set map[string]string) bool { return set[key] == value }
	}
	return []namedSelector{
		{"env=prod", has("env", "prod")},
		{"env in (prod,staging)", func(set map[string]string) bool { return set["env"] == "prod" || set["env"] == "staging" }},
		{"env,env notin (dev)", func(set map[string]string) bool { _, has := set["env"]; return has && set["env"] != "dev" }},
		{"env=prod,!tier", func(set map[string]string) bool { _, tier := set["tier"]; return set["env"] == "prod" && !tier }},
		{"env=prod,env=dev", func(map[string]string) bool { return false }},
		{"", nil},
	}
}

type namedSelector struct {
	text      string
	predicate func(map[string]string) bool
}

// universe are the clusters that there may be. Two of another kind have the
// names, and so the ranks, of others.
func universe() []fleet.Ref {
	var refs []fleet.Ref
	for _, namespace := range []string{"east", "west"} {
		for i := range 5 {
			refs = append(refs, cluster(namespace, fmt.Sprint("c", i)))
		}
		refs = append(refs, fleet.Ref{Group: "cluster.x-k8s.io", Kind: "Cluster", Namespace: namespace, Name: "c0"})
	}
	return refs
}

func cluster(namespace, name string) fleet.Ref {
	return fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: namespace, Name: name}
}

func drawMember(t *rapid.T, ref fleet.Ref) fleet.Member {
	set := map[string]string{}
	if env := rapid.SampledFrom([]string{"prod", "prod", "staging", "dev", ""}).Draw(t, "env"); env != "" {
		set["env"] = env
	}
	if oneIn(t, 2, "tier") {
		set["tier"] = "gold"
	}
	return fleet.Member{
		Ref:      ref,
		Labels:   set,
		Ready:    !oneIn(t, 1, "not ready"),
		Deleting: oneIn(t, 4, "deleting"),
		Paused:   oneIn(t, 4, "paused"),
	}
}

func drawSpec(t *rapid.T) (selection.Spec, func(map[string]string) bool) {
	spec := selection.Spec{
		Set:         selection.SetKey{Kind: selection.KindClusterSet, Name: rapid.SampledFrom([]string{"prod", "edge"}).Draw(t, "name")},
		MaxReplicas: rapid.SampledFrom([]int{2, 3, 1, 4, 6}).Draw(t, "maxReplicas"),
		Halted:      oneIn(t, 2, "halted"),
	}
	if oneIn(t, 2, "namespaced") {
		spec.Set.Kind, spec.Set.Namespace = selection.KindSet, "east"
	}
	if oneIn(t, 2, "no replicas") {
		spec.MaxReplicas = rapid.IntRange(-2, 0).Draw(t, "maxReplicas")
	}
	selector := selectors()[0]
	if rapid.Bool().Draw(t, "other selector") {
		selector = rapid.SampledFrom(selectors()).Draw(t, "selector")
	}
	parsed, err := labels.Parse(selector.text)
	if err != nil {
		t.Fatal(err)
	}
	spec.Selector = parsed
	if selector.predicate == nil && rapid.Bool().Draw(t, "nil selector") {
		spec.Selector = nil
	}
	if rapid.Bool().Draw(t, "has refs") {
		spec.Refs = rapid.SliceOfN(rapid.SampledFrom(universe()), 1, 5).Draw(t, "refs")
		if oneIn(t, 2, "ref without namespace") {
			spec.Refs[0].Namespace = ""
		}
	}
	return spec, selector.predicate
}

func drawWorld(t *rapid.T) world {
	w := world{returning: map[fleet.Ref]bool{}}
	w.spec, w.predicate = drawSpec(t)
	outage, calm := oneIn(t, 2, "outage"), oneIn(t, 2, "calm")
	for _, ref := range rapid.Permutation(universe()).Draw(t, "order") {
		if oneIn(t, 4, "missing") {
			continue
		}
		m := drawMember(t, ref)
		if outage || calm {
			m.Ready = oneIn(t, 3, "unlike the others") != calm
		}
		w.members = append(w.members, m)
		if oneIn(t, 2, "returning") {
			w.returning[ref] = true
		}
	}
	w.previous = rapid.Permutation(universe()).Draw(t, "previous")[:rapid.SampledFrom([]int{6, 8, 5, 4, 2, 0}).Draw(t, "had")]
	if len(w.previous) > 0 && oneIn(t, 3, "twice in previous") {
		w.previous = append(w.previous, w.previous[0])
	}
	return w
}

func (w world) candidates() selection.Candidates {
	return selection.NewCandidates(w.spec, w.members, func(ref fleet.Ref) bool { return w.returning[ref] })
}

func (w world) compute() selection.Result {
	return selection.Compute(w.spec, w.previous, w.candidates())
}

// decided puts a result in the oracle's form.
func (w world) decided(result selection.Result) outcome {
	o := outcome{
		Selected: result.Selected,
		Matching: result.Matching,
		Healthy:  result.Healthy,
		Counts:   map[selection.Reason]int{},
		Reasons:  map[fleet.Ref]selection.Reason{},
	}
	for _, reason := range selection.Reasons() {
		if n := result.Counts.Of(reason); n != 0 {
			o.Counts[reason] = n
		}
	}
	candidates := w.candidates()
	for _, m := range w.members {
		if w.spec.Set.Namespace != "" && m.Namespace != w.spec.Set.Namespace {
			continue
		}
		candidate, matches := candidates.Lookup(m.Ref)
		if !matches {
			candidate = selection.Candidate{Ref: m.Ref, Ready: m.Ready, Returning: w.returning[m.Ref]}
		}
		o.Reasons[m.Ref] = result.Reason(candidate)
	}
	return o
}

// Compute agrees with the oracle, and with no oracle that lacks a part of a
// rule. How often each part made a difference and each reason occurred is
// printed, and has to be often enough to mean something.
func TestComputeAgreesWithOracle(t *testing.T) {
	atLeast(t, propertyCases)
	cases := 0
	mattered := map[rule]int{}
	occurred := map[selection.Reason]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		got := w.decided(w.compute())
		mustEqual(t, "by the oracle and by Compute", oracle(w, none), got)
		cases++
		for _, r := range rules() {
			if !reflect.DeepEqual(oracle(w, r), got) {
				mattered[r]++
			}
		}
		for reason := range got.Counts {
			occurred[reason]++
		}
	})
	if t.Failed() {
		return
	}
	var report strings.Builder
	fmt.Fprintf(&report, "%d cases; rules that decided, and reasons that occurred, in %% of them:\n", cases)
	line := func(name string, count int) {
		share := 100 * float64(count) / float64(cases)
		fmt.Fprintf(&report, "%6.2f  %s\n", share, name)
		if share < 2 {
			t.Errorf("%s: %.2f %% of cases, want 2", name, share)
		}
	}
	for _, r := range rules() {
		line("rule "+string(r), mattered[r])
	}
	for _, reason := range selection.Reasons() {
		line("reason "+string(reason), occurred[reason])
	}
	t.Log(report.String())
}

// A selection that has been stored and is computed again stays as it is, so
// that controller and store come to rest.
func TestComputeIsStable(t *testing.T) {
	atLeast(t, propertyCases)
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		first := w.decided(w.compute())
		w.previous = first.Selected
		mustEqual(t, "at first and again", first, w.decided(w.compute()))
	})
}

// The order in which clusters and refs are listed means nothing.
func TestComputeIsDeterministic(t *testing.T) {
	atLeast(t, propertyCases)
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		first := w.decided(w.compute())
		w.members = rapid.Permutation(w.members).Draw(t, "members")
		w.members = append(w.members, w.members...) // and neither does naming them twice
		w.spec.Refs = rapid.Permutation(w.spec.Refs).Draw(t, "refs")
		second := w.compute()
		w.members = w.members[:len(w.members)/2]
		mustEqual(t, "in one order and in another", first, w.decided(second))
	})
}

// One cluster changing its health moves at most one place, and moves it only
// to a healthy cluster: health replaces, it never merely removes.
func TestHealthReplacesAndNeverMerelyRemoves(t *testing.T) {
	atLeast(t, propertyCases)
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		if len(w.members) == 0 {
			return
		}
		before := w.compute()
		w.previous = before.Selected
		i := rapid.IntRange(0, len(w.members)-1).Draw(t, "flips")
		w.members[i].Ready = !w.members[i].Ready
		after := w.compute()

		gone := without(before.Selected, after.Selected)
		come := without(after.Selected, before.Selected)
		if len(gone) > 1 || len(come) > 1 || len(gone) > len(come) {
			t.Fatalf("flipping %s moved %v to %v", w.members[i].Ref, gone, come)
		}
		for _, ref := range come {
			if candidate, matches := w.candidates().Lookup(ref); !matches || !candidate.Ready || candidate.Returning {
				t.Fatalf("flipping %s selected %+v", w.members[i].Ref, candidate)
			}
		}
		for _, ref := range gone {
			if candidate, _ := w.candidates().Lookup(ref); candidate.Ready {
				t.Fatalf("flipping %s dropped %s, which is ready", w.members[i].Ref, ref)
			}
		}
		if w.spec.Halted && len(come) > 0 {
			t.Fatalf("flipping %s selected %v with the brake on", w.members[i].Ref, come)
		}
	})
}

// without returns what is in all and not in some, in order.
func without(all, some []fleet.Ref) []fleet.Ref {
	return slices.DeleteFunc(slices.Clone(all), func(ref fleet.Ref) bool { return slices.Contains(some, ref) })
}
