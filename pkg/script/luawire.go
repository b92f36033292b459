// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// What scripts are given and return travels as CBOR: unlike JSON it carries strings that
// are not UTF-8 and tells whole numbers from others, and it costs half.
//
// The data frame of a request is a sequence of CBOR items: the globals, a map, and then
// one value for each evaluation. An answer frame is a byte that says what comes after it,
// and a sequence of luaReply.

// Limits of scripts that have nothing to do with one evaluation.
const (
	// maxLuaData bounds a data frame. One value has at most MaxData, and so have the
	// globals.
	maxLuaData = 2*MaxData + maxHeader
	// maxLuaValues is how many evaluations one request may ask for.
	maxLuaValues = 4096
	// luaFlushSize is how much of answers is held back, in bytes.
	luaFlushSize = 1 << 20
	// maxLuaFrame bounds an answer frame: what was held back, and one more answer.
	maxLuaFrame = luaFlushSize + MaxOutput + maxHeader
	// maxLuaElements is how many values and keys all evaluations of a batch may return
	// together. A byte on the wire may be 300 of the parent's memory.
	maxLuaElements = 1 << 17
	// maxLuaDepth is how deep tables may be nested in what a script returns. Objects of
	// Kubernetes with schemas in them come to 60.
	maxLuaDepth = 100
)

// What an answer frame is.
const (
	luaMore  = 'm' // answers, and another frame follows
	luaLast  = 'l' // answers, and the worker is ready for the next request
	luaFault = 'f' // one luaReply about the script as a whole: nothing was evaluated
)

// luaRequest is what the head of a request says about a script.
type luaRequest struct {
	// Argument is the global that holds what each evaluation is given.
	Argument string `json:"argument"`
	// Bytes and Elements are what the evaluations may still return.
	Bytes    int `json:"bytes"`
	Elements int `json:"elements"`
	// Slice is when the worker takes no further value, in nanoseconds from the
	// beginning. The parent asks again for the rest.
	Slice int64 `json:"slice"`
	// Careful has each answer sent at once, so that if the worker dies it is known of
	// which evaluation it died.
	Careful bool `json:"careful,omitempty"`
}

// luaReply is the answer of one evaluation.
type luaReply struct {
	Value any `cbor:"1,keyasint,omitempty"`
	// Message is set if the script is at fault, and Line if it is known where.
	Message string `cbor:"2,keyasint,omitempty"`
	Line    int    `cbor:"3,keyasint,omitempty"`
	// OutputExceeded is set if what was returned is too much.
	OutputExceeded bool `cbor:"4,keyasint,omitempty"`
}

// luaCodec reads and writes the items on the wire.
type luaCodec struct {
	cbor.EncMode
	cbor.DecMode
}

func newLuaCodec() (*luaCodec, error) {
	// Sorted, so that scripts see one order of keys. luaItems reads no short floats.
	enc, err := cbor.EncOptions{Sort: cbor.SortBytewiseLexical, ShortestFloat: cbor.ShortestFloatNone}.EncMode()
	if err != nil {
		return nil, fmt.Errorf("preparing the encoding of scripts' data: %w", err)
	}
	dec, err := cbor.DecOptions{
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		IntDec:           cbor.IntDecConvertSignedOrFail,
		UTF8:             cbor.UTF8DecodeInvalid,
		MaxNestedLevels:  2 * maxLuaDepth,
		MaxArrayElements: 1 << 20,
		MaxMapPairs:      1 << 20,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("preparing the decoding of scripts' data: %w", err)
	}
	return &luaCodec{enc, dec}, nil
}
