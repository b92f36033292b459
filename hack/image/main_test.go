// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// unpack returns the files of an archive, and fails on one whose directory has
// not come before it.
func unpack(t *testing.T, archive io.Reader) map[string][]byte {
	t.Helper()
	files, directories := map[string][]byte{}, map[string]bool{".": true}
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if !directories[filepath.Dir(strings.TrimSuffix(header.Name, "/"))] {
			t.Errorf("%s comes before its directory", header.Name)
		}
		if header.Typeflag == tar.TypeDir {
			directories[strings.TrimSuffix(header.Name, "/")] = true
			continue
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func parse[T any](t *testing.T, data []byte) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func build(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	program, certificates, output := filepath.Join(dir, "program"), filepath.Join(dir, "certificates"), filepath.Join(dir, "image.tar")
	for name, content := range map[string]string{program: "the program", certificates: "the certificates"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(program, certificates, "example.org/team/muster:v1", output); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// A reader of the archive comes from the index to the files by digests alone.
func TestImageLeadsFromItsIndexToItsFiles(t *testing.T) {
	files := unpack(t, bytes.NewReader(build(t)))
	blob := func(d descriptor) []byte {
		t.Helper()
		data, ok := files["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
		if !ok || digest(data) != d.Digest || len(data) != d.Size {
			t.Fatalf("%s: there=%t, %d bytes, digest %s", d.Digest, ok, len(data), digest(data))
		}
		return data
	}
	index := parse[struct{ Manifests []descriptor }](t, files["index.json"])
	want := map[string]string{annotationRef: "v1", annotationName: "example.org/team/muster:v1"}
	if diff := cmp.Diff(want, index.Manifests[0].Annotations); diff != "" {
		t.Errorf("name (-want +got):\n%s", diff)
	}
	manifest := parse[struct {
		Config descriptor
		Layers []descriptor
	}](t, blob(index.Manifests[0]))
	config := parse[struct {
		Config struct {
			User       string
			Entrypoint []string
			Env        []string
		}
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}](t, blob(manifest.Config))
	if config.Config.User != "65532:65532" || !slices.Contains(config.Config.Env, "HOME=/var/cache/muster") || config.Config.Entrypoint[0] != "/"+programPath {
		t.Errorf("configuration %+v", config)
	}
	uncompressed, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(uncompressed)
	if err != nil {
		t.Fatal(err)
	}
	if config.Rootfs.DiffIDs[0] != digest(layer) {
		t.Error("the layer is not the one that the configuration names")
	}
	got := unpack(t, bytes.NewReader(layer))
	content := map[string][]byte{
		"etc/group":  []byte("root:x:0:\nnonroot:x:65532:\n"),
		"etc/passwd": []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/var/cache/muster:/sbin/nologin\n"),
		programPath:  []byte("the program"), certificatePath: []byte("the certificates"),
	}
	if diff := cmp.Diff(content, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// Neither the time nor the machine gets into the bytes: the same is built later
// and elsewhere.
func TestImageIsReproducible(t *testing.T) {
	first := build(t)
	synctest.Test(t, func(t *testing.T) { // its clock is years behind
		if !bytes.Equal(first, build(t)) {
			t.Error("the same input gave two images")
		}
	})
	for reader := tar.NewReader(bytes.NewReader(first)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.ModTime.Unix() != 0 || header.Uname != "" || header.Gname != "" {
			t.Errorf("%s: time %s, user %q, group %q", header.Name, header.ModTime, header.Uname, header.Gname)
		}
	}
}

// A program that is nobody's keeps its temporary files and its cache somewhere.
func TestWritableDirectories(t *testing.T) {
	layer, err := pack(withDirectories(base()))
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Mode     int64
		Uid, Gid int
	}
	got := map[string]entry{}
	for reader := tar.NewReader(bytes.NewReader(layer)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[header.Name]; twice {
			t.Errorf("%s is there twice", header.Name)
		}
		got[header.Name] = entry{header.Mode, header.Uid, header.Gid}
	}
	want := map[string]entry{
		"etc/": {Mode: 0o755}, "etc/group": {Mode: 0o644}, "etc/passwd": {Mode: 0o644},
		"tmp/": {Mode: 0o1777},
		"var/": {Mode: 0o755}, "var/cache/": {Mode: 0o755}, "var/cache/muster/": {Mode: 0o700, Uid: nonroot, Gid: nonroot},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

func TestImageWithoutAProgram(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	if err := run(missing, missing, "a:b", filepath.Join(dir, "out")); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v, want the missing file's name", err)
	}
}

func TestImageWithoutCertificates(t *testing.T) {
	if err := run("program", "", "a:b", "out"); err == nil || !strings.Contains(err.Error(), "CERTIFICATES=") {
		t.Errorf("got %v, want what to set", err)
	}
}
