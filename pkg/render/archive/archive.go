// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package archive unpacks what strangers have packed, into memory.
package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	// MaxFiles is how many files and directories an archive may hold.
	MaxFiles = 10000
	// MaxBytes is how many bytes an archive may unpack to.
	MaxBytes = 64 << 20
	// maxName is how many bytes the path of a file may have.
	maxName = 1024
)

// Error says why an archive is refused.
type Error struct {
	// What is wrong, in words that quote nothing of the archive.
	What string
	// Detail may quote it.
	Detail string
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.What
	}
	return e.What + ": " + e.Detail
}

// WithoutContent returns the error without what may quote the archive.
func (e *Error) WithoutContent() error { return &Error{What: e.What} }

// IsGzip reports whether data is compressed with gzip.
func IsGzip(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

// IsTar reports whether data is a tar archive.
func IsTar(data []byte) bool {
	const magicAt = 257
	return len(data) >= magicAt+5 && string(data[magicAt:magicAt+5]) == "ustar"
}

// Gunzip returns what data holds, which may be MaxBytes. Errors are *Error.
func Gunzip(data []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, &Error{What: "not compressed with gzip", Detail: err.Error()}
	}
	out, err := io.ReadAll(io.LimitReader(reader, MaxBytes+1))
	switch {
	case len(out) > MaxBytes:
		return nil, tooLarge()
	case err != nil:
		return nil, &Error{What: "the compressed data is damaged", Detail: err.Error()}
	}
	return out, nil
}

func tooLarge() error {
	return &Error{What: fmt.Sprintf("unpacks to more than %d bytes", MaxBytes)}
}

// Untar returns the files of a tar archive, which may be compressed with gzip, by their
// paths: with slashes between, none in front, and nothing in them that leads elsewhere.
// An archive with anything but files and directories in it is refused. Errors are *Error.
func Untar(data []byte) (map[string][]byte, error) {
	if IsGzip(data) {
		var err error
		if data, err = Gunzip(data); err != nil {
			return nil, err
		}
	}
	u := &unpacking{files: map[string][]byte{}, parents: map[string]bool{}}
	reader := tar.NewReader(bytes.NewReader(data))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		// The reader names paths that lead elsewhere, and goes on; so do we, to name
		// them in our words.
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, &Error{What: "not a tar archive, or a damaged one", Detail: err.Error()}
		}
		if err := u.add(header, reader); err != nil {
			return nil, err
		}
	}
	if len(u.files) == 0 {
		return nil, &Error{What: "holds no files"}
	}
	return u.files, nil
}

// unpacking is one archive on its way into memory.
type unpacking struct {
	files   map[string][]byte
	parents map[string]bool // directories that files are in
	entries int
	size    int64
}

func (u *unpacking) add(header *tar.Header, from io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment: git writes the commit there
	}
	if u.entries++; u.entries > MaxFiles {
		return &Error{What: fmt.Sprintf("holds more than %d files", MaxFiles)}
	}
	name, err := cleanName(header.Name)
	if err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return nil
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
		return &Error{What: "holds a link", Detail: header.Name}
	default:
		return &Error{What: "holds something that is neither a file nor a directory", Detail: header.Name}
	}
	if u.size += header.Size; header.Size < 0 || u.size > MaxBytes {
		return tooLarge() // a sparse file is larger than the archive it is in
	}
	content, err := io.ReadAll(io.LimitReader(from, header.Size))
	if err != nil {
		return &Error{What: "a file in it is damaged", Detail: header.Name + ": " + err.Error()}
	}
	return u.put(name, content)
}

// put keeps a file. A later one replaces an earlier one of the same path, as tar does.
func (u *unpacking) put(name string, content []byte) error {
	if name == "." || u.parents[name] {
		return &Error{What: "a path is a file and a directory", Detail: name}
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, isFile := u.files[dir]; isFile {
			return &Error{What: "a path is a file and a directory", Detail: dir}
		}
		u.parents[dir] = true
	}
	u.files[name] = content
	return nil
}

// cleanName refuses a path that leads out of the archive, or that another system could
// take for one that does.
func cleanName(name string) (string, error) {
	switch {
	case len(name) > maxName:
		return "", &Error{What: "the path of a file is too long"}
	case strings.ContainsAny(name, "\\\x00"):
		return "", &Error{What: "the path of a file has a backslash or a zero byte", Detail: fmt.Sprintf("%q", name)}
	case path.IsAbs(name):
		return "", &Error{What: "the path of a file is absolute", Detail: name}
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == ".." {
			return "", &Error{What: "the path of a file leads out of the archive", Detail: name}
		}
	}
	return path.Clean(name), nil
}
