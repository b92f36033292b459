// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"fmt"
	"io"
)

// luaTask asks a worker to evaluate a script with some values.
type luaTask struct {
	head, text, data []byte
	count            int
	codec            *luaCodec

	replies []luaReply
	// bytes and elements are what the replies have.
	bytes, elements int
	// fault is set if the script cannot be evaluated at all.
	fault *luaReply
}

var errTooManyReplies = errors.New("the worker answered what it was not asked for")

func (x *luaTask) frames() [][]byte { return [][]byte{x.head, x.text, x.data} }

func (x *luaTask) receive(out io.Reader, progress func()) error {
	x.replies, x.bytes, x.elements, x.fault = nil, 0, 0, nil
	for {
		frame, err := readFrame(out, maxLuaFrame)
		if err != nil {
			return err
		}
		progress()
		if len(frame) == 0 {
			return io.ErrUnexpectedEOF
		}
		kind, items := frame[0], frame[1:]
		switch {
		case kind == luaFault:
			x.fault = &luaReply{}
			if err := x.codec.Unmarshal(items, x.fault); err != nil {
				return fmt.Errorf("decoding an answer: %w", err)
			}
			return nil
		case kind != luaMore && kind != luaLast:
			return fmt.Errorf("decoding an answer: it begins with %q", kind)
		}
		if err := x.add(items); err != nil {
			return err
		}
		if kind == luaLast {
			return nil
		}
	}
}

// add decodes a sequence of replies.
func (x *luaTask) add(items []byte) error {
	x.bytes += len(items)
	for len(items) > 0 {
		if len(x.replies) == x.count {
			return errTooManyReplies
		}
		var reply luaReply
		rest, err := x.codec.UnmarshalFirst(items, &reply)
		if err != nil {
			return fmt.Errorf("decoding an answer: %w", err)
		}
		items = rest
		x.elements += luaElements(reply.Value)
		x.replies = append(x.replies, reply)
	}
	return nil
}
