// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rendering

import (
	"context"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"github.com/muster-project/muster/pkg/script"
)

// programName is the name of the Program.
const programName = "chart"

// workerRequest is the first part of what the program is given; the archive is the second,
// and those of its dependencies follow.
// It travels as CBOR, which carries text that is not UTF-8 and tells whole numbers from
// others.
type workerRequest struct {
	Values       map[string]any
	Release      Release
	Capabilities Capabilities
	SkipSchema   bool
	Found        []found
}

// found is what a Query found: an object, nothing, or an error.
type found struct {
	Query  Query
	Object map[string]any
	Error  string
}

// workerAnswer is the output of the program.
type workerAnswer struct {
	Files map[string]string
	Facts facts
	// Missing is what the chart has looked up and what is not known. The rest means
	// nothing then.
	Missing []Query
	// Error says why the chart cannot be rendered.
	Error string
}

func encoding() (cbor.EncMode, cbor.DecMode, error) {
	enc, err := cbor.EncOptions{Sort: cbor.SortBytewiseLexical}.EncMode()
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the encoding of charts: %w", err)
	}
	dec, err := cbor.DecOptions{
		DefaultMapType: reflect.TypeFor[map[string]any](), IntDec: cbor.IntDecConvertSignedOrFail, UTF8: cbor.UTF8DecodeInvalid,
		MaxNestedLevels: 1000, MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20,
	}.DecMode()
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the decoding of charts: %w", err)
	}
	return enc, dec, nil
}

// work has a worker render the chart.
func (q Request) work(ctx context.Context, workers Workers, known []found) (*workerAnswer, error) {
	enc, dec, err := encoding()
	if err != nil {
		return nil, err
	}
	head, err := enc.Marshal(workerRequest{
		Values: q.Values, Release: q.Release, Capabilities: q.Capabilities, SkipSchema: q.SkipSchema, Found: known,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding what a chart is rendered with: %w", err)
	}
	output, err := workers.Work(ctx, script.Work{Program: programName, Name: "the chart's templates", Input: append([][]byte{head, q.Archive}, q.Dependencies...)})
	if err != nil {
		return nil, err
	}
	answer := &workerAnswer{}
	if err := dec.Unmarshal(output, answer); err != nil {
		return nil, fmt.Errorf("%w: decoding its answer: %w", script.ErrWorker, err)
	}
	return answer, nil
}
