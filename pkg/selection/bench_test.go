// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// The fleet of the benchmarks: 100 sets, each of which matches a quarter of
// the clusters and selects up to 100. A cluster has five labels and nine of
// ten are ready.
const (
	benchSets     = 100
	benchReplicas = 100
)

func benchSizes() []int {
	return []int{100, 1_000, 10_000, 100_000}
}

func benchMember(i int) fleet.Member {
	return fleet.Member{
		Ref: fleet.Ref{
			Group:     "lib.projectsveltos.io",
			Kind:      "SveltosCluster",
			Namespace: fmt.Sprint("region-", i%8),
			Name:      fmt.Sprintf("cluster-%06d", i),
		},
		UID: types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", i)),
		Labels: map[string]string{
			"env":                              []string{"prod", "staging", "test", "dev"}[i/8%4],
			"region":                           fmt.Sprint("region-", i%8),
			"site":                             fmt.Sprintf("site-%05d", i/10),
			"projectsveltos.io/k8s-version":    "v1.37.0",
			"sveltos-agent.projectsveltos.io/": "present",
		},
		Ready:     i%10 != 0,
		EverReady: true,
	}
}

func benchKey(i int) selection.SetKey {
	return selection.SetKey{Kind: selection.KindClusterSet, Name: fmt.Sprint("set-", i)}
}

func benchState(clusters, sets int) selection.State {
	var state selection.State
	for i := range clusters {
		state.Members = append(state.Members, benchMember(i))
	}
	for i := range sets {
		env := []string{"prod", "staging", "test", "dev"}[i%4]
		spec := selection.Spec{
			Set:         benchKey(i),
			Selector:    labels.SelectorFromSet(labels.Set{"env": env}),
			MaxReplicas: benchReplicas,
		}
		state.Sets = append(state.Sets, selection.SetState{Spec: spec})
	}
	return state
}

// persisted stores what every set selects, as the controller would.
func persisted(tb testing.TB, index *selection.Index, state selection.State) {
	tb.Helper()
	for _, set := range state.Sets {
		result, err := index.Result(set.Spec.Set)
		if err != nil {
			tb.Fatal(err)
		}
		index.PutSet(set.Spec, selection.Stored{Selected: result.Selected, Count: len(result.Selected)})
	}
}

func forSizes(b *testing.B, run func(b *testing.B, clusters int)) {
	for _, clusters := range benchSizes() {
		b.Run(fmt.Sprintf("clusters=%d", clusters), func(b *testing.B) { run(b, clusters) })
	}
}

// BenchmarkCompute is the decision alone, over candidates that are prepared.
func BenchmarkCompute(b *testing.B) {
	forSizes(b, func(b *testing.B, clusters int) {
		state := benchState(clusters, 1)
		spec := state.Sets[0].Spec
		candidates := selection.NewCandidates(spec, state.Members, nil)
		previous := selection.Compute(spec, nil, candidates).Selected
		b.ReportAllocs()
		for b.Loop() {
			selection.Compute(spec, previous, candidates)
		}
	})
}

// BenchmarkIndexSelection is one read of a page of 100, of a result that is
// there, and of one that the change before it has made stale.
func BenchmarkIndexSelection(b *testing.B) {
	forSizes(b, func(b *testing.B, clusters int) {
		state := benchState(clusters, benchSets)
		index := selection.NewIndex()
		index.Load(state)
		persisted(b, index, state)
		read := func(b *testing.B, i int, query selection.Query) {
			if _, err := index.Selection(benchKey(i%benchSets), query); err != nil {
				b.Fatal(err)
			}
		}
		b.Run("cached", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				read(b, i, selection.Query{})
			}
		})
		b.Run("stale", func(b *testing.B) {
			b.ReportAllocs()
			m := benchMember(1)
			for b.Loop() {
				m.Ready = !m.Ready
				index.PutMember(m)
				read(b, 0, selection.Query{})
			}
		})
		b.Run("NotMatching", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				read(b, i, selection.Query{Reason: selection.NotMatching})
			}
		})
	})
}

