// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"unicode/utf8"
)

// SplitYAML splits a stream into its YAML documents and leaves out those of nothing but
// blanks and comments. The documents are slices of data.
//
// It cuts exactly where a YAML parser does, at "---" and "..." in the first column
// followed by white space or a line break of any kind that YAML knows: a parser given a
// document reads only the first one in it, and would drop without a word what stands
// behind a marker that was overlooked. A marker inside a block scalar is indented, and
// therefore none. What follows "---" on its line belongs to the document.
//
// The only error is data that is not UTF-8.
func SplitYAML(data []byte) ([][]byte, error) {
	if !utf8.Valid(data) {
		return nil, &contentError{what: "not UTF-8 text"}
	}
	s := splitter{data: bytes.TrimPrefix(data, []byte("\ufeff"))}
	for start := 0; start < len(s.data); {
		end := start + lineLength(s.data[start:])
		s.line(start, end)
		start = end
	}
	s.cut(len(s.data))
	return s.documents, nil
}

// splitter goes through a stream line by line.
type splitter struct {
	data      []byte
	documents [][]byte
	// start is where the document begins that the current line belongs to.
	start int
	// content is set once that document has more than blanks, comments and directives.
	content bool
	// directives is set where directives (%YAML, %TAG) wait for the "---" that their
	// document begins with.
	directives bool
}

// line takes in data[start:end], one line with its break.
func (s *splitter) line(start, end int) {
	line := s.data[start:end]
	switch {
	case isMarker(line, "---"):
		if !s.directives || s.content {
			s.cut(start)
		}
		s.directives = false
		s.content = !isBlank(line[len("---"):])
	case isMarker(line, "..."):
		s.cut(start)
		s.start = end
	case isBlank(line) || s.content:
	case line[0] == '%':
		s.directives = true
	default:
		s.content = true
	}
}

// cut ends the current document before position and begins another one there.
func (s *splitter) cut(position int) {
	if s.content {
		s.documents = append(s.documents, s.data[s.start:position:position])
	}
	s.start, s.content, s.directives = position, false, false
}

// isMarker tells whether line begins with marker as a token of its own.
func isMarker(line []byte, marker string) bool {
	rest, found := bytes.CutPrefix(line, []byte(marker))
	return found && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || breakLength(rest) > 0)
}

// isBlank tells whether there is nothing but white space and a comment.
func isBlank(line []byte) bool {
	for i, c := range line {
		switch {
		case c == '#':
			return true
		case c == ' ' || c == '\t':
		default:
			return breakLength(line[i:]) > 0
		}
	}
	return true
}

// lineLength is the length of the first line of data, its break included.
func lineLength(data []byte) int {
	for i, c := range data {
		if c > '\r' && c < 0x80 {
			continue // almost every byte; none that a break begins with
		}
		if n := breakLength(data[i:]); n > 0 {
			return i + n
		}
	}
	return len(data)
}

// breakLength is the length of the line break that data begins with, 0 if there is none.
// YAML 1.1, which Kubernetes' parser reads, has five besides CR LF.
func breakLength(data []byte) int {
	switch {
	case len(data) == 0:
		return 0
	case data[0] == '\n':
		return 1
	case data[0] == '\r':
		if len(data) > 1 && data[1] == '\n' {
			return 2
		}
		return 1
	case bytes.HasPrefix(data, []byte("\u0085")):
		return len("\u0085")
	case bytes.HasPrefix(data, []byte("\u2028")), bytes.HasPrefix(data, []byte("\u2029")):
		return len("\u2028")
	}
	return 0
}
