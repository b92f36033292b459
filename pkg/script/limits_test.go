// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bombs are templates that want more than anybody may have. Each ends at some limit; at
// which one depends on the machine's speed.
func bombs() map[string]string {
	const cycle = `{{ $d := dict }}{{ $_ := set $d "d" $d }}`
	return map[string]string{
		"until":                      `{{ range $i := until 2000000000 }}{{ end }}`,
		"untilStep":                  `{{ range untilStep 0 2000000000 1 }}{{ end }}`,
		"seq":                        `{{ seq 1 2000000000 }}`,
		"range over a number":        `{{ range 2000000000 }}{{ end }}`,
		"doubling a string":          `{{ $s := "xx" }}{{ range 100 }}{{ $s = print $s $s }}{{ end }}`,
		"doubling a list":            `{{ $l := list 1 2 }}{{ range 100 }}{{ $l = concat $l $l }}{{ end }}`,
		"repeat":                     `{{ repeat 2000000000 "x" }}`,
		"indent":                     `{{ indent 2000000000 "x" }}`,
		"printf":                     `{{ range 1000000 }}{{ $x := printf "%0999999d" 1 }}{{ end }}`,
		"regular expression":         `{{ $x := repeat 100000000 "a" | regexFindAll "a" }}`,
		"JSON in JSON":               `{{ $s := "\"" }}{{ range 100 }}{{ $s = toJson $s }}{{ end }}`,
		"template that calls itself": `{{ define "x" }}{{ template "x" (list . .) }}{{ end }}{{ template "x" 1 }}`,
		"branching recursion":        `{{ define "x" }}{{ template "x" . }}{{ template "x" . }}{{ end }}{{ template "x" 1 }}`,
		"huge output":                `{{ range 2000000000 }}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{ end }}`,
		"deep parentheses":           `{{ ` + strings.Repeat("(", MaxText/2) + ` }}`,
		"many actions":               strings.Repeat(`{{.}}`, MaxText/5),
		"a cycle, printed":           cycle + `{{ print $d }}`,
		"a cycle, as YAML":           cycle + `{{ toYaml $d }}`,
		"a cycle, as TOML":           cycle + `{{ toToml $d }}`,
		"a cycle, copied":            cycle + `{{ deepCopy $d }}`,
	}
}

func TestBombs(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: DefaultWallLimit})
	render(t, pool, "{{ 1 }}", nil)
	for name, text := range bombs() {
		t.Run(name, func(t *testing.T) {
			before := memory()
			exploded := make(chan error)
			go func() {
				_, err := pool.RenderTemplate(t.Context(), Template{Name: "bomb", Text: text})
				exploded <- err
			}()
			if got := render(t, pool, "{{ .a }}", map[string]any{"a": "neighbour"}); got != "neighbour" {
				t.Errorf("the neighbour was answered %q", got)
			}
			err := <-exploded
			_, refused := errors.AsType[*TemplateError](err)
			if !refused && !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrMemory) && !errors.Is(err, ErrOutput) {
				t.Errorf("got %v, want a limit's error", err)
			}
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the parent grew by %d MiB", grown>>20)
			}
		})
	}
}

// A neighbour is not answered when the bomb has had its time, but at once.
func TestNeighbourNeedNotWait(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	exploded := make(chan error)
	go func() {
		_, err := pool.RenderTemplate(ctx, Template{Name: "bomb", Text: endless})
		exploded <- err
	}()
	eventually(t, "the bomb has its worker", func() bool { return len(children(t, os.Getpid())) == 1 })
	if got := render(t, pool, "{{ .a }}", map[string]any{"a": "neighbour"}); got != "neighbour" {
		t.Errorf("got %q", got)
	}
	cancel()
	if err := <-exploded; !errors.Is(err, context.Canceled) {
		t.Errorf("the bomb: %v", err)
	}
}

// memory is what the Go runtime has got from the system, in bytes.
func memory() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys)
}

func TestLimitsSayWhichWasHit(t *testing.T) {
	patient, hasty := time.Minute, DefaultWallLimit
	for name, tc := range map[string]struct {
		wall     time.Duration
		template Template
		want     error
		figure   string
	}{
		"time": {
			hasty, Template{Text: endless}, ErrTimeout, "limit 1s",
		},
		"memory at once": {
			patient, Template{Text: `{{ repeat 2000000000 "x" }}`}, ErrMemory, "limit 256 MiB",
		},
		"memory bit by bit": {
			patient, Template{Text: `{{ $s := "xx" }}{{ range 100 }}{{ $s = print $s $s }}{{ end }}`}, ErrMemory, "limit 256 MiB",
		},
		"output": {
			patient, Template{Text: `{{ repeat 16777217 "x" }}`}, ErrOutput, "limit 16777216 bytes",
		},
		"output in pieces": {
			patient, Template{Text: `{{ range 2000000000 }}xxxxxxxxxxxxxxxx{{ end }}`}, ErrOutput, "limit 16777216 bytes",
		},
		"text": {
			patient, Template{Text: strings.Repeat("x", MaxText+1)}, ErrInput, "at most 4194304",
		},
		"data": {
			patient, Template{Data: map[string]any{"a": strings.Repeat("x", MaxData)}}, ErrInput, "at most 8388608",
		},
		"name": {
			patient, Template{Name: strings.Repeat("x", MaxMessage+1)}, ErrInput, "at most 1024",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pool, _ := runPool(t, Options{WallLimit: tc.wall, Workers: 1})
			_, err := pool.RenderTemplate(t.Context(), tc.template)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.figure) {
				t.Errorf("got %v, want %v (%s)", err, tc.want, tc.figure)
			}
			if got := render(t, pool, "{{ 1 }}", nil); got != "1" {
				t.Errorf("afterwards the pool answers %q", got)
			}
		})
	}
}

