// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// prod is a ClusterSet that asks for env=prod.
func prod(replicas int) selection.Spec {
	return selection.Spec{
		Set:         selection.SetKey{Kind: selection.KindClusterSet, Name: "prod"},
		Selector:    labels.SelectorFromSet(labels.Set{"env": "prod"}),
		MaxReplicas: replicas,
	}
}

// named are clusters c1, c2, ... as people write them down: upper case is
// ready, lower case is not, and a "~" behind one is returning. They are in the
// order in which the set of prod ranks their names, so that "first in rank" is
// the same as "first in the list".
func named(t *testing.T, clusters string) (members []fleet.Member, returning map[fleet.Ref]bool) {
	t.Helper()
	returning = map[fleet.Ref]bool{}
	fields := strings.Fields(clusters)
	for i, ref := range ranked(prod(1).Set, len(fields)) {
		name := strings.TrimSuffix(fields[i], "~")
		members = append(members, fleet.Member{
			Ref:    ref,
			Labels: map[string]string{"env": "prod", "letter": strings.ToUpper(name)},
			Ready:  strings.ToUpper(name) == name,
		})
		returning[ref] = strings.HasSuffix(fields[i], "~")
	}
	return members, returning
}

// ranked makes n refs in the set's rank order.
func ranked(set selection.SetKey, n int) []fleet.Ref {
	refs := make([]fleet.Ref, n)
	for i := range refs {
		refs[i] = cluster("fleet", fmt.Sprint("cluster-", i))
	}
	slices.SortFunc(refs, func(a, b fleet.Ref) int {
		if selection.Rank(set, a) < selection.Rank(set, b) {
			return -1
		}
		return 1
	})
	return refs
}

func TestCompute(t *testing.T) {
	for _, c := range []struct {
		name     string
		clusters string // in rank order, see named
		previous string
		replicas int
		halted   bool
		want     string // selected, oldest first
		reasons  string // of the clusters, in their order
	}{
		{
			name:     "fills up by rank",
			clusters: "A B C D", replicas: 2,
			want: "A B", reasons: "Selected Selected Standby Standby",
		}, {
			name:     "passes over what is not ready",
			clusters: "a B c D", replicas: 2,
			want: "B D", reasons: "NotReady Selected NotReady Selected",
		}, {
			name:     "keeps what it has, whatever its rank",
			clusters: "A B C D", previous: "D C", replicas: 2,
			want: "D C", reasons: "Standby Standby Selected Selected",
		}, {
			name:     "keeps what it has and fills the rest",
			clusters: "A B C D", previous: "D", replicas: 3,
			want: "D A B", reasons: "Selected Selected Standby Selected",
		}, {
			name:     "fails over to the first in rank",
			clusters: "A B C d", previous: "d", replicas: 1,
			want: "A", reasons: "Selected Standby Standby NotReady",
		}, {
			name:     "a failed cluster that came back does not take its place again",
			clusters: "A B", previous: "B", replicas: 1,
			want: "B", reasons: "Standby Selected",
		}, {
			name:     "nothing is withdrawn where nothing is healthy",
			clusters: "a b c", previous: "b a", replicas: 2,
			want: "b a", reasons: "Held Held NotReady",
		}, {
			name:     "the newest of those that failed is replaced first",
			clusters: "A b c d", previous: "c b d", replicas: 3,
			want: "c b A", reasons: "Selected Held Held NotReady",
		}, {
			name:     "a free place is used before a held one",
			clusters: "A b", previous: "b", replicas: 2,
			want: "b A", reasons: "Selected Held",
		}, {
			name:     "a replaced cluster keeps its age order with the others",
			clusters: "A B c D", previous: "B c D", replicas: 3,
			want: "B D A", reasons: "Selected Selected NotReady Selected",
		}, {
			name:     "shrinking drops held ones first",
			clusters: "a B C", previous: "a B C", replicas: 2,
			want: "B C", reasons: "NotReady Selected Selected",
		}, {
			name:     "shrinking drops the newest then",
			clusters: "A B C", previous: "C B A", replicas: 2,
			want: "C B", reasons: "Standby Selected Selected",
		}, {
			name:     "shrinking below the ready ones drops all held and the newest ready ones",
			clusters: "a B C D e", previous: "a D e C B", replicas: 1,
			want: "D", reasons: "NotReady Standby Standby Selected NotReady",
		}, {
			name:     "a returning cluster is passed over",
			clusters: "A~ B", replicas: 1,
			want: "B", reasons: "Returning Selected",
		}, {
			name:     "a returning cluster is not taken even for a free place, ready or not",
			clusters: "A~ b~ C", replicas: 3,
			want: "C", reasons: "Returning Returning Selected",
		}, {
			name:     "a returning cluster does not replace a held one",
			clusters: "A~ b", previous: "b", replicas: 1,
			want: "b", reasons: "Returning Held",
		}, {
			name:     "what is selected is not returning, whatever is deleted there",
			clusters: "A~ b~", previous: "A b", replicas: 2,
			want: "A b", reasons: "Selected Held",
		}, {
			name:     "no replicas select nothing",
			clusters: "A b C~", previous: "A b", replicas: 0,
			want: "", reasons: "Standby NotReady Returning",
		}, {
			name:     "fewer than none are none",
			clusters: "A", previous: "A", replicas: -1,
			want: "", reasons: "Standby",
		}, {
			name:     "the brake keeps what failed where others are healthy",
			clusters: "A b C", previous: "b C", replicas: 2, halted: true,
			want: "b C", reasons: "Standby Held Selected",
		}, {
			name:     "the brake picks nothing, not even for a free place",
			clusters: "A B", previous: "B", replicas: 2, halted: true,
			want: "B", reasons: "Standby Selected",
		}, {
			name:     "the brake drops nothing for a smaller maxReplicas",
			clusters: "a B C", previous: "a B C", replicas: 1, halted: true,
			want: "a B C", reasons: "Held Selected Selected",
		}, {
			name:     "the brake lets go of what does not exist any more",
			clusters: "A B", previous: "X B", replicas: 2, halted: true,
			want: "B", reasons: "Standby Selected",
		}, {
			name:     "the brake does not outweigh no replicas",
			clusters: "A b", previous: "A b", replicas: 0, halted: true,
			want: "", reasons: "Standby NotReady",
		}, {
			name:     "names that are twice or mean nothing are passed over",
			clusters: "A B C", previous: "C X C B C", replicas: 3,
			want: "C B A", reasons: "Selected Selected Selected",
		}, {
			name:     "an empty fleet",
			previous: "X", replicas: 2,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			members, returning := named(t, c.clusters)
			spec := prod(c.replicas)
			spec.Halted = c.halted
			candidates := selection.NewCandidates(spec, members, func(ref fleet.Ref) bool { return returning[ref] })
			result := selection.Compute(spec, refsOf(members, c.previous), candidates)

			if got, want := lettersOf(members, result), strings.ToUpper(c.want); got != want {
				t.Errorf("selected %q, want %q", got, want)
			}
			if got, want := strings.Join(letters(members, result.Dropped), " "), droppedOf(c.previous, c.want, c.replicas, c.halted); got != want {
				t.Errorf("dropped %q, want %q", got, want)
			}
			reasons := []string{}
			for _, m := range members {
				candidate, _ := candidates.Lookup(m.Ref)
				reasons = append(reasons, string(result.Reason(candidate)))
			}
			if diff := cmp.Diff(strings.Fields(c.reasons), reasons); diff != "" {
				t.Errorf("reasons: -want +got:\n%s", diff)
			}
		})
	}
}

