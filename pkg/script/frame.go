// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Parent and worker talk in frames: four bytes of length, big endian, and that many bytes
// of payload. The parent begins with a frame of settings, and the worker answers with a
// frame of readiness. Then the parent sends a frame of request and one with the text of
// the template or script, which is a frame of its own because JSON would replace what is
// not UTF-8 in it, and because that makes its limit exact.
//
// A template is answered with a frame of result, followed, unless that tells of an error,
// by one with the output. A script's request has a third frame with what it is given, and
// is answered with frames of answers; see luawire.go. A program's request has as many frames
// more as it says, and is answered as a template is.

// maxHeader bounds the frames whose size no user decides, in bytes.
const maxHeader = 64 << 10

// settings is what a worker is told before its first request.
type settings struct {
	// MemoryLimit in bytes, of everything that the worker may write to.
	MemoryLimit int64 `json:"memoryLimit"`
}

// readiness is a worker's answer to its settings.
type readiness struct {
	// Error says why the worker ends without serving; empty if it serves.
	Error string `json:"error,omitempty"`
}

// request is the head of an evaluation; the text follows.
type request struct {
	Name string `json:"name"`
	// Data is a template's.
	Data json.RawMessage `json:"data,omitempty"`
	// Lua is set if the text is a script; a frame of data follows it.
	Lua *luaRequest `json:"lua,omitempty"`
	// Program is set if a program is to be run; the text is empty, and frames with the
	// input follow it.
	Program *programRequest `json:"program,omitempty"`
}

// result is the head of an answer; the output follows if both fields are empty.
type result struct {
	// Template is set if the template is at fault.
	Template *TemplateError `json:"template,omitempty"`
	// OutputExceeded is set if the output was longer than MaxOutput.
	OutputExceeded bool `json:"outputExceeded,omitempty"`
}

var errFrameTooLong = errors.New("frame exceeds its limit")

func writeFrame(w io.Writer, payload []byte) error {
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(payload)))
	if _, err := w.Write(head[:]); err != nil {
		return fmt.Errorf("writing a frame's length: %w", err)
	}
	if _, err := w.Write(payload); err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	return nil
}

// readFrame reads one frame of at most limit bytes. It allocates nothing for a longer
// one. io.EOF, unwrapped, means that the other side closed between frames.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("reading a frame's length: %w", err)
	}
	length := binary.BigEndian.Uint32(head[:])
	if int64(length) > int64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errFrameTooLong, length, limit)
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the length promised more
		}
		return nil, fmt.Errorf("reading a frame: %w", err)
	}
	return payload, nil
}

func writeJSON(w io.Writer, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a frame: %w", err)
	}
	return writeFrame(w, payload)
}

func readJSON(r io.Reader, limit int, v any) error {
	payload, err := readFrame(r, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("decoding a frame: %w", err)
	}
	return nil
}
