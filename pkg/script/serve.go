// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// ServeWorker is the body of a worker process: it takes its limits from the first frame
// on in, sets them on the process, and then answers one request after the other on out
// until in ends. Besides templates and Lua it runs the programs given.
//
// It changes the whole process (memory limits, time zone, number of threads) and must be
// the only thing that it does. Nothing else may write to out.
func ServeWorker(in io.Reader, out io.Writer, programs ...Program) error {
	buffered := bufio.NewReader(in)
	var s settings
	if err := readJSON(buffered, maxHeader, &s); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("script worker: %w", err)
	}
	if err := confine(s.MemoryLimit); err != nil {
		return errors.Join(err, writeJSON(out, readiness{Error: err.Error()}))
	}
	if err := writeJSON(out, readiness{}); err != nil {
		return fmt.Errorf("script worker: %w", err)
	}
	if err := serve(buffered, out, programs...); err != nil {
		return fmt.Errorf("script worker: %w", err)
	}
	return nil
}

// serve answers requests until in ends between two of them.
func serve(in io.Reader, out io.Writer, programs ...Program) error {
	for {
		var req request
		if err := readJSON(in, MaxData+maxHeader, &req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		text, err := readFrame(in, MaxText)
		if err != nil {
			return err
		}
		if req.Program != nil {
			err = serveProgram(in, out, programs, req.Program)
		} else {
			err = serveOne(in, out, req, string(text))
		}
		if err != nil {
			return err
		}
	}
}

func serveOne(in io.Reader, out io.Writer, req request, text string) error {
	if req.Lua == nil {
		output, res := evaluate(req, text)
		return answer(out, output, res)
	}
	data, err := readFrame(in, maxLuaData)
	if err != nil {
		return err
	}
	return serveLua(out, req.Lua, text, data)
}

func answer(out io.Writer, output []byte, res result) error {
	if err := writeJSON(out, res); err != nil {
		return err
	}
	if res != (result{}) {
		return nil
	}
	return writeFrame(out, output)
}
