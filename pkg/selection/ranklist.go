// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"cmp"
	"slices"
)

// chunkSize is the most slots in one chunk of a rankList. An insertion moves
// half of that, 1 KB, on average.
const chunkSize = 512

// order is the rank order of one set over a roster.
type order struct {
	seed   uint64
	roster *roster
}

func (o order) rank(at slot) uint64 {
	return rankOf(o.seed, o.roster.hashes[at])
}

func (o order) position(at slot) position {
	return position{o.rank(at), o.roster.members[at].ref}
}

// compare looks at the ref only where ranks are equal, which almost never
// happens: a rank is computed from one array, a ref is a jump in memory.
func (o order) compare(at slot, to position) int {
	if c := cmp.Compare(o.rank(at), to.rank); c != 0 {
		return c
	}
	return o.roster.members[at].ref.Compare(to.ref)
}

// rankList is a sorted list of slots. It is cut into chunks, so that a change
// costs the same in a list of 100,000 as in one of 1,000, and one entry takes
// 4 bytes. All its methods need the order that it was made with.
type rankList struct {
	chunks []chunk
	length int
}

// chunk is a part of a rankList, never empty.
type chunk struct {
	slots []slot
	last  uint64 // the rank of the last slot, so that a search jumps to one chunk
}

// newRankList makes a list of slots that are sorted already.
func newRankList(o order, sorted []slot) rankList {
	l := rankList{length: len(sorted)}
	for part := range slices.Chunk(sorted, chunkSize) {
		l.chunks = append(l.chunks, newChunk(o, part))
	}
	return l
}

// newChunk copies the slots: memory shared by chunks would live as long as any
// of them.
func newChunk(o order, slots []slot) chunk {
	return chunk{slots: slices.Clone(slots), last: o.rank(slots[len(slots)-1])}
}

// set takes the chunk's new slots.
func (c *chunk) set(o order, slots []slot) {
	c.slots = slots
	c.last = o.rank(slots[len(slots)-1])
}

// search returns the cursor at the first slot not before p, and whether that
// slot is at p.
func (l *rankList) search(o order, p position) (cursor, bool) {
	i, _ := slices.BinarySearchFunc(l.chunks, p, func(c chunk, p position) int {
		if before := cmp.Compare(c.last, p.rank); before != 0 {
			return before
		}
		return o.compare(c.slots[len(c.slots)-1], p)
	})
	if i == len(l.chunks) {
		return cursor{l, i, 0}, false
	}
	index, found := slices.BinarySearchFunc(l.chunks[i].slots, p, o.compare)
	return cursor{l, i, index}, found
}

// insert adds a slot that is not in the list.
func (l *rankList) insert(o order, at slot) {
	l.length++
	if len(l.chunks) == 0 {
		l.chunks = append(l.chunks, newChunk(o, []slot{at}))
		return
	}
	c, _ := l.search(o, o.position(at))
	if c.chunk == len(l.chunks) { // behind the last
		c.chunk--
		c.index = len(l.chunks[c.chunk].slots)
	}
	if len(l.chunks[c.chunk].slots) == chunkSize {
		c = l.split(o, c)
	}
	into := &l.chunks[c.chunk]
	into.set(o, slices.Insert(into.slots, c.index, at))
}

// split halves the cursor's chunk and returns where the cursor is then.
func (l *rankList) split(o order, c cursor) cursor {
	const half = chunkSize / 2
	full := l.chunks[c.chunk].slots
	l.chunks[c.chunk] = newChunk(o, full[:half])
	l.chunks = slices.Insert(l.chunks, c.chunk+1, newChunk(o, full[half:]))
	if c.index > half {
		return cursor{l, c.chunk + 1, c.index - half}
	}
	return c
}

// remove takes a slot out; its member is still in the roster.
func (l *rankList) remove(o order, at slot) {
	c, found := l.search(o, o.position(at))
	if !found {
		return
	}
	l.length--
	from := &l.chunks[c.chunk]
	if len(from.slots) == 1 {
		l.chunks = slices.Delete(l.chunks, c.chunk, c.chunk+1)
		return
	}
	from.set(o, slices.Delete(from.slots, c.index, c.index+1))
	l.join(o, c.chunk)
}

// join keeps chunks from becoming many and small: two neighbours that fit into
// half a chunk, and so have room to grow there, become one.
func (l *rankList) join(o order, i int) {
	for _, left := range [...]int{i - 1, i} {
		if left < 0 || left+1 == len(l.chunks) {
			continue
		}
		one, other := &l.chunks[left], l.chunks[left+1]
		if len(one.slots)+len(other.slots) <= chunkSize/2 {
			one.set(o, append(one.slots, other.slots...))
			l.chunks = slices.Delete(l.chunks, left+1, left+2)
			return
		}
	}
}

// cursor is a place in a rankList, valid until the list changes.
type cursor struct {
	list  *rankList
	chunk int
	index int
}

func (l *rankList) first() cursor {
	return cursor{l, 0, 0}
}

// after returns the cursor at the first slot behind p.
func (l *rankList) after(o order, p position) cursor {
	c, found := l.search(o, p)
	if found {
		c.next()
	}
	return c
}

func (c *cursor) peek() (at slot, more bool) {
	if c.chunk == len(c.list.chunks) {
		return 0, false
	}
	return c.list.chunks[c.chunk].slots[c.index], true
}

func (c *cursor) next() {
	c.index++
	if c.index == len(c.list.chunks[c.chunk].slots) {
		c.chunk, c.index = c.chunk+1, 0
	}
}

// before counts the slots that the cursor has passed.
func (c *cursor) before() int {
	count := c.index
	for i := range c.chunk {
		count += len(c.list.chunks[i].slots)
	}
	return count
}

// rankedSlot carries the rank along while slots are sorted.
type rankedSlot struct {
	rank uint64
	at   slot
}

func (o order) sort(slots []rankedSlot) []slot {
	slices.SortFunc(slots, func(a, b rankedSlot) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		return o.roster.members[a.at].ref.Compare(o.roster.members[b.at].ref)
	})
	sorted := make([]slot, len(slots))
	for i, s := range slots {
		sorted[i] = s.at
	}
	return sorted
}
