// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestFramesArriveAsTheyWereSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payloads := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "payloads")
		var wire bytes.Buffer
		for _, payload := range payloads {
			if err := writeFrame(&wire, payload); err != nil {
				t.Fatal(err)
			}
		}
		in := iotest.OneByteReader(&wire)
		for _, want := range payloads {
			got, err := readFrame(in, len(want))
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("got %q %v, want %q", got, err, want)
			}
		}
		if _, err := readFrame(in, 1); err != io.EOF {
			t.Fatalf("after the last frame: %v, want io.EOF", err)
		}
	})
}

func TestBrokenFrames(t *testing.T) {
	for name, tc := range map[string]struct {
		wire string
		want error
	}{
		"too long":             {"\x00\x00\x00\x09123456789", errFrameTooLong},
		"length beyond int32":  {"\xff\xff\xff\xff", errFrameTooLong},
		"cut in the length":    {"\x00\x00", io.ErrUnexpectedEOF},
		"cut in the payload":   {"\x00\x00\x00\x08123", io.ErrUnexpectedEOF},
		"cut after the length": {"\x00\x00\x00\x08", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readFrame(strings.NewReader(tc.wire), 8)
			if !errors.Is(err, tc.want) || errors.Is(err, io.EOF) {
				t.Errorf("got %q %v, want an error that wraps %v", got, err, tc.want)
			}
		})
	}
}

func TestWritingToNobody(t *testing.T) {
	reader, writer := io.Pipe()
	reader.Close()
	if err := writeJSON(writer, result{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

// exchange speaks the parent's side of the protocol with a worker in this process.
func exchange(t *testing.T, wire *bytes.Buffer, name, text string) {
	t.Helper()
	head, err := json.Marshal(request{Name: name, Data: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeFrame(wire, head), writeFrame(wire, []byte(text))); err != nil {
		t.Fatal(err)
	}
}

func TestServeAnswersInOrder(t *testing.T) {
	var in, out bytes.Buffer
	exchange(t, &in, "first", "{{ 1 }}")
	exchange(t, &in, "second", "{{ .x }}")
	exchange(t, &in, "third", "{{ 3 }}")
	if err := serve(&in, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "", "3"} {
		var res result
		if err := readJSON(&out, maxHeader, &res); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			if res.Template == nil || res.Template.Name != "second" {
				t.Errorf("got %v, want the second's error", res.Template)
			}
			continue
		}
		output, err := readFrame(&out, MaxOutput)
		if err != nil || string(output) != want {
			t.Errorf("got %q %v, want %q", output, err, want)
		}
	}
}

func TestServeEndsWithItsInput(t *testing.T) {
	var whole bytes.Buffer
	exchange(t, &whole, "test", "{{ 1 }}")
	for length := range whole.Len() + 1 {
		err := serve(bytes.NewReader(whole.Bytes()[:length]), io.Discard)
		if clean := length == 0 || length == whole.Len(); clean != (err == nil) {
			t.Errorf("input cut after %d of %d bytes: %v", length, whole.Len(), err)
		}
	}
	if err := ServeWorker(strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("a worker that nobody asks anything: %v", err)
	}
	if err := ServeWorker(strings.NewReader("\x00\x00\x00\x02{}"), io.Discard); err == nil {
		t.Error("a worker without a memory limit serves")
	}
}

func TestServeRefusesNonsense(t *testing.T) {
	for name, wire := range map[string]string{
		"no JSON":        "\x00\x00\x00\x01x",
		"oversized head": "\x7f\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			if err := serve(strings.NewReader(wire), io.Discard); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}