func refsOf(members []fleet.Member, letters string) []fleet.Ref {
	var refs []fleet.Ref
	for _, letter := range strings.Fields(letters) {
		i := slices.IndexFunc(members, func(m fleet.Member) bool { return m.Labels["letter"] == strings.ToUpper(letter) })
		if i < 0 {
			refs = append(refs, cluster("fleet", "gone"))
			continue
		}
		refs = append(refs, members[i].Ref)
	}
	return refs
}

func lettersOf(members []fleet.Member, result selection.Result) string {
	return strings.Join(letters(members, result.Selected), " ")
}

func letters(members []fleet.Member, refs []fleet.Ref) []string {
	var letters []string
	for _, ref := range refs {
		i := slices.IndexFunc(members, func(m fleet.Member) bool { return m.Ref == ref })
		letters = append(letters, members[i].Labels["letter"])
	}
	return letters
}

// droppedOf are the letters of those that were selected, are not ready, and are not
// wanted any more.
func droppedOf(previous, want string, replicas int, halted bool) string {
	var dropped []string
	for _, letter := range strings.Fields(previous) {
		if strings.ToLower(letter) == letter && !slices.Contains(strings.Fields(want), letter) && replicas > 0 && !halted {
			dropped = append(dropped, strings.ToUpper(letter))
		}
	}
	return strings.Join(dropped, " ")
}

