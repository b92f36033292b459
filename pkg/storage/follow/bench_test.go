// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/follow"
)

const (
	writePeriod = 50 * time.Millisecond // 20/s
	readPeriod  = 5 * time.Millisecond  // 200/s
)

// BenchmarkWaitCurrent reads at 200/s, whether earlier reads have ended or not, while 20 writes/s go
// into a followed range, with a disk that is synced. It reports percentiles of the latency.
func BenchmarkWaitCurrent(b *testing.B) {
	server, err := etcd.Start(b.Context(), etcd.Config{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	client := etcdtest.NewClient(b, server)
	for name, opts := range map[string]follow.Options{
		"consensus": {},
		"embedded":  {CurrentRevision: server.Revision},
	} {
		b.Run(name, func(b *testing.B) {
			m := newMirror()
			f, _ := m.start(b, client, opts)
			if err := f.WaitSynced(b.Context()); err != nil {
				b.Fatal(err)
			}
			writing, stopWriting := context.WithCancel(b.Context())
			var working sync.WaitGroup
			working.Go(func() {
				for ticker := time.NewTicker(writePeriod); writing.Err() == nil; <-ticker.C {
					put(b, client, keyIn(followed[0], 1), time.Now().String())
				}
			})
			took := make([]time.Duration, b.N)
			ticker := time.NewTicker(readPeriod)
			b.ResetTimer()
			var reading sync.WaitGroup
			for i := range took {
				<-ticker.C
				start := time.Now()
				reading.Go(func() {
					if _, err := f.WaitCurrent(b.Context()); err != nil {
						b.Error(err)
					}
					took[i] = time.Since(start)
				})
			}
			reading.Wait()
			b.StopTimer()
			stopWriting()
			working.Wait()
			slices.Sort(took)
			b.ReportMetric(milliseconds(took[len(took)/2]), "p50-ms")
			b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
			b.ReportMetric(milliseconds(took[len(took)-1]), "max-ms")
		})
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
