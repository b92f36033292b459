// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rendering

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/muster-project/muster/pkg/script"
)

// TestMain turns the test binary into a worker where a test starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "script-worker" {
		if err := script.ServeWorker(os.Stdin, os.Stdout, Program()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runWorkers runs worker processes until the test ends.
func runWorkers(t *testing.T, options script.Options) *script.Pool {
	t.Helper()
	options.Command = []string{"/proc/self/exe", "script-worker"}
	pool := script.NewPool(options)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	select {
	case <-pool.Ready():
	case err := <-ended:
		t.Fatalf("Run() = %v", err)
	}
	return pool
}

// here runs the program in this process, and counts how often.
type here struct{ used atomic.Int64 }

func (h *here) Work(_ context.Context, w script.Work) ([]byte, error) {
	h.used.Add(1)
	input := make([][]byte, len(w.Input))
	for i, part := range w.Input {
		input[i] = bytes.Clone(part)
	}
	return run(input), nil
}

// packed makes a chart named web of files, whose paths are relative to the chart.
func packed(t testing.TB, files map[string]string) Request {
	t.Helper()
	if _, found := files["Chart.yaml"]; !found {
		with := map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"}
		maps.Copy(with, files)
		files = with
	}
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: "web/" + name, Mode: 0o600, Size: int64(len(files[name]))}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return Request{
		Archive: out.Bytes(), Digest: hex.EncodeToString(sum[:]),
		Release:      Release{Name: "site", Namespace: "shop", Revision: 1},
		Capabilities: Capabilities{Version: "v1.34.1", Major: "1", Minor: "34", APIVersions: []string{"v1", "apps/v1", "apps/v1/Deployment"}},
	}
}

// one is a chart with one template.
func one(t testing.TB, template string) Request {
	t.Helper()
	return packed(t, map[string]string{"templates/a.yaml": template})
}

const onePath = "web/templates/a.yaml"
