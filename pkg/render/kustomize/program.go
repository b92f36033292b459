// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-project/muster/pkg/script"
)

// programName is the name of the Program.
const programName = "kustomize"

// maxDetail is how much of what the libraries say is passed on, in bytes: it may be a whole
// document.
const maxDetail = 4 << 10

// workerRequest is the first part of what the program is given; the contents of the files
// are the others.
type workerRequest struct {
	Path       string   `json:"path,omitempty"`
	Components []string `json:"components,omitempty"`
	// Files are the paths of the files, in the order of their contents.
	Files []string `json:"files"`
}

// The first byte of an output says what the rest is.
const (
	answerText  = 't'
	answerError = 'e'
)

// Program is what a worker needs to build kustomizations. checkYAML refuses YAML that a
// parser should not be given.
func Program(checkYAML func([]byte) error) script.Program {
	return script.Program{Name: programName, Run: func(input [][]byte) []byte {
		text, err := run(input, checkYAML)
		if err == nil {
			return append([]byte{answerText}, text...)
		}
		var own *Error
		if !errors.As(err, &own) {
			own = &Error{What: "cannot be built", Detail: err.Error()}
		}
		own.Detail = strings.ToValidUTF8(own.Detail[:min(len(own.Detail), maxDetail)], "")
		encoded, err := json.Marshal(own)
		if err != nil {
			encoded = []byte(`{"What": "cannot be built"}`)
		}
		return append([]byte{answerError}, encoded...)
	}}
}

// run builds what a request asks for. Some of what it reads makes the library panic.
func run(input [][]byte, checkYAML func([]byte) error) (text []byte, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = &Error{What: "cannot be built", Detail: fmt.Sprint(reason)}
		}
	}()
	var head workerRequest
	if len(input) == 0 {
		return nil, errRequest
	}
	if err := json.Unmarshal(input[0], &head); err != nil || len(head.Files) != len(input)-1 {
		return nil, errRequest
	}
	request := Request{Path: head.Path, Components: head.Components, Files: make(map[string][]byte, len(head.Files))}
	for i, name := range head.Files {
		request.Files[name] = input[i+1]
	}
	return build(request, checkYAML)
}

var errRequest = &Error{What: "the worker was asked for something else"}

// build has a worker build the kustomization.
func (r Request) build(ctx context.Context, workers Workers) ([]byte, error) {
	names := slices.Sorted(maps.Keys(r.Files))
	head, err := json.Marshal(workerRequest{Path: r.Path, Components: r.Components, Files: names})
	if err != nil {
		return nil, fmt.Errorf("encoding the kustomization's files: %w", err)
	}
	input := make([][]byte, 0, 1+len(names))
	input = append(input, head)
	for _, name := range names {
		input = append(input, r.Files[name])
	}
	output, err := workers.Work(ctx, script.Work{Program: programName, Name: "the kustomization", Input: input})
	switch {
	case err != nil:
		return nil, err
	case len(output) > 0 && output[0] == answerText:
		return output[1:], nil
	case len(output) > 0 && output[0] == answerError:
		refused := &Error{}
		if err := json.Unmarshal(output[1:], refused); err == nil {
			return nil, refused
		}
	}
	return nil, fmt.Errorf("%w: it answered something else", script.ErrWorker)
}

// InProcess does the work of the Program in this process, without limits: for tests of
// what builds are used for.
func InProcess(checkYAML func([]byte) error) Workers { return inProcess{Program(checkYAML)} }

type inProcess struct{ program script.Program }

func (p inProcess) Work(ctx context.Context, w script.Work) ([]byte, error) {
	lock.Lock()
	defer lock.Unlock()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return p.program.Run(w.Input), nil
}
