// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/storage/records/recordstest"
)

var (
	owner = revision.Owner{Kind: "ClusterProfile", Name: "web"}
	one   = fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "civo", Name: "one"}
	two   = fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "civo", Name: "two"}
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// bench is a store, and what it is told.
type bench struct {
	*testing.T
	*Store
	memory *recordstest.Memory
	clock  time.Time
}

func newBench(t *testing.T, limit int) *bench {
	m := recordstest.New()
	return &bench{T: t, Store: NewStore(m, limit), memory: m, clock: start}
}

// restarted is another term on the same records.
func (b *bench) restarted() *bench {
	return &bench{T: b.T, Store: NewStore(b.memory, b.limit), memory: b.memory, clock: b.clock}
}

func (b *bench) begin(spec string) {
	b.Helper()
	b.clock = b.clock.Add(time.Second)
	entry := Entry{Revision: spec, Spec: spec, Cause: CauseSpec, Time: b.clock}
	if _, err := b.Begin(b.Context(), owner, entry, func(context.Context) string { return "alice" }, nil); err != nil {
		b.Fatal(err)
	}
}

// reads is a report of a deployment that read these contents now.
func (b *bench) reads(spec string, contents ...Observed) Report {
	b.clock = b.clock.Add(time.Second)
	for i := range contents {
		contents[i].Read = b.clock
	}
	return Report{Revision: spec, Spec: spec, Time: b.clock, State: StateDeployed, Sources: contents}
}

func (b *bench) deployed(cluster fleet.Ref, report Report) {
	b.Helper()
	if err := b.Deployed(b.Context(), owner, cluster, report); err != nil {
		b.Fatal(err)
	}
}

func configMap(name, value string) Observed {
	return Observed{Key: Key{Kind: "ConfigMap", Namespace: "apps", Name: name}, Content: Content{Data: map[string][]byte{"x": []byte(value)}}}
}

func secret(name, value string) Observed {
	out := configMap(name, value)
	out.Kind = "Secret"
	return out
}