// BenchmarkIndexUpdate is one write with 100 sets.
func BenchmarkIndexUpdate(b *testing.B) {
	forSizes(b, func(b *testing.B, clusters int) {
		index := selection.NewIndex()
		index.Load(benchState(clusters, benchSets))
		changes := []struct {
			name   string
			change func(m *fleet.Member, i int)
		}{
			{"nothing", func(*fleet.Member, int) {}},
			{"health", func(m *fleet.Member, i int) { m.Ready = i/clusters%2 == 0 != m.Ready }},
			{"labels", func(m *fleet.Member, i int) {
				if i/clusters%2 == 0 {
					m.Labels["env"] = map[string]string{"prod": "dev", "staging": "prod", "test": "staging", "dev": "test"}[m.Labels["env"]]
				}
			}},
		}
		for _, c := range changes {
			b.Run(c.name, func(b *testing.B) {
				members := make([]fleet.Member, 1024)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%len(members) == 0 {
						b.StopTimer()
						for j := range members {
							members[j] = benchMember((i + j) % clusters)
							c.change(&members[j], i+j)
						}
						b.StartTimer()
					}
					index.PutMember(members[i%len(members)])
				}
			})
		}
		b.Run("comes and goes", func(b *testing.B) {
			m := benchMember(clusters)
			b.ReportAllocs()
			for b.Loop() {
				index.PutMember(m)
				index.DeleteMember(m.Ref)
			}
		})
	})
}

// BenchmarkIndexLoad is a start: everything at once, and what it then takes.
func BenchmarkIndexLoad(b *testing.B) {
	forSizes(b, func(b *testing.B, clusters int) {
		state := benchState(clusters, benchSets)
		for b.Loop() {
			selection.NewIndex().Load(state)
		}
		b.ReportMetric(indexSize(b, clusters, benchSets)/1e6, "MB")
	})
}

// BenchmarkReadsBesideWrites is how long reads take that come at 200/s, while
// members are written as fast as the index takes them, one of a hundred with a
// change of health.
func BenchmarkReadsBesideWrites(b *testing.B) {
	const rate = 200
	state := benchState(100_000, benchSets)
	index := selection.NewIndex()
	index.Load(state)
	persisted(b, index, state)
	var stop atomic.Bool
	var writer sync.WaitGroup
	writes := 0
	writer.Go(func() {
		for ; !stop.Load(); writes++ {
			m := state.Members[writes*7919%len(state.Members)]
			m.Ready = m.Ready != (writes%100 == 0)
			index.PutMember(m)
		}
	})
	var took []time.Duration
	start := time.Now()
	due := time.NewTicker(time.Second / rate)
	defer due.Stop()
	for i := 0; b.Loop(); i++ {
		<-due.C
		begun := time.Now()
		if _, err := index.Selection(benchKey(i%benchSets), selection.Query{}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	elapsed := time.Since(start)
	stop.Store(true)
	writer.Wait()
	slices.Sort(took)
	microseconds := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Nanoseconds()) / 1e3
	}
	b.ReportMetric(microseconds(0.5), "p50-µs")
	b.ReportMetric(microseconds(0.99), "p99-µs")
	b.ReportMetric(microseconds(1), "max-µs")
	b.ReportMetric(float64(writes)/elapsed.Seconds(), "writes/s")
}

// indexSize measures the heap that an index takes with all that hangs on it,
// in bytes: results, and the names, labels and UIDs of its members.
func indexSize(tb testing.TB, clusters, sets int) float64 {
	tb.Helper()
	before := heapInUse()
	index := selection.NewIndex()
	state := benchState(clusters, sets)
	index.Load(state)
	persisted(tb, index, state)
	state = selection.State{}
	after := heapInUse()
	runtime.KeepAlive(index)
	return float64(after) - float64(before)
}

func heapInUse() uint64 {
	for range 3 { // what weak pointers hold takes more than one
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// An index of a large fleet fits beside everything else in the server.
func TestMemory(t *testing.T) {
	const clusters, sets = 20_000, 50
	alone := indexSize(t, clusters, 0)
	perMember := alone / clusters
	perPlace := (indexSize(t, clusters, sets) - alone) / (sets * clusters)
	t.Logf("%.0f bytes per member, %.1f per member and set", perMember, perPlace)
	if perMember > 600 || perPlace > 8 {
		t.Errorf("%.0f bytes per member, %.1f per member and set; want at most 600 and 8", perMember, perPlace)
	}
}
