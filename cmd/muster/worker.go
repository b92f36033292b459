// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"time"

	"github.com/muster-project/muster/pkg/deploy/release/rendering"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/kustomize"
	"github.com/muster-project/muster/pkg/script"
)

// scriptWorkerCommand is how the server calls this binary to evaluate a template, or to
// build something, in a process of its own.
const scriptWorkerCommand = "script-worker"

const (
	// buildMemory is what a worker may have that builds kustomizations and renders charts,
	// in bytes: parsed YAML takes fifty times its text.
	buildMemory = 512 << 20
	// buildTime is how long one build may take.
	buildTime = 10 * time.Second
)

// workerCommand starts a worker. The link survives the replacement of the binary on disk.
func workerCommand() []string { return []string{"/proc/self/exe", scriptWorkerCommand} }

// serveWorker is the body of a worker.
func serveWorker(in io.Reader, out io.Writer) error {
	return script.ServeWorker(in, out, kustomize.Program(render.CheckYAML), rendering.Program())
}
