// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Files is a chart that was fetched already, in its parts or packed.
type Files struct {
	// Digest is of all of it, so that it is packed once.
	Digest string
	// Content is by the path within the chart, or nil if Archive is set.
	Content map[string][]byte
	Archive []byte
}

// pack returns the archive of a chart in parts. Its errors are faults.
func (r *repository) pack(_ context.Context, ref ChartRef) ([]byte, error) {
	switch {
	case ref.Verify != nil:
		return nil, faultf(Untrusted, "a chart of a Flux source has neither a provenance file nor a signature of its own")
	case ref.Files.Archive != nil:
		return ref.Files.Archive, checkUnpacked(ref.Files.Archive)
	}
	key := "files " + ref.Files.Digest
	if archive, ok := r.archives.Get(key); ok {
		return archive, nil
	}
	archive, err := packed(ref.Files.Content)
	if err != nil {
		return nil, &fault{Invalid, err}
	}
	if err := checkUnpacked(archive); err != nil {
		return nil, err
	}
	r.archives.Put(key, archive, int64(len(archive)))
	return archive, nil
}

// packed makes an archive of files, the same of the same files.
func packed(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := w.WriteHeader(&tar.Header{Name: "chart/" + name, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		return nil, fmt.Errorf("packing the chart: %w", err)
	}
	return out.Bytes(), nil
}
