// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestRenderTemplate(t *testing.T) {
	pool, _ := runPool(t, Options{})
	cluster := map[string]any{
		"metadata": map[string]any{"name": "cluster1", "labels": map[string]any{"env": "prod"}},
		"spec":     map[string]any{"big": int64(1000000), "half": 0.5, "list": []any{"a", "b"}},
	}
	for name, tc := range map[string]struct{ text, want string }{
		"plain text":                   {"a: b\n", "a: b\n"},
		"nothing":                      {"", ""},
		"a field of the cluster":       {"{{ .Cluster.metadata.name }}", "cluster1"},
		"a large whole number":         {"{{ .Cluster.spec.big }}", "1000000"},
		"a fraction":                   {"{{ .Cluster.spec.half }}", "0.5"},
		"a key whose value is nil":     {"{{ if .Nothing }}yes{{ else }}no{{ end }}", "no"},
		"functions of sprig":           {`{{ .Cluster.metadata.name | upper | quote }}`, `"CLUSTER1"`},
		"a loop":                       {`{{ range $i, $x := .Cluster.spec.list }}{{ $i }}{{ $x }}{{ end }}`, "0a1b"},
		"a named template":             {`{{ define "x" }}<{{ . }}>{{ end }}{{ template "x" 1 }}`, "<1>"},
		"characters that HTML escapes": {`{{ "<&>" }}`, "<&>"},
		"output that is not UTF-8":     {`{{ "/wA=" | b64dec }}`, "\xff\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			got := render(t, pool, tc.text, map[string]any{"Cluster": cluster, "Nothing": nil})
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTemplateErrorsNameTheLine(t *testing.T) {
	pool, _ := runPool(t, Options{})
	for name, tc := range map[string]struct{ text, want string }{
		"unclosed":         {"a\n\n{{ if true", "template cm.yaml, line 3: unclosed action"},
		"missing key":      {"a\n{{ .Cluster.nope }}", `template cm.yaml, line 2: at <.Cluster.nope>: map has no entry for key "nope"`},
		"missing root":     {"{{ .MgmtResources }}", `template cm.yaml, line 1: at <.MgmtResources>: map has no entry for key "MgmtResources"`},
		"unknown function": {`{{ env "HOME" }}`, `template cm.yaml, line 1: function "env" not defined`},
		"fail":             {"\n\n\n{{ fail \"no: way\" }}", `template cm.yaml, line 4: at <fail "no: way">: error calling fail: no: way`},
		"panic":            {`{{ first 5 }}`, `template cm.yaml, line 1: at <first 5>: error calling first: Cannot find first on type int`},
		"endless template": {`{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`,
			`template cm.yaml, line 1: executing "x" at <{{template "x"}}>: exceeded maximum template depth (100000)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pool.RenderTemplate(t.Context(), Template{
				Name: "cm.yaml", Text: tc.text, Data: map[string]any{"Cluster": map[string]any{}},
			})
			if _, ok := errors.AsType[*TemplateError](err); !ok || err.Error() != tc.want {
				t.Errorf("got %T %v, want *TemplateError %s", err, err, tc.want)
			}
		})
	}
}

func TestEvaluationsShareNothing(t *testing.T) {
	pool, _ := runPool(t, Options{Workers: 1})
	data := map[string]any{"m": map[string]any{"a": "1"}}
	render(t, pool, `{{ define "left" }}behind{{ end }}{{ $_ := set .m "b" "2" }}`, data)
	if got := render(t, pool, `{{ .m }}`, data); got != "map[a:1]" {
		t.Errorf("an earlier evaluation changed the data to %s", got)
	}
	_, err := pool.RenderTemplate(t.Context(), Template{Name: "test", Text: `{{ template "left" }}`})
	if err == nil || !strings.Contains(err.Error(), `template "left" not defined`) {
		t.Errorf("an earlier evaluation's template is still there: %v", err)
	}
}

// Answers must never be mixed up, whoever asks beside whom and whatever is killed
// meanwhile.
func TestConcurrentEvaluations(t *testing.T) {
	pool, _ := runPool(t, Options{Workers: 3})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%10 == 0 {
				cancel()
			}
			text := fmt.Sprintf("{{ .n }} %s", strings.Repeat("x", i*1000))
			got, err := pool.RenderTemplate(ctx, Template{Name: "test", Text: text, Data: map[string]any{"n": i}})
			want := fmt.Sprintf("%d %s", i, strings.Repeat("x", i*1000))
			switch {
			case i%10 == 0 && errors.Is(err, context.Canceled):
			case err != nil:
				t.Errorf("evaluation %d: %v", i, err)
			case got != want:
				t.Errorf("evaluation %d got the answer %.20q", i, got)
			}
		})
	}
	wg.Wait()
	if n := len(children(t, os.Getpid())); n > 3 {
		t.Errorf("%d processes, at most 3 are allowed", n)
	}
}

func TestWorkersStartOnDemandAndStay(t *testing.T) {
	pool, _ := runPool(t, Options{})
	if pids := children(t, os.Getpid()); len(pids) > 0 {
		t.Fatalf("workers %v run before anything is to be done", pids)
	}
	for range 50 {
		render(t, pool, "{{ 1 }}", nil)
	}
	before := children(t, os.Getpid())
	if len(before) == 0 || len(before) > DefaultWorkers {
		t.Fatalf("%d workers, want 1 or %d", len(before), DefaultWorkers)
	}
	for range 50 {
		render(t, pool, "{{ 1 }}", nil)
	}
	if after := children(t, os.Getpid()); !slices.Equal(before, after) {
		t.Errorf("workers %v were replaced by %v for no reason", before, after)
	}
}

func TestIdleWorkersEnd(t *testing.T) {
	pool, _ := runPool(t, Options{IdleLimit: time.Millisecond})
	for range 3 {
		render(t, pool, "{{ 1 }}", nil)
		eventually(t, "the idle worker has ended", func() bool { return len(children(t, os.Getpid())) == 0 })
	}
}

func TestWorkerThatDiedIdleIsReplacedUnseen(t *testing.T) {
	pool, _ := runPool(t, Options{Workers: 1})
	render(t, pool, "{{ 1 }}", nil)
	pid := children(t, os.Getpid())[0]
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker is dead", func() bool { return gone(t, pid) })
	if got := render(t, pool, "{{ 1 }}", nil); got != "1" {
		t.Errorf("got %q", got)
	}
}

func TestCancellingKillsTheEvaluation(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: time.Hour, Workers: 1})
	reason := errors.New("nobody wants it any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error)
	go func() {
		_, err := pool.RenderTemplate(ctx, Template{Name: "test", Text: endless})
		failed <- err
	}()
	eventually(t, "a worker runs", func() bool { return len(children(t, os.Getpid())) == 1 })
	pid := children(t, os.Getpid())[0]
	cancel(reason)
	if err := <-failed; !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
	if got := render(t, pool, "{{ 1 }}", nil); got != "1" || !gone(t, pid) {
		t.Errorf("got %q; killed: %v", got, gone(t, pid))
	}
}

func TestEndOfRunKillsEvaluations(t *testing.T) {
	pool, stop := runPool(t, Options{WallLimit: time.Hour, Workers: 1})
	failed := make(chan error, 2)
	for range 2 { // one is evaluated, one waits for the worker
		go func() {
			_, err := pool.RenderTemplate(t.Context(), Template{Name: "test", Text: endless})
			failed <- err
		}()
	}
	eventually(t, "a worker runs", func() bool { return len(children(t, os.Getpid())) == 1 })
	stop()
	for range 2 {
		if err := <-failed; !errors.Is(err, ErrNotRunning) {
			t.Errorf("got %v, want %v", err, ErrNotRunning)
		}
	}
}

func TestOutsideRun(t *testing.T) {
	pool := NewPool(Options{Command: command("script-worker")})
	if _, err := pool.RenderTemplate(t.Context(), Template{Name: "test"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before Run: %v, want %v", err, ErrNotRunning)
	}
	pool, stop := runPool(t, Options{})
	if err := pool.Run(t.Context()); err == nil {
		t.Error("Run could be called twice")
	}
	stop()
	if _, err := pool.RenderTemplate(t.Context(), Template{Name: "test"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after Run: %v, want %v", err, ErrNotRunning)
	}
}

func TestRunRefusesOptions(t *testing.T) {
	for name, options := range map[string]Options{
		"no command":       {},
		"negative workers": {Command: command("script-worker"), Workers: -1},
		"negative memory":  {Command: command("script-worker"), MemoryLimit: -1},
		"negative time":    {Command: command("script-worker"), WallLimit: -1},
		"negative idling":  {Command: command("script-worker"), IdleLimit: -1},
	} {
		t.Run(name, func(t *testing.T) {
			pool := NewPool(options)
			if err := pool.Run(t.Context()); err == nil {
				t.Error("Run accepted them")
			}
			if _, err := pool.RenderTemplate(t.Context(), Template{}); !errors.Is(err, ErrNotRunning) {
				t.Errorf("RenderTemplate: %v", err)
			}
		})
	}
}
