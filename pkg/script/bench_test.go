// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"io"
	"testing"
)

// BenchmarkEvaluateLua is one evaluation of a batch of 100 objects of 2 KB, through a
// worker process.
func BenchmarkEvaluateLua(b *testing.B) {
	pool := NewPool(Options{Command: command("script-worker")})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	<-pool.Ready()
	batch := LuaBatch{Name: "healthy", Text: healthyDeployment, Argument: "obj"}
	for i := range 100 {
		batch.Values = append(batch.Values, deployment(i))
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%len(batch.Values) != 0 {
			continue // it was part of the batch before
		}
		answers, err := pool.EvaluateLua(ctx, batch)
		if err != nil {
			b.Fatal(err)
		}
		if yes, _, err := answers[99].Verdict("healthy"); !yes || err != nil {
			b.Fatal(yes, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// BenchmarkServeLua is the worker's part of it.
func BenchmarkServeLua(b *testing.B) {
	codec, err := newLuaCodec()
	if err != nil {
		b.Fatal(err)
	}
	data, err := codec.Marshal(map[string]any{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		encoded, err := codec.Marshal(deployment(i))
		if err != nil {
			b.Fatal(err)
		}
		data = append(data, encoded...)
	}
	req := &luaRequest{Argument: "obj", Bytes: MaxOutput, Elements: maxLuaElements, Slice: int64(DefaultWallLimit)}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%100 != 0 {
			continue // it was part of the batch before
		}
		if err := serveLua(io.Discard, req, healthyDeployment, data); err != nil {
			b.Fatal(err)
		}
	}
}
