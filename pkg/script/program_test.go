// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// testPrograms are what the workers of tests have besides templates and Lua.
func testPrograms() []Program {
	return []Program{
		{Name: "join", Run: func(input [][]byte) []byte { return bytes.Join(input, []byte("|")) }},
		{Name: "hang", Run: func([][]byte) []byte {
			time.Sleep(time.Hour)
			return nil
		}},
		{Name: "spin", Run: func([][]byte) []byte {
			for i := 0; ; i++ {
				if i < 0 {
					return nil
				}
			}
		}},
		{Name: "eat", Run: func([][]byte) []byte {
			var eaten [][]byte
			for len(eaten) < 1<<20 {
				eaten = append(eaten, bytes.Repeat([]byte("x"), 1<<20))
			}
			return slices.Concat(eaten...)
		}},
		{Name: "write", Run: func([][]byte) []byte { return make([]byte, MaxProgramOutput+1) }},
	}
}

func work(t *testing.T, pool *Pool, program string, input ...string) (string, error) {
	t.Helper()
	var parts [][]byte
	for _, part := range input {
		parts = append(parts, []byte(part))
	}
	output, err := pool.Work(t.Context(), Work{Program: program, Name: "test", Input: parts})
	return string(output), err
}

func TestPrograms(t *testing.T) {
	pool, _ := runPool(t, Options{Workers: 1})
	for name, tt := range map[string]struct {
		input []string
		want  string
	}{
		"nothing": {nil, ""},
		"a part":  {[]string{"a"}, "a"},
		"parts":   {[]string{"a", "", strings.Repeat("b", 3<<20), "\xff"}, "a||" + strings.Repeat("b", 3<<20) + "|\xff"},
	} {
		if got, err := work(t, pool, "join", tt.input...); err != nil || got != tt.want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got := render(t, pool, "{{ 1 }}", nil); got != "1" {
		t.Errorf("a template afterwards is %q", got)
	}
}

func TestProgramsHaveLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		program string
		input   []string
		wall    time.Duration
		want    error
		figure  string
	}{
		"time, waiting":   {"hang", nil, 300 * time.Millisecond, ErrTimeout, "limit 300ms"},
		"time, computing": {"spin", nil, 300 * time.Millisecond, ErrTimeout, "limit 300ms"},
		"memory":          {"eat", nil, time.Minute, ErrMemory, "limit 256 MiB"},
		"output":          {"write", nil, time.Minute, ErrOutput, "limit 33554432 bytes"},
		"input":           {"join", []string{strings.Repeat("x", MaxInput), "x"}, time.Minute, ErrInput, "at most 134217728"},
		"parts":           {"join", make([]string, MaxInputParts+1), time.Minute, ErrInput, "at most 32768"},
		"no such program": {"other", []string{"x"}, time.Minute, ErrWorker, `no program "other"`},
	} {
		t.Run(name, func(t *testing.T) {
			pool, _ := runPool(t, Options{Workers: 1, WallLimit: tt.wall})
			before := memory()
			_, err := work(t, pool, tt.program, tt.input...)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.figure) || !strings.HasPrefix(err.Error(), "test: ") {
				t.Errorf("got %v, want %v (%s)", err, tt.want, tt.figure)
			}
			if grown := memory() - before; len(tt.input) == 0 && grown > 64<<20 {
				t.Errorf("the parent grew by %d MiB", grown>>20)
			}
			if got, err := work(t, pool, "join", "a", "b"); err != nil || got != "a|b" {
				t.Errorf("afterwards the pool answers %q, %v", got, err)
			}
		})
	}
}

func TestServeRefusesPartsThatAreTooMany(t *testing.T) {
	var wire bytes.Buffer
	if err := errors.Join(writeJSON(&wire, request{Program: &programRequest{Name: "join", Parts: 1 << 30}}), writeFrame(&wire, nil)); err != nil {
		t.Fatal(err)
	}
	if err := serve(&wire, io.Discard, testPrograms()...); !errors.Is(err, errFrameTooLong) {
		t.Errorf("got %v", err)
	}
}
