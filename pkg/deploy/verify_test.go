// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"testing"
)

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
