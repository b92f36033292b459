// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pack makes a tar archive. A header without a size is of a file with the text in Linkname.
func pack(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o600
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
}

func compress(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestUntar(t *testing.T) {
	plain := pack(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "a commit"}},
		tar.Header{Typeflag: tar.TypeDir, Name: "./a/"}, file("./a/b.yaml", "one"), file("c", "two"), file("c", "three"))
	want := map[string][]byte{"a/b.yaml": []byte("one"), "c": []byte("three")}
	for _, data := range [][]byte{plain, compress(t, plain)} {
		got, err := Untar(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	if !IsTar(plain) || IsTar(compress(t, plain)) || !IsGzip(compress(t, plain)) || IsGzip(plain) {
		t.Error("not recognised")
	}
}

func TestUntarRefuses(t *testing.T) {
	many := make([]tar.Header, MaxFiles+1)
	for i := range many {
		many[i] = file(fmt.Sprint(i), "")
	}
	zeros := strings.Repeat("\x00", 1<<20)
	bomb := make([]tar.Header, MaxBytes>>20+1)
	for i := range bomb {
		bomb[i] = file(fmt.Sprint(i), zeros)
	}
	damaged := compress(t, pack(t, file("a", "b")))
	tests := map[string]struct {
		data []byte
		want string
	}{
		"traversal":              {pack(t, file("../a", "")), "leads out of the archive"},
		"traversal within":       {pack(t, file("a/../../b", "")), "leads out of the archive"},
		"absolute":               {pack(t, file("/etc/passwd", "")), "is absolute"},
		"backslash":              {pack(t, file("a\\..\\b", "")), "backslash"},
		"directory elsewhere":    {pack(t, tar.Header{Typeflag: tar.TypeDir, Name: "../a/"}, file("a", "")), "leads out of the archive"},
		"symlink":                {pack(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc"}), "holds a link: a"},
		"hard link":              {pack(t, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "/etc/passwd"}), "holds a link"},
		"device":                 {pack(t, tar.Header{Typeflag: tar.TypeChar, Name: "a"}), "neither a file nor a directory"},
		"pipe":                   {pack(t, tar.Header{Typeflag: tar.TypeFifo, Name: "a"}), "neither a file nor a directory"},
		"too many files":         {pack(t, many...), "more than 10000 files"},
		"bomb":                   {compress(t, pack(t, bomb...)), "unpacks to more than"},
		"long name":              {pack(t, file(strings.Repeat("a", maxName+1), "")), "too long"},
		"file, then directory":   {pack(t, file("a", ""), file("a/b", "")), "a file and a directory"},
		"directory, then file":   {pack(t, file("a/b", ""), file("a", "")), "a file and a directory"},
		"the root":               {pack(t, file(".", "")), "a file and a directory"},
		"nothing":                {pack(t), "holds no files"},
		"text":                   {[]byte(strings.Repeat("no archive ", 100)), "not a tar archive"},
		"damaged compression":    {damaged[:len(damaged)-6], "is damaged"},
		"only a gzip header":     {[]byte{0x1f, 0x8b}, "not compressed with gzip"},
		"compressed, but no tar": {compress(t, []byte(strings.Repeat("x", 600))), "not a tar archive"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files, err := Untar(tt.data)
			var refused *Error
			if files != nil || !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Untar() = %d files, %v; want %q", len(files), err, tt.want)
			}
			if bare := refused.WithoutContent().Error(); strings.Contains(bare, ":") {
				t.Errorf("%q quotes the archive", bare)
			}
		})
	}
}

func FuzzUntar(f *testing.F) {
	f.Add(pack(f, file("a/b", "c")))
	f.Add(compress(f, pack(f, file("../a", "c"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := Untar(data)
		if (err == nil) == (files == nil) {
			t.Fatalf("%d files and error %v", len(files), err)
		}
		for name := range files {
			if strings.HasPrefix(name, "/") || strings.Contains("/"+name+"/", "/../") {
				t.Fatalf("unpacked %q", name)
			}
		}
	})
}