func TestMatching(t *testing.T) {
	everything := labels.Everything()
	onlyProd := labels.SelectorFromSet(labels.Set{"env": "prod"})
	target := fleet.Member{Ref: cluster("east", "c1"), Labels: map[string]string{"env": "prod"}, Ready: true}
	named := func(change func(*fleet.Ref)) []fleet.Ref {
		ref := target.Ref
		change(&ref)
		return []fleet.Ref{ref}
	}
	for _, c := range []struct {
		name     string
		set      selection.SetKey
		selector labels.Selector
		refs     []fleet.Ref
		change   func(*fleet.Member)
		want     bool
	}{
		{name: "selector", selector: onlyProd, want: true},
		{name: "other label", selector: onlyProd, change: func(m *fleet.Member) { m.Labels = map[string]string{"env": "dev"} }},
		{name: "no labels", selector: onlyProd, change: func(m *fleet.Member) { m.Labels = nil }},
		{name: "no selector and no refs"},
		{name: "selector of nothing", selector: labels.Nothing()},
		{name: "empty selector", selector: everything},
		{name: "ref", refs: named(func(*fleet.Ref) {}), want: true},
		{name: "ref with an empty selector", selector: everything, refs: named(func(*fleet.Ref) {}), want: true},
		{name: "ref of another name", refs: named(func(r *fleet.Ref) { r.Name = "c2" })},
		{name: "ref of another kind", refs: named(func(r *fleet.Ref) { r.Kind = "Cluster" })},
		{name: "ref of another group", refs: named(func(r *fleet.Ref) { r.Group = "cluster.x-k8s.io" })},
		{name: "ref without namespace in a ClusterSet", refs: named(func(r *fleet.Ref) { r.Namespace = "" })},
		{name: "selector and ref", selector: onlyProd, refs: named(func(*fleet.Ref) {}), want: true},
		{name: "paused", selector: onlyProd, change: func(m *fleet.Member) { m.Paused = true }, want: true},
		{name: "not ready", selector: onlyProd, change: func(m *fleet.Member) { m.Ready = false }, want: true},
		{name: "being deleted", selector: onlyProd, refs: named(func(*fleet.Ref) {}), change: func(m *fleet.Member) { m.Deleting = true }},
		{name: "Set of the namespace", set: setIn("east"), selector: onlyProd, want: true},
		{name: "Set of the namespace, ref without one", set: setIn("east"), refs: named(func(r *fleet.Ref) { r.Namespace = "" }), want: true},
		{name: "Set of another namespace", set: setIn("west"), selector: onlyProd},
		{name: "Set of another namespace, ref", set: setIn("west"), refs: named(func(*fleet.Ref) {})},
	} {
		t.Run(c.name, func(t *testing.T) {
			member := target
			if c.change != nil {
				c.change(&member)
			}
			spec := selection.Spec{Set: c.set, Selector: c.selector, Refs: c.refs, MaxReplicas: 1}
			if spec.Set.Name == "" {
				spec.Set = prod(1).Set
			}
			if _, got := selection.NewCandidates(spec, []fleet.Member{member}, nil).Lookup(member.Ref); got != c.want {
				t.Errorf("a plain list: got %v, want %v", got, c.want)
			}
			index := selection.NewIndex()
			index.PutMember(member)
			index.PutSet(spec, selection.Stored{})
			view, err := index.Selection(spec.Set, selection.Query{})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(view.Candidates) == 1; got != c.want {
				t.Errorf("the index: got %v, want %v", got, c.want)
			}
			if visible := spec.Set.Namespace == "" || spec.Set.Namespace == "east"; !c.want && (view.Counts.NotMatching == 1) != visible {
				t.Errorf("counts %+v, where being seen is %v", view.Counts, visible)
			}
		})
	}
}

func setIn(namespace string) selection.SetKey {
	return selection.SetKey{Kind: selection.KindSet, Namespace: namespace, Name: "prod"}
}

// Lists that end up in an object are bounded, and what they leave out counts.
func TestBounds(t *testing.T) {
	const clusters = selection.MaxSelected + 100
	set := prod(clusters)
	var members []fleet.Member
	for _, ref := range ranked(set.Set, clusters) {
		members = append(members, fleet.Member{Ref: ref, Labels: map[string]string{"env": "prod"}, Ready: true})
	}
	candidates := selection.NewCandidates(set, members, nil)
	result := selection.Compute(set, nil, candidates)
	if got := len(result.Selected); got != selection.MaxSelected {
		t.Errorf("selected %d, want %d", got, selection.MaxSelected)
	}
	if want := (selection.Counts{Selected: selection.MaxSelected, Standby: 100}); result.Counts != want {
		t.Errorf("counts %+v, want %+v", result.Counts, want)
	}
	if result.Healthy != clusters || len(result.Matching) != selection.MaxMatchingRefs {
		t.Errorf("%d healthy, %d of them listed; want %d and %d", result.Healthy, len(result.Matching), clusters, selection.MaxMatchingRefs)
	}
	for i, ref := range result.Matching {
		if ref != members[i].Ref {
			t.Fatalf("matching[%d] is %s, want %s, the next in rank", i, ref, members[i].Ref)
		}
	}
	set.MaxReplicas = 5
	if got := selection.Compute(set, result.Selected, candidates).Selected; !slices.Equal(got, result.Selected[:5]) {
		t.Errorf("shrunk to %v, want the five oldest", got)
	}
}

func TestCountsOf(t *testing.T) {
	counts := selection.Counts{Selected: 1, Held: 2, Standby: 3, NotReady: 4, Returning: 5, NotMatching: 6}
	for i, reason := range selection.Reasons() {
		if got := counts.Of(reason); got != i+1 {
			t.Errorf("%s: %d, want %d", reason, got, i+1)
		}
	}
	if got := counts.Of("Nonsense"); got != 0 {
		t.Errorf("a word that is no reason counts %d", got)
	}
}

func TestSetKeyString(t *testing.T) {
	for want, key := range map[string]selection.SetKey{
		"ClusterSet prod": {Kind: selection.KindClusterSet, Name: "prod"},
		"Set east/prod":   setIn("east"),
	} {
		if got := key.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
