// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/muster-project/muster/pkg/fleet"
)

// rosterOf holds n members, of which any two neighbours have one rank: names
// are the same, kinds differ.
func rosterOf(n int) *roster {
	r := newRoster(n)
	for i := range n {
		r.put(newMember(fleet.Member{Ref: fleet.Ref{
			Kind:      fmt.Sprint("Kind", i%2),
			Namespace: "fleet",
			Name:      fmt.Sprint("cluster-", i/2),
		}}))
	}
	return r
}

// A rank list holds what a sorted slice would, in chunks that are neither too
// long nor too many, however it has grown and shrunk.
func TestRankListIsASortedSlice(t *testing.T) {
	const size = 6 * chunkSize
	everyone := rosterOf(size)
	rapid.Check(t, func(t *rapid.T) {
		o := order{rapid.Uint64().Draw(t, "seed"), everyone}
		var all []rankedSlot
		for at := range slot(size) {
			all = append(all, rankedSlot{o.rank(at), at})
		}
		sorted := o.sort(all)
		in := make([]bool, size) // by slot
		loaded := rapid.SampledFrom([]int{0, 1, size / 2, size - 1, size}).Draw(t, "loaded")
		var start []slot
		for i, at := range sorted {
			if in[at] = i < loaded; in[at] {
				start = append(start, at)
			}
		}
		list := newRankList(o, start)
		checkRankList(t, list, o, sorted, in)
		for range rapid.IntRange(1, 4).Draw(t, "phases") {
			// Runs of neighbours fill and empty single chunks; strides of many
			// touch all of them.
			first := rapid.IntRange(0, size-1).Draw(t, "first")
			stride := rapid.SampledFrom([]int{1, 7, 101}).Draw(t, "stride")
			add := rapid.Bool().Draw(t, "add")
			for i := range rapid.SampledFrom([]int{size - 20, size * 3 / 4, size / 2, 100, 1, size}).Draw(t, "steps") {
				at := sorted[(first+i*stride)%size]
				if in[at] == add {
					continue
				}
				if in[at] = add; add {
					list.insert(o, at)
				} else {
					list.remove(o, at)
				}
			}
			checkRankList(t, list, o, sorted, in)
		}
	})
}

func checkRankList(t *rapid.T, list rankList, o order, sorted []slot, in []bool) {
	t.Helper()
	want := slices.DeleteFunc(slices.Clone(sorted), func(at slot) bool { return !in[at] })
	var got []slot
	for _, chunk := range list.chunks {
		got = append(got, chunk.slots...)
	}
	if !slices.Equal(got, want) || list.length != len(want) {
		t.Fatalf("holds %d and says %d, want %d", len(got), list.length, len(want))
	}
	for i, chunk := range list.chunks {
		size := len(chunk.slots)
		if size == 0 || size > chunkSize || chunk.last != o.rank(chunk.slots[size-1]) {
			t.Fatalf("a chunk of %d that ends at %#x", size, chunk.last)
		}
		if i == 0 {
			continue
		}
		if before := len(list.chunks[i-1].slots); before+size <= chunkSize/2 {
			t.Fatalf("neighbours of %d and %d are two chunks", before, size)
		}
	}
	// From any place on, whether a member of the list is there or not.
	for range 4 {
		at := rapid.SampledFrom(sorted).Draw(t, "from")
		place := slices.Index(sorted, at)
		behind := slices.DeleteFunc(slices.Clone(sorted[place+1:]), func(at slot) bool { return !in[at] })
		c := list.after(o, o.position(at))
		if got, want := c.before(), len(want)-len(behind); got != want {
			t.Fatalf("%d are before, want %d", got, want)
		}
		for _, next := range behind {
			if got, more := c.peek(); !more || got != next {
				t.Fatalf("after %d comes %d (%v), want %d", at, got, more, next)
			}
			c.next()
		}
		if got, more := c.peek(); more {
			t.Fatalf("after the last comes %d", got)
		}
	}
}

