// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// parentEnv makes the test binary a parent that starts a child, prints its
// pid and waits to be killed.
const parentEnv = "FLEET_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		p, err := launch(shell(dir, "child", "exec sleep 600"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(p.id.PID)
		<-p.done
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func shell(dir, name, script string) command {
	return command{name: name, path: "/bin/sh", args: []string{"-c", script}, dir: dir, env: os.Environ()}
}

func launchForTest(t *testing.T, c command) *process {
	t.Helper()
	p, err := launch(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func never(context.Context) error { return errors.New("not yet ready") }

func TestFailedStartShowsTheLogsEnd(t *testing.T) {
	p := launchForTest(t, shell(t.TempDir(), "brittle", "seq 1 100; echo the reason >&2; exit 3"))
	err := p.awaitReady(t.Context(), never)
	if err == nil {
		t.Fatal("a process that ended got ready")
	}
	for _, want := range []string{"brittle did not get ready", "exit status 3", p.logFile(), "\n  100\n  the reason"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n  2\n") {
		t.Errorf("error shows more than the log's end: %v", err)
	}
}

func TestSlowStartSaysWhatIsMissing(t *testing.T) {
	p := launchForTest(t, shell(t.TempDir(), "slow", "exec sleep 600"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.awaitReady(ctx, never)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not yet ready") {
		t.Errorf("got %v, want the deadline and the last failure", err)
	}
	if !p.running() {
		t.Error("the process was ended; that is its owner's decision")
	}
}

func TestKillReachesWorkers(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "worker")
	p := launchForTest(t, shell(dir, "boss", "sleep 600 & echo $! > "+pidFile+".new; mv "+pidFile+".new "+pidFile+"; wait"))
	var worker ProcessID
	await(t, "the worker starts", func() bool {
		data, err := os.ReadFile(pidFile)
		if err != nil {
			return false
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return false
		}
		worker, err = identify(pid)
		return err == nil
	})
	p.kill()
	await(t, "the worker ends", func() bool { return !worker.Alive() })
}

func TestTerminate(t *testing.T) {
	tests := map[string]struct {
		script  string
		orderly bool
	}{
		"an orderly end":     {"trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", true},
		"SIGTERM is ignored": {"trap '' TERM; echo up; while :; do sleep 0.01; done", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := launchForTest(t, shell(t.TempDir(), "server", test.script))
			await(t, "the server is up", func() bool { return strings.Contains(p.tail(), "up") })
			grace := prompt
			if !test.orderly {
				grace = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), grace)
			defer cancel()
			if err := p.terminate(ctx); (err == nil) != test.orderly {
				t.Errorf("terminate: %v, want orderly=%t", err, test.orderly)
			}
			if p.running() {
				t.Error("the process is still there")
			}
		})
	}
}

func TestRestartAppendsToTheLog(t *testing.T) {
	c := shell(t.TempDir(), "server", "echo run")
	for range 2 {
		<-launchForTest(t, c).done
	}
	if got := tailOf(c.logFile(), 5); got != "  run\n  run" {
		t.Errorf("log is %q", got)
	}
}
