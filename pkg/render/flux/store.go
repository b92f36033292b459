// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"context"

	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/memo"
	"github.com/muster-project/muster/pkg/render/remote"
)

// retention is how many bytes of unpacked artifacts are kept.
const retention = 128 << 20

// Store fetches artifacts and unpacks them, once for all clusters. It is safe for
// concurrent use.
type Store struct {
	fetcher *remote.Fetcher
	known   *memo.Cache[Artifact, map[string][]byte]
	flights memo.Flights[Artifact, map[string][]byte]
}

// NewStore returns a Store.
func NewStore(fetcher *remote.Fetcher) *Store {
	return &Store{fetcher: fetcher, known: memo.NewCache[Artifact, map[string][]byte](retention)}
}

// Files returns the files of an artifact by their paths. They are shared and must not be
// written to. Errors are *remote.Error, *archive.Error or the context's.
func (s *Store) Files(ctx context.Context, artifact Artifact) (map[string][]byte, error) {
	artifact.Revision = "" // the same content may be that of many
	if files, ok := s.known.Get(artifact); ok {
		return files, nil
	}
	return s.flights.Do(ctx, artifact, func() (map[string][]byte, error) {
		if files, ok := s.known.Get(artifact); ok {
			return files, nil // the flight before this one brought it
		}
		content, err := s.fetcher.Fetch(ctx, remote.Source{URL: artifact.URL, Digest: artifact.Digest})
		if err != nil {
			return nil, err
		}
		files, err := archive.Untar(content.Blobs[0].Data)
		if err != nil {
			return nil, err
		}
		size := int64(0)
		for name, data := range files {
			size += int64(len(name) + len(data))
		}
		s.known.Put(artifact, files, size)
		return files, nil
	})
}
