// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/muster-project/muster/pkg/script"
)

// TestMain turns the test binary into a script worker where a test starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "script-worker" {
		if err := script.ServeWorker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newRenderer returns a renderer with real workers.
func newRenderer(t *testing.T) *Renderer {
	t.Helper()
	pool := script.NewPool(script.Options{Command: []string{"/proc/self/exe", "script-worker"}})
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
	return &Renderer{Templates: pool, Scripts: pool}
}

// templateFunc is a fake evaluator for what real templates cannot be made to do.
type templateFunc func(context.Context, script.Template) (string, error)

func (f templateFunc) RenderTemplate(ctx context.Context, t script.Template) (string, error) {
	return f(ctx, t)
}

// noTemplates fails the test if anything is taken for a template.
func noTemplates(t *testing.T) *Renderer {
	t.Helper()
	return &Renderer{Templates: templateFunc(func(_ context.Context, tmpl script.Template) (string, error) {
		t.Errorf("%s was rendered as a template", tmpl.Name)
		return "", nil
	})}
}