// story is the entries, each with its number, revision, cause and the contents that
// it has, and then what each cluster had.
func (b *bench) story() string {
	b.Helper()
	p, err := b.Profile(b.Context(), owner)
	if err != nil {
		b.Fatal(err)
	}
	var lines []string
	for _, e := range p.Entries {
		line := fmt.Sprintf("%d %s %s", e.Number, e.Revision, e.Cause)
		for _, source := range e.Sources {
			text := "?"
			if content, err := b.Content(b.Context(), source.Digest); err == nil {
				text = string(content.Data["x"])
			}
			line += " " + source.Name + "=" + text
		}
		lines = append(lines, line)
	}
	clusters, err := b.Clusters(b.Context(), owner)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range clusters {
		line := c.Cluster.Name
		for _, d := range c.Deployments {
			line += fmt.Sprintf(" %d:%s", d.Number, d.State)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (b *bench) want(lines ...string) {
	b.Helper()
	if got, want := b.story(), strings.Join(lines, "\n"); got != want {
		b.Errorf("the history is\n%s\nwant\n%s", got, want)
	}
}

func TestSpecsAndContentsAreRevisions(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1")))
	b.deployed(two, b.reads("s1", configMap("a", "1"), configMap("b", "1")))
	b.want("1 s1 Spec a=1 b=1", "one 1:Deployed", "two 1:Deployed")

	b.deployed(one, b.reads("s1", configMap("a", "2")))
	b.want("1 s1 Spec a=1 b=1", "2 s1 Contents a=2 b=1", "one 1:Deployed 2:Deployed", "two 1:Deployed")
	b.deployed(two, b.reads("s1", configMap("a", "2"), configMap("b", "1")))
	b.begin("s2")
	failed := b.reads("s2", configMap("a", "2"))
	failed.State, failed.Message = StateFailed, "no"
	b.deployed(one, failed)
	b.want("1 s1 Spec a=1 b=1", "2 s1 Contents a=2 b=1", "3 s2 Spec a=2", "one 1:Deployed 2:Deployed 3:Failed", "two 1:Deployed 2:Deployed")
	b.deployed(one, b.reads("s2", configMap("a", "2")))
	b.restarted().want("1 s1 Spec a=1 b=1", "2 s1 Contents a=2 b=1", "3 s2 Spec a=2", "one 1:Deployed 2:Deployed 3:Deployed", "two 1:Deployed 2:Deployed")
	p, _ := b.Profile(t.Context(), owner)
	if p.Entries[0].Author != "alice" || p.Entries[1].Author != "" {
		t.Errorf("authors are %q and %q; the contents were not written with the spec", p.Entries[0].Author, p.Entries[1].Author)
	}
}

// A deployment that has read contents before another one found them changed is
// behind, and makes no revision of what is gone.
func TestWhoIsBehindMakesNoRevision(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1")))
	late := b.reads("s1", configMap("a", "1"))
	b.deployed(one, b.reads("s1", configMap("a", "2")))
	b.deployed(two, late)
	b.want("1 s1 Spec a=1", "2 s1 Contents a=2", "one 1:Deployed 2:Deployed", "two 1:Deployed")
	// So does one of a former spec, whenever it read.
	b.begin("s2")
	b.deployed(one, b.reads("s2", configMap("a", "2")))
	b.deployed(two, b.reads("s1", configMap("a", "3")))
	b.want("1 s1 Spec a=1", "2 s1 Contents a=2", "3 s2 Spec a=2", "one 1:Deployed 2:Deployed 3:Deployed", "two 1:Deployed 2:Deployed")
}

// What is no news costs no write, in this term and in the next.
func TestNoNewsIsNotWritten(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1")))
	for _, b := range []*bench{b, b.restarted()} {
		before := b.memory.Writes()
		b.begin("s1")
		b.deployed(one, b.reads("s1", configMap("a", "1")))
		if b.memory.Writes() != before {
			t.Errorf("%d writes", b.memory.Writes()-before)
		}
	}
}

func TestASecretIsHashedAndNotKept(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	b.deployed(one, b.reads("s1", secret("a", "hunter2")))
	b.deployed(one, b.reads("s1", secret("a", "hunter3")))
	b.want("1 s1 Spec a=?", "2 s1 Contents a=?", "one 1:Deployed 2:Deployed")
	for key, value := range b.memory.All() {
		// The value, in base64 as JSON has it, and its plain digest.
		if plain := digest(nil, secret("a", "hunter2").Content); strings.Contains(string(value), "aHVudGVy") || strings.Contains(string(value), plain) {
			t.Errorf("%s has the Secret: %s", key, value)
		}
	}
	p, _ := b.Profile(t.Context(), owner)
	if got := p.SecretHash(secret("a", "hunter2").Content); got != p.Entries[0].Sources[0].Digest {
		t.Errorf("the hash is %s, want %s", got, p.Entries[0].Sources[0].Digest)
	}
}

func TestAContentThatIsTooLargeIsNotKept(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", strings.Repeat("x", maxContent+1))))
	p, _ := b.Profile(t.Context(), owner)
	source := p.Entries[0].Sources[0]
	if _, err := b.Content(t.Context(), source.Digest); !source.Unkept || !errors.Is(err, ErrNotFound) {
		t.Errorf("unkept=%t, %v", source.Unkept, err)
	}
}

// Bounded: the oldest go, but what is in use stays, and what a rollback is to.
func TestTheOldestGo(t *testing.T) {
	b := newBench(t, 3)
	for i := range 5 {
		b.begin(fmt.Sprintf("s%d", i+1))
		b.deployed(one, b.reads(fmt.Sprintf("s%d", i+1), configMap("a", fmt.Sprint(i+1))))
	}
	b.want("3 s3 Spec a=3", "4 s4 Spec a=4", "5 s5 Spec a=5", "one 3:Deployed 4:Deployed 5:Deployed")
	rollback := Entry{Revision: "s3-pinned", Spec: "s3", Cause: CauseRollback, ContentsOf: 3}
	if _, err := b.Begin(t.Context(), owner, rollback, nil, map[string]bool{"s4": true}); err != nil {
		t.Fatal(err)
	}
	b.want("3 s3 Spec a=3", "4 s4 Spec a=4", "6 s3-pinned Rollback", "one 3:Deployed 4:Deployed 5:Deployed")
}

// Also when it is new contents that push them out: a cluster that is behind is still
// deployed from what it has.
func TestWhatIsInUseOutlastsNewContents(t *testing.T) {
	b := newBench(t, 2)
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1")))
	if _, err := b.Begin(t.Context(), owner, Entry{Revision: "s2", Spec: "s2", Cause: CauseSpec}, nil, map[string]bool{"s1": true}); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"2", "3", "4"} {
		b.deployed(two, b.reads("s2", configMap("a", value)))
	}
	b.want("1 s1 Spec a=1", "4 s2 Contents a=4", "one 1:Deployed", "two 3:Deployed 4:Deployed")
}

// What nothing refers to is swept, and what something refers to is not.
func TestSweep(t *testing.T) {
	b := newBench(t, 2)
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1"), configMap("same", "x")))
	b.deployed(two, b.reads("s1", configMap("a", "1")))
	for _, value := range []string{"2", "3"} {
		b.deployed(one, b.reads("s1", configMap("a", value), configMap("same", "x")))
	}
	if swept, err := b.Sweep(t.Context()); err != nil || swept != 2 {
		t.Errorf("swept %d, %v; want a content, and what the other cluster had", swept, err)
	}
	b.want("2 s1 Contents a=2 same=x", "3 s1 Contents a=3 same=x", "one 2:Deployed 3:Deployed")
	if swept, err := b.Sweep(t.Context()); err != nil || swept != 0 {
		t.Errorf("swept %d more, %v", swept, err)
	}
	// What was swept is written again when it is used again.
	b.deployed(two, b.reads("s1", configMap("a", "1")))
	b.want("3 s1 Contents a=3 same=x", "4 s1 Contents a=1 same=x", "one 2:Deployed 3:Deployed", "two 4:Deployed")

	if err := b.Forget(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Sweep(t.Context()); err != nil || len(b.memory.All()) != 0 {
		t.Errorf("left are %v, %v", slices.Collect(maps.Keys(b.memory.All())), err)
	}
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1")))
	b.want("1 s1 Spec a=1", "one 1:Deployed")
}

// While it cannot be known what is referred to, nothing is swept.
func TestADamagedHistoryIsNotSwept(t *testing.T) {
	b := newBench(t, 1)
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1")))
	if err := b.memory.Put(t.Context(), profilesPrefix+"ClusterProfile/_/other", []byte("{")); err != nil {
		t.Fatal(err)
	}
	before := len(b.memory.All())
	if swept, err := b.Sweep(t.Context()); err == nil || swept != 0 || len(b.memory.All()) != before {
		t.Errorf("swept %d, %v", swept, err)
	}
}

// A rollback's contents are what they were, whatever else is read beside them.
func TestARollbackMakesNoRevisionOfContents(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	b.deployed(one, b.reads("s1", configMap("a", "1")))
	p, _ := b.Profile(t.Context(), owner)
	rollback := Entry{Revision: "pinned", Spec: "s1", Cause: CauseRollback, ContentsOf: 1, Sources: p.Entries[0].Sources}
	if _, err := b.Begin(t.Context(), owner, rollback, nil, nil); err != nil {
		t.Fatal(err)
	}
	b.deployed(one, b.reads("pinned", configMap("a", "9")))
	b.want("1 s1 Spec a=1", "2 pinned Rollback a=1", "one 1:Deployed 2:Deployed")
}

func TestNamesakesAreApart(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	longer := revision.Owner{Kind: "ClusterProfile", Name: "web-2"}
	if _, err := b.Begin(t.Context(), longer, Entry{Revision: "x"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Deployed(t.Context(), longer, one, Report{Revision: "x", State: StateDeployed}); err != nil {
		t.Fatal(err)
	}
	b.want("1 s1 Spec")
	owners, err := b.Owners(t.Context())
	if err != nil || len(owners) != 2 {
		t.Errorf("owners are %v, %v", owners, err)
	}
}

// Deployments and sweeps beside each other lose nothing.
func TestConcurrency(t *testing.T) {
	b := newBench(t, 3)
	b.begin("s1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				cluster := one
				cluster.Name = fmt.Sprint("c", i)
				report := Report{Revision: "s1", Spec: "s1", Time: start, State: StateDeployed, Sources: []Observed{configMap("a", fmt.Sprint(j))}}
				if err := b.Deployed(t.Context(), owner, cluster, report); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		if _, err := b.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	p, err := b.Profile(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Entries {
		for _, source := range e.Sources {
			if _, err := b.Content(t.Context(), source.Digest); err != nil {
				t.Errorf("entry %d: %v", e.Number, err)
			}
		}
	}
}

// Contents that differ in anything have another digest, and nothing else does.
func TestDigest(t *testing.T) {
	data := func(pairs ...string) map[string][]byte {
		out := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = []byte(pairs[i+1])
		}
		return out
	}
	contents := []Content{
		{}, {Type: "a"}, {Origin: "a"}, {Annotations: map[string]string{"a": "b"}}, {Data: data("a", "b")}, {Data: data("a", "")},
		{Data: data("ab", "")}, {Data: data("a", "b", "c", "d")}, {Data: data("a", "b1:c1:d")}, {Annotations: map[string]string{"a": "b"}, Data: data("a", "b")},
		{Blobs: []Blob{{Name: "a", Data: []byte("b")}}}, {Blobs: []Blob{{Name: "a", Data: []byte("c")}}}, {Blobs: []Blob{{Name: "a", Data: []byte("c")}, {Name: "a", Data: []byte("c")}}}, {Origin: "b", Blobs: []Blob{{Name: "a"}}},
	}
	seen := map[string]int{}
	for i, content := range contents {
		for _, key := range [][]byte{nil, []byte("k"), []byte("l")} {
			got := digest(key, content)
			if before, known := seen[got]; known {
				t.Errorf("%+v and %+v, key %q: one digest", contents[before], content, key)
			}
			seen[got] = i
			if again := digest(key, content); again != got {
				t.Errorf("%+v: %s and %s", content, got, again)
			}
		}
	}
}
