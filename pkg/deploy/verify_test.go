// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The record of a pass that has nothing to change may be deleted before the pass ends: what
// is on the cluster would be nobody's then, if the pass said that all is well.
func TestAPassNoticesThatItsRecordIsGone(t *testing.T) {
	b := newBench(t)
	request := Request{Revision: "web-1", Objects: resources(configMap(t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1.0.0")}}}
	b.mustDeploy(request)
	request.Charts.Charts = append(request.Charts.Charts, chart("redis", "1.0.0"))
	b.mustDeploy(request)
	request.Charts.Charts[1].Ref.Version = "2.0.0"
	b.charts.hook = func(call string) {
		if call != "load redis" {
			return
		}
		b.shelf.mu.Lock()
		defer b.shelf.mu.Unlock()
		clear(b.shelf.values)
	}
	if result := b.deploy(request); !errors.Is(result.Err, errRecordGone) {
		t.Errorf("the pass says %v, %v", result.Features, result.Err)
	}
	b.charts.hook = nil
	b.mustDeploy(request)
	if got := strings.Join(keys(b.record(owner("web", 100))), " "); got != "a release apps/nginx release apps/redis" {
		t.Errorf("after the next pass the record has %s", got)
	}
}

// BenchmarkVerify is a pass over many objects of which none has changed.
func BenchmarkVerify(b *testing.B) {
	for _, count := range []int{100, 2000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			bench := newBench(b)
			var objects []Object
			for i := range count {
				objects = append(objects, configMap(b, fmt.Sprintf("verified-%d", i), "value"))
			}
			request := Request{Owner: owner("web", 100), Summary: "web", Revision: "r1", Objects: resources(objects...)}
			bench.mustDeploy(request)
			before := len(bench.wire.requests)
			for b.Loop() {
				bench.mustDeploy(request)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/object")
			if after := len(bench.wire.requests); after != before {
				b.Fatalf("%d requests were made", after-before)
			}
		})
	}
}
