// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/kustomize"
	"github.com/muster-project/muster/pkg/script"
)

// TestMain turns the test binary into a worker where a test starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "script-worker" {
		if err := script.ServeWorker(os.Stdin, os.Stdout, kustomize.Program(render.CheckYAML)); err != nil {
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

func TestBuildsInWorkers(t *testing.T) {
	builder := kustomize.NewBuilder(runWorkers(t, script.Options{WallLimit: time.Minute, MemoryLimit: 512 << 20}))
	out, err := builder.Build(t.Context(), kustomize.Request{Digest: "a", Path: "overlay", Components: []string{"../loud"}, Files: contents(map[string]string{
		"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": configMap, "unused": "\xff\x00",
		"overlay/kustomization.yaml": "resources: [../base]\nnamePrefix: prod-\n", "loud/kustomization.yaml": component + "commonAnnotations: {loud: 'yes'}\n",
	})})
	if err != nil || !strings.Contains(string(out), "name: prod-settings") || !strings.Contains(string(out), `loud: "yes"`) {
		t.Errorf("built %s, %v", out, err)
	}
	var refused *kustomize.Error
	if _, err := builder.Build(t.Context(), kustomize.Request{Digest: "b"}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "no kustomization file") {
		t.Errorf("nothing to build: %v", err)
	}
}

// patchwork is a kustomization with so many patches for so many objects that its build
// takes minutes, out of little text.
func patchwork(objects, patches int) map[string][]byte {
	var resources, list strings.Builder
	for i := range objects {
		fmt.Fprintf(&resources, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\n", i)
	}
	list.WriteString("resources: [a.yaml]\npatches:\n")
	for i := range patches {
		fmt.Fprintf(&list, "- {target: {kind: ConfigMap}, patch: '[{\"op\": \"add\", \"path\": \"/data\", \"value\": {\"v\": \"%d\"}}]'}\n", i)
	}
	return contents(map[string]string{"kustomization.yaml": list.String(), "a.yaml": resources.String()})
}

func memory() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys)
}

// A build that takes too long is ended, is not tried again for each cluster, and others are
// built beside it.
func TestBombs(t *testing.T) {
	pool := runWorkers(t, script.Options{WallLimit: 2 * time.Second, Workers: 2})
	builder := kustomize.NewBuilder(pool)
	small := kustomize.Request{Digest: "small", Files: contents(map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap})}
	bomb := kustomize.Request{Digest: "bomb", Files: patchwork(3000, 3000)}
	before := memory()
	exploded := make(chan error)
	go func() {
		_, err := builder.Build(t.Context(), bomb)
		exploded <- err
	}()
	if _, err := builder.Build(t.Context(), small); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	if err := <-exploded; !errors.Is(err, script.ErrTimeout) && !errors.Is(err, script.ErrMemory) {
		t.Errorf("the bomb: %v", err)
	}
	if grown := memory() - before; grown > 64<<20 {
		t.Errorf("the server grew by %d MiB", grown>>20)
	}
	began := time.Now()
	for range 100 {
		if _, err := builder.Build(t.Context(), bomb); err == nil {
			t.Fatal("the bomb was built")
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("a hundred clusters more cost %s", took)
	}
}

// counted fails, or answers, and counts how often it was asked.
type counted struct {
	asked atomic.Int64
	err   error
}

func (c *counted) Work(context.Context, script.Work) ([]byte, error) {
	c.asked.Add(1)
	time.Sleep(time.Second)
	return []byte("tdone"), c.err
}

func TestWhatIsRemembered(t *testing.T) {
	for name, tt := range map[string]struct {
		err error
		// asked is how often the workers are: by ten at once, again, and two minutes
		// later.
		once, again, later int64
	}{
		"a result":        {nil, 1, 1, 1},
		"a limit":         {script.ErrTimeout, 1, 1, 2},
		"broken workers":  {script.ErrWorker, 1, 2, 3},
		"too much output": {script.ErrOutput, 1, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				workers := &counted{err: tt.err}
				builder := kustomize.NewBuilder(workers)
				build := func() {
					if _, err := builder.Build(t.Context(), kustomize.Request{Digest: "a"}); !errors.Is(err, tt.err) {
						t.Errorf("got %v", err)
					}
				}
				for range 10 {
					go build()
				}
				synctest.Wait()
				time.Sleep(2 * time.Second)
				synctest.Wait()
				asked := []int64{workers.asked.Load()}
				build()
				asked = append(asked, workers.asked.Load())
				time.Sleep(2 * time.Minute)
				build()
				asked = append(asked, workers.asked.Load())
				if asked[0] != tt.once || asked[1] != tt.again || asked[2] != tt.later {
					t.Errorf("the workers were asked %d times", asked)
				}
			})
		})
	}
}
