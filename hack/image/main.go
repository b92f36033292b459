// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Command image packs a static program into an OCI image archive, without a
// container engine: the program, the certificates that it trusts, a user without
// rights and directories that this user may write. The same input gives the same
// bytes; the digest that it prints is the image's. `podman load`, `docker load` and
// `kind load image-archive` read the result.
//
// Usage: image PROGRAM CERTIFICATES NAME:TAG OUTPUT
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
)

const (
	programPath     = "usr/local/bin/muster"
	certificatePath = "etc/ssl/certs/ca-certificates.crt"
	// cachePath is the home of the user, for libraries that keep a cache.
	cachePath = "var/cache/muster"
	// nonroot is the user and the group, as distroless images number them.
	nonroot = 65532
)

// base is what every program expects of a system, however small: names for the
// user, and places to write to. With a read-only root file system these are where
// volumes are mounted.
func base() []file {
	name := func(format string) []byte { return fmt.Appendf(nil, format, nonroot) }
	return []file{
		{path: "etc/group", mode: 0o644, data: name("root:x:0:\nnonroot:x:%d:\n")},
		{path: "etc/passwd", mode: 0o644, data: name("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%[1]d:%[1]d:nonroot:/" + cachePath + ":/sbin/nologin\n")},
		{path: "tmp/", mode: 0o1777},
		{path: cachePath + "/", mode: 0o700, owner: nonroot},
	}
}

// Media types and annotations of the OCI image specification.
const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	annotationRef = "org.opencontainers.image.ref.name"
	// annotationName is containerd's: the whole name, where the other is by
	// custom the tag alone.
	annotationName = "io.containerd.image.name"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: image PROGRAM CERTIFICATES NAME:TAG OUTPUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(program, certificates, name, output string) error {
	if certificates == "" {
		return errors.New("no trusted certificates found on this machine: name a PEM file with CERTIFICATES=")
	}
	files := base()
	for _, f := range []struct {
		source, path string
		mode         int64
	}{
		{certificates, certificatePath, 0o644},
		{program, programPath, 0o755},
	} {
		data, err := os.ReadFile(f.source)
		if err != nil {
			return fmt.Errorf("reading what goes into the image: %w", err)
		}
		files = append(files, file{path: f.path, mode: f.mode, data: data})
	}
	archive, digest, err := image(name, files)
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, archive, 0o644); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	fmt.Println(name, digest)
	return nil
}

// file is a directory where its path ends with a slash.
type file struct {
	path string
	mode int64
	data []byte
	// owner is the user and the group.
	owner int
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// image is an OCI image layout, as a tar archive, and the digest of the image.
func image(name string, files []file) (archive []byte, imageDigest string, err error) {
	layer, err := pack(withDirectories(files))
	if err != nil {
		return nil, "", err
	}
	compressed, err := compress(layer)
	if err != nil {
		return nil, "", err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"User":       fmt.Sprintf("%[1]d:%[1]d", nonroot),
			"Entrypoint": []string{"/" + programPath},
			"WorkingDir": "/",
			"Env":        []string{"HOME=/" + cachePath, "PATH=/" + path.Dir(programPath)},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return nil, "", fmt.Errorf("encoding the image's configuration: %w", err)
	}
	var blobs []file
	add := func(mediaType string, data []byte) descriptor {
		d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
		blobs = append(blobs, file{path: "blobs/" + strings.Replace(d.Digest, ":", "/", 1), mode: 0o644, data: data})
		return d
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     mediaManifest,
		"config":        add(mediaConfig, config),
		"layers":        []descriptor{add(mediaLayer, compressed)},
	})
	if err != nil {
		return nil, "", fmt.Errorf("encoding the image's manifest: %w", err)
	}
	root := add(mediaManifest, manifest)
	_, tag, _ := strings.Cut(path.Base(name), ":")
	root.Annotations = map[string]string{annotationRef: tag, annotationName: name}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     mediaIndex,
		"manifests":     []descriptor{root},
	})
	if err != nil {
		return nil, "", fmt.Errorf("encoding the image's index: %w", err)
	}
	archive, err = pack(withDirectories(append([]file{
		{path: "oci-layout", mode: 0o644, data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{path: "index.json", mode: 0o644, data: index},
	}, blobs...)))
	return archive, root.Digest, err
}

// withDirectories puts every directory before what is in it.
func withDirectories(files []file) []file {
	var all []file
	seen := map[string]bool{".": true}
	for _, f := range files {
		var missing []file
		own := strings.TrimSuffix(f.path, "/")
		seen[own] = true
		for dir := path.Dir(own); !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			missing = append([]file{{path: dir + "/", mode: 0o755}}, missing...)
		}
		all = append(append(all, missing...), f)
	}
	return all
}

// pack makes a tar archive that holds no time, user or machine.
func pack(files []file) ([]byte, error) {
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{
			Name: f.path, Mode: f.mode, Size: int64(len(f.data)), Uid: f.owner, Gid: f.owner,
			Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(f.path, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.path, err)
		}
		if _, err := writer.Write(f.data); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.path, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return out.Bytes(), nil
}

func compress(data []byte) ([]byte, error) {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := io.Copy(writer, bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	return out.Bytes(), nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