func TestWhatIsWithinTheLimitsPasses(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: time.Minute, Workers: 1})
	for range 2 { // the next must not suffer from what the last left in memory
		if got := render(t, pool, `{{ repeat 16777216 "x" }}`, nil); len(got) != MaxOutput {
			t.Errorf("got %d bytes, want %d", len(got), MaxOutput)
		}
		if got := render(t, pool, strings.Repeat("x", MaxText), nil); len(got) != MaxText {
			t.Errorf("got %d bytes, want %d", len(got), MaxText)
		}
		data := map[string]any{"a": strings.Repeat("x", MaxData-100)}
		if got := render(t, pool, `{{ len .a }}`, data); got != fmt.Sprint(MaxData-100) {
			t.Errorf("got %s, want %d", got, MaxData-100)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	pool, _ := runPool(t, Options{})
	_, err := pool.RenderTemplate(t.Context(), Template{Name: "test", Text: `{{ fail (repeat 3000 "é") }}`})
	own, ok := errors.AsType[*TemplateError](err)
	if !ok || len(own.Message) > MaxMessage || !strings.HasSuffix(own.Message, "é…") {
		t.Errorf("got %v", err)
	}
}

func TestWorkersDieWithTheirParent(t *testing.T) {
	parent, worker := startParent(t)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // reports the kill
	eventually(t, "the worker has died too", func() bool { return gone(t, worker) })
}

func TestWorkersAreConfined(t *testing.T) {
	t.Setenv("MUSTER_TEST_SECRET", canary)
	allowCoreDumps(t)
	pool, _ := runPool(t, Options{Workers: 1})
	render(t, pool, "{{ 1 }}", nil)
	pid := children(t, os.Getpid())[0]
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || len(environment) > 0 {
		t.Errorf("the environment is %q, %v", environment, err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		switch {
		case strings.HasPrefix(line, "Max data size") && strings.Contains(line, "unlimited"),
			strings.HasPrefix(line, "Max core file size") && !strings.Contains(line, " 0 "):
			t.Error(line)
		}
	}
}

// allowCoreDumps lets this process dump as much as it may, for workers to inherit.
func allowCoreDumps(t *testing.T) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: before.Max, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &before); err != nil {
			t.Error(err)
		}
	})
}

func TestDatesAreInUTC(t *testing.T) {
	pool, _ := runPool(t, Options{Command: command("worker-abroad")})
	for text, want := range map[string]string{
		`{{ toDate "2006-01-02" "2020-02-03" | unixEpoch }}`: fmt.Sprint(time.Date(2020, 2, 3, 0, 0, 0, 0, time.UTC).Unix()),
		`{{ (toDate "2006-01-02" "2020-02-03").Local }}`:     "2020-02-03 00:00:00 +0000 UTC",
	} {
		if got := render(t, pool, text, nil); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// The kernel ends a worker with the thread that started it. Go ends threads too.
func TestWorkersOutliveThreads(t *testing.T) {
	pool, _ := runPool(t, Options{Workers: 1})
	render(t, pool, "{{ 1 }}", nil)
	before := children(t, os.Getpid())
	for range 300 {
		ended := make(chan struct{})
		go func() {
			runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
			close(ended)
		}()
		<-ended
	}
	render(t, pool, "{{ 1 }}", nil)
	if after := children(t, os.Getpid()); !slices.Equal(before, after) {
		t.Errorf("workers %v were replaced by %v", before, after)
	}
}

func TestBrokenWorkers(t *testing.T) {
	for name, tc := range map[string]struct {
		command []string
		want    error
		says    string
	}{
		"that cannot be started":          {[]string{"/nonexistent/worker"}, ErrWorker, "no such file"},
		"that dies with data on its lips": {command("noisy"), ErrWorker, "exit status 1"},
		"that panics":                     {command("panicking"), ErrWorker, "exit status 2"},
		"that crashes":                    {command("crashing"), ErrMemory, "limit 256 MiB"},
		"that is killed by somebody else": {[]string{"/bin/sh", "-c", "kill -9 $$"}, ErrWorker, "did not become ready"},
		"that answers nonsense":           {command("babbling"), ErrWorker, "decoding a frame"},
		"that announces four gigabytes":   {command("boasting"), ErrWorker, "exceeds its limit"},
		"that says nothing":               {command("silent"), ErrTimeout, "limit 1s"},
		"that cannot confine itself":      {command("unwilling"), ErrWorker, "no room here"},
	} {
		t.Run(name, func(t *testing.T) {
			pool, _ := runPool(t, Options{Command: tc.command, WallLimit: DefaultWallLimit})
			before := memory()
			_, err := pool.RenderTemplate(t.Context(), Template{Name: "test", Text: "{{ 1 }}"})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v (%s)", err, tc.want, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error surfaces what the worker wrote: %v", err)
			}
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the parent grew by %d MiB", grown>>20)
			}
		})
	}
}

func TestWorkerThatDoesNotStartIsGivenUpOn(t *testing.T) {
	pool, _ := runPool(t, Options{Command: command("unready")})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := pool.RenderTemplate(ctx, Template{Name: "test"})
		failed <- err
	}()
	eventually(t, "the worker runs", func() bool { return len(children(t, os.Getpid())) == 1 })
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
