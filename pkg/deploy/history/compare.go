// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"slices"
	"strings"
	"time"
)

// identified is a source that was read, with the digest of its content.
type identified struct {
	Source
	content Content
	read    time.Time
}

// identify digests what was read. A source that was read twice counts once, as it
// was read last.
func identify(p *Profile, observed []Observed) []identified {
	byKey := map[Key]identified{}
	for _, o := range observed {
		key := []byte(nil)
		if isSecret(o.Kind) {
			key = p.Salt
		}
		source := Source{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Digest: digest(key, o.Content), Unkept: size(o.Content) > maxContent}
		byKey[o.Key] = identified{Source: source, content: o.Content, read: o.Read}
	}
	out := make([]identified, 0, len(byKey))
	for _, i := range byKey {
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b identified) int { return strings.Compare(a.Key().String(), b.Key().String()) })
	return out
}

func size(content Content) int {
	total := 0
	for _, data := range content.Data {
		total += len(data)
	}
	for _, blob := range content.Blobs {
		total += len(blob.Data)
	}
	return total
}

// change is how what was read differs from an entry.
type change struct {
	added, changed []identified
	// moved are those that have changed and begin no new entry.
	moved []identified
	// stale says that something was read before it became what the entry has.
	stale bool
}

// compare finds what is new. read is when the entry's contents were read, as far as
// that is known.
func compare(entry Entry, seen []identified, read map[Key]time.Time) change {
	had := map[Key]string{}
	for _, source := range entry.Sources {
		had[source.Key()] = source.Digest
	}
	var out change
	for _, source := range seen {
		digest, known := had[source.Key()]
		switch {
		case !known:
			out.added = append(out.added, source)
		case digest == source.Digest:
		case source.read.Before(read[source.Key()]):
			out.stale = true
		case isObject(source.Kind):
			out.moved = append(out.moved, source)
		default:
			out.changed = append(out.changed, source)
		}
	}
	return out
}

// news are all that differ.
func (c change) news() []identified { return slices.Concat(c.added, c.changed, c.moved) }

// merge is what an entry has with what was read in place of what it had.
func merge(sources []Source, c change) []Source {
	out := slices.Clone(sources)
	for _, source := range slices.Concat(c.changed, c.moved) {
		at := slices.IndexFunc(out, func(s Source) bool { return s.Key() == source.Key() })
		out[at] = source.Source
	}
	for _, source := range c.added {
		out = append(out, source.Source)
	}
	slices.SortFunc(out, func(a, b Source) int { return strings.Compare(a.Key().String(), b.Key().String()) })
	return out
}

// lastOf is the place of the newest entry of a revision, -1 if there is none.
func lastOf(entries []Entry, revision string) int {
	for i, entry := range slices.Backward(entries) {
		if entry.Revision == revision {
			return i
		}
	}
	return -1
}

// matchingEntry is the number of the newest entry of a revision that has what was
// read, and where none has, that of the newest.
func matchingEntry(entries []Entry, revision string, seen []identified) int64 {
	for _, entry := range slices.Backward(entries) {
		if entry.Revision == revision && len(compare(entry, seen, nil).changed) == 0 {
			return entry.Number
		}
	}
	return entries[lastOf(entries, revision)].Number
}
