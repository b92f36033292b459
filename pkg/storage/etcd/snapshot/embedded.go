// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// askTimeout is how long an etcd may take to answer at all.
const askTimeout = 10 * time.Second

// FromEmbedded calls save with the way to the embedded etcd of a data directory: through the socket of
// the server that runs on it, which the same user can reach, or root. If none runs, etcd is started
// for the time of the call.
func FromEmbedded(ctx context.Context, dataDir string, save func(etcd.ClientConfig) error) error {
	if _, err := os.Stat(filepath.Join(dataDir, etcd.DataSubdir)); err != nil {
		return fmt.Errorf("data directory %s is not that of a server with its etcd inside, name another etcd with --etcd-servers: %w", dataDir, err)
	}
	server, err := etcd.Start(ctx, etcd.Config{DataDir: dataDir})
	switch {
	case err == nil:
		defer server.Close()
		return save(etcd.ClientConfig{Endpoints: []string{server.Endpoint()}})
	case errors.Is(err, etcd.ErrInUse):
		endpoint, err := etcd.EndpointIn(dataDir)
		if err != nil {
			return err
		}
		return save(etcd.ClientConfig{Endpoints: []string{endpoint}})
	default:
		return err
	}
}