// A full chunk takes one more at every place.
func TestRankListSplitsAnywhere(t *testing.T) {
	o := order{1, rosterOf(chunkSize + 1)}
	var all []rankedSlot
	for at := range slot(chunkSize + 1) {
		all = append(all, rankedSlot{o.rank(at), at})
	}
	sorted := o.sort(all)
	for i, at := range sorted {
		list := newRankList(o, slices.Delete(slices.Clone(sorted), i, i+1))
		list.insert(o, at)
		var got []slot
		for _, chunk := range list.chunks {
			got = append(got, chunk.slots...)
		}
		if !slices.Equal(got, sorted) || len(list.chunks) != 2 {
			t.Fatalf("inserting at %d makes %d slots in %d chunks", i, len(got), len(list.chunks))
		}
	}
}

// A chunk that has become small joins its neighbour on either side.
func TestRankListJoinsBothWays(t *testing.T) {
	o := order{1, rosterOf(2 * chunkSize)}
	var all []rankedSlot
	for at := range slot(2 * chunkSize) {
		all = append(all, rankedSlot{o.rank(at), at})
	}
	sorted := o.sort(all)
	for _, halves := range [][2][]slot{
		{sorted[:chunkSize], sorted[chunkSize:]},
		{sorted[chunkSize:], sorted[:chunkSize]},
	} {
		list := newRankList(o, sorted)
		for _, half := range halves {
			for _, at := range half[:chunkSize-chunkSize/4] {
				list.remove(o, at)
			}
		}
		if len(list.chunks) != 1 || list.length != chunkSize/2 {
			t.Errorf("%d slots in %d chunks, want %d in one", list.length, len(list.chunks), chunkSize/2)
		}
	}
}

// Removing what is not there leaves the list as it is.
func TestRankListRemoveIsIdempotent(t *testing.T) {
	o := order{1, rosterOf(4)}
	var list rankList
	list.remove(o, 0)
	list.insert(o, 1)
	list.remove(o, 0)
	if list.length != 1 || len(list.chunks) != 1 {
		t.Errorf("%+v", list)
	}
}

// Slots are given away again, and namespaces forgotten with their last member.
func TestRosterReusesWhatItFrees(t *testing.T) {
	r := newRoster(0)
	for range 3 {
		for i := range 100 {
			r.put(newMember(fleet.Member{Ref: fleet.Ref{Namespace: fmt.Sprint("ns-", i%7), Name: fmt.Sprint(i)}}))
		}
		for i := range 100 {
			_, at, found := r.get(fleet.Ref{Namespace: fmt.Sprint("ns-", i%7), Name: fmt.Sprint(i)})
			if !found {
				t.Fatalf("member %d is gone", i)
			}
			r.remove(at)
		}
	}
	if len(r.members) != 100 || len(r.byRef) != 0 || len(r.byNamespace) != 0 {
		t.Errorf("%d slots, %d refs, %d namespaces; want 100, 0, 0", len(r.members), len(r.byRef), len(r.byNamespace))
	}
}

// Strings that many members have in common are there once, and a member's own
// stay the same however often its state is written.
func TestRosterSharesStrings(t *testing.T) {
	r := newRoster(0)
	put := func(name string) fleet.Ref {
		ref := fleet.Ref{Group: "group", Kind: "Kind", Namespace: "namespace", Name: name}
		for _, field := range []*string{&ref.Group, &ref.Kind, &ref.Namespace, &ref.Name} {
			*field = strings.Clone(*field)
		}
		return r.members[r.put(newMember(fleet.Member{Ref: ref}))].ref
	}
	same := func(a, b string) bool { return unsafe.StringData(a) == unsafe.StringData(b) }
	one, other, again := put("one"), put("other"), put("one")
	if !same(one.Group, other.Group) || !same(one.Kind, other.Kind) || !same(one.Namespace, other.Namespace) {
		t.Error("two members have strings of their own")
	}
	if !same(one.Name, again.Name) || !same(one.Namespace, again.Namespace) {
		t.Error("a member that is written again has new strings")
	}
}
