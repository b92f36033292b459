// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// canary is what a misbehaving worker writes where nobody may ever read it.
const canary = "canary-5c1f"

// TestMain turns the test binary into a worker where a test starts it as one, as
// `muster script-worker` is the server's binary, or into a process that behaves as a
// worker must not.
func TestMain(m *testing.M) {
	modes := map[string]func() error{
		"script-worker": func() error { return ServeWorker(os.Stdin, os.Stdout, testPrograms()...) },
		"worker-abroad": func() error {
			time.Local = time.FixedZone("abroad", 9*60*60)
			return ServeWorker(os.Stdin, os.Stdout)
		},
		"parent":    beParent,
		"noisy":     func() error { return misbehave(func() error { return errors.New(canary) }) },
		"panicking": func() error { return misbehave(func() error { panic(canary) }) },
		"crashing": func() error {
			return misbehave(func() error {
				signal.Reset()
				return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGSEGV), drain())
			})
		},
		"babbling": func() error { return misbehave(func() error { return writeFrame(os.Stdout, []byte(canary)) }) },
		"boasting": func() error {
			return misbehave(func() error {
				_, err := os.Stdout.Write([]byte{0xff, 0xff, 0xff, 0xff})
				return errors.Join(err, drain())
			})
		},
		"silent":    func() error { return misbehave(drain) },
		"unready":   drain,
		"unwilling": func() error { return writeJSON(os.Stdout, readiness{Error: "no room here"}) },
	}
	if len(os.Args) > 1 {
		if mode, found := modes[os.Args[1]]; found {
			if err := mode(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// misbehave becomes ready as a worker does and acts once it has been given a request.
func misbehave(act func() error) error {
	in := bufio.NewReader(os.Stdin)
	var s settings
	if err := readJSON(in, maxHeader, &s); err != nil {
		return err
	}
	if err := writeJSON(os.Stdout, readiness{}); err != nil {
		return err
	}
	if _, err := in.Peek(1); err != nil {
		return nil // dismissed
	}
	return act()
}

// drain reads standard input to its end and says nothing.
func drain() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// beParent evaluates something endless until it is killed.
func beParent() error {
	pool := NewPool(Options{Command: command("script-worker"), WallLimit: time.Hour})
	ctx := context.Background()
	ended := make(chan error)
	go func() { ended <- pool.Run(ctx) }()
	<-pool.Ready()
	_, err := pool.RenderTemplate(ctx, Template{Name: "endless", Text: endless})
	return errors.Join(err, <-ended)
}

const endless = `{{range 2000000000000}}{{end}}`

func command(mode string) []string { return []string{"/proc/self/exe", mode} }

// runPool runs a pool until the test ends, and then checks that no worker outlived it. It
// gives evaluations more time than they need even on a machine under load.
func runPool(t *testing.T, options Options) (pool *Pool, stop func()) {
	t.Helper()
	if options.Command == nil {
		options.Command = command("script-worker")
	}
	if options.WallLimit == 0 {
		options.WallLimit = time.Minute
	}
	pool = NewPool(options)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	select {
	case <-pool.Ready():
	case err := <-ended:
		t.Fatalf("Run() = %v", err)
	}
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
		if left := children(t, os.Getpid()); len(left) > 0 {
			t.Errorf("processes %v outlived Run", left)
		}
	}
	t.Cleanup(stop)
	return pool, stop
}

// children lists the processes that a process has started and not yet reaped.
func children(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no list of children of %d: %v", pid, err)
	}
	var pids []int
	for _, file := range files {
		list, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has ended meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(list)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// gone tells whether a process has ended, be it that nobody has reaped it.
func gone(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

// eventually waits until a condition of the system outside this process holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}

// startParent starts a process that runs a pool with one busy worker.
func startParent(t *testing.T) (parent *exec.Cmd, worker int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "parent")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // an error where the test has waited itself
	})
	// The first child that a Go process starts may be the runtime's own, a probe
	// of what the kernel can do, gone in a moment: the worker is the one at work.
	eventually(t, "the parent has a busy worker", func() bool {
		for _, child := range children(t, cmd.Process.Pid) {
			if busyTicks(t, child) >= 10 {
				worker = child
			}
		}
		return worker != 0
	})
	return cmd, worker
}

// busyTicks is how long a process has kept a processor busy, in ticks of 10 ms;
// 0 of one that has ended.
func busyTicks(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	const userTime = 11 // the field's place, counted from the state
	ticks, err := strconv.Atoi(strings.Fields(after)[userTime])
	if err != nil {
		t.Fatal(err)
	}
	return ticks
}

func render(t *testing.T, pool *Pool, text string, data map[string]any) string {
	t.Helper()
	output, err := pool.RenderTemplate(t.Context(), Template{Name: "test", Text: text, Data: data})
	if err != nil {
		t.Fatalf("RenderTemplate(%s): %v", text, err)
	}
	return output
}
