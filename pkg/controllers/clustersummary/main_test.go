// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/render"
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

// newWorkers returns a renderer with real workers.
func newWorkers(t *testing.T) *render.Renderer {
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
	return &render.Renderer{Templates: pool, Scripts: pool}
}

// patchOf is a patch without a target.
func patchOf(text string) libv1beta1.Patch { return libv1beta1.Patch{Patch: text} }

// templatesOf is a host with templates, one that is to fail and one whose result is no
// manifest, and a good source beside them.
func templatesOf(quoting, broken string) hostObjects {
	template := func(name, text string) *corev1.ConfigMap {
		made := configMap("civo", name, map[string]string{"a.yaml": text}).(*corev1.ConfigMap)
		made.Annotations = map[string]string{render.AnnotationTemplate: ""}
		return made
	}
	return hostObjects{
		"ConfigMap/civo/quoting": template("quoting", quoting), "ConfigMap/civo/broken": template("broken", broken),
		"ConfigMap/civo/good": configMap("civo", "good", map[string]string{"a.yaml": namespaceManifest}),
	}
}
