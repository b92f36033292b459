// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Program is work that this package knows nothing of and that its workers do within their
// limits: the building of kustomizations, the rendering of charts.
type Program struct {
	// Name tells it from other programs.
	Name string
	// Run makes an output of the parts of an input, which are its own. What is wrong
	// with the input has to be said in the output. It must depend on nothing but its
	// input, and leave nothing behind that another input could see.
	Run func(input [][]byte) (output []byte)
}

// Limits of programs.
const (
	// MaxInput is the most that a program is given, in bytes of all parts, and
	// MaxInputParts how many parts that may have.
	MaxInput      = 128 << 20
	MaxInputParts = 1 << 15
	// MaxProgramOutput is the most that a program may make, in bytes.
	MaxProgramOutput = 32 << 20
)

// Work is one use of a program.
type Work struct {
	// Program is the name of the program.
	Program string
	// Name says in errors what is worked on, for a human.
	Name string
	// Input is given to the program, in parts so that what the caller has need not be
	// copied. It is only read.
	Input [][]byte
}

// programTask asks a worker to run a program.
type programTask struct {
	head  []byte
	input [][]byte

	answer programResult
	output []byte
}

// programResult is the head of an answer; the output follows if all fields are empty.
type programResult struct {
	// Unknown is set if the worker has no such program.
	Unknown bool `json:"unknown,omitempty"`
	// OutputExceeded is set if the output is longer than MaxProgramOutput.
	OutputExceeded bool `json:"outputExceeded,omitempty"`
}

func (x *programTask) frames() [][]byte { return append([][]byte{x.head, nil}, x.input...) }

func (x *programTask) receive(out io.Reader, _ func()) (err error) {
	x.answer = programResult{}
	if err := readJSON(out, maxHeader, &x.answer); err != nil || x.answer != (programResult{}) {
		return err
	}
	x.output, err = readFrame(out, MaxProgramOutput)
	return err
}

// Work has a worker run a program, and returns its output. It waits for a free worker for
// as long as ctx lasts; the end of ctx kills the program.
//
// Errors wrap ErrTimeout, ErrMemory, ErrOutput, ErrInput, ErrWorker, ErrNotRunning or ctx's
// error. None quotes the input or the output.
func (p *Pool) Work(ctx context.Context, w Work) ([]byte, error) {
	output, err := p.work(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.Name, err)
	}
	return output, nil
}

func (p *Pool) work(ctx context.Context, w Work) ([]byte, error) {
	size := 0
	for _, part := range w.Input {
		size += len(part)
	}
	if size > MaxInput {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrInput, size, MaxInput)
	}
	if len(w.Input) > MaxInputParts {
		return nil, fmt.Errorf("%w: it has %d parts, at most %d are allowed", ErrInput, len(w.Input), MaxInputParts)
	}
	head, err := json.Marshal(request{Program: &programRequest{Name: w.Program, Parts: len(w.Input)}})
	if err != nil {
		return nil, fmt.Errorf("encoding a request: %w", err)
	}
	x := &programTask{head: head, input: w.Input}
	if err := p.submit(ctx, x); err != nil {
		return nil, err
	}
	switch {
	case x.answer.Unknown:
		return nil, fmt.Errorf("%w: it has no program %q", ErrWorker, w.Program)
	case x.answer.OutputExceeded:
		return nil, fmt.Errorf("%w (limit %d bytes)", ErrOutput, MaxProgramOutput)
	}
	return x.output, nil
}

// programRequest is what the head of a request says about a program.
type programRequest struct {
	Name string `json:"name"`
	// Parts is how many frames of input follow.
	Parts int `json:"parts"`
}

// serveProgram reads the input of a program, runs it and answers.
func serveProgram(in io.Reader, out io.Writer, programs []Program, req *programRequest) error {
	if req.Parts < 0 || req.Parts > MaxInputParts {
		return fmt.Errorf("%w: a program with %d parts of input", errFrameTooLong, req.Parts)
	}
	input := make([][]byte, req.Parts)
	room := MaxInput
	for i := range input {
		part, err := readFrame(in, room)
		if err != nil {
			return err
		}
		input[i], room = part, room-len(part)
	}
	for _, program := range programs {
		if program.Name != req.Name {
			continue
		}
		output := program.Run(input)
		if len(output) > MaxProgramOutput {
			return writeJSON(out, programResult{OutputExceeded: true})
		}
		if err := writeJSON(out, programResult{}); err != nil {
			return err
		}
		return writeFrame(out, output)
	}
	return writeJSON(out, programResult{Unknown: true})
}
