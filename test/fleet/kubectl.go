// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl is the stock kubectl with a kubeconfig, and with Muster's plugin in
// its path.
type Kubectl struct {
	program    string
	kubeconfig string
	home       string // kubectl's discovery cache: ports, its keys, are reused by later fleets
}

// Result is what a program printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs kubectl to its end. An exit status other than 0 is an error that
// carries standard error; the Result is complete all the same.
func (k *Kubectl) Run(ctx context.Context, args ...string) (Result, error) {
	return k.Input(ctx, "", args...)
}

// Input is Run with standard input.
func (k *Kubectl) Input(ctx context.Context, stdin string, args ...string) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := k.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return result, nil
	case errors.As(err, &exit):
		result.Code = exit.ExitCode()
		return result, fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(result.Stderr))
	default:
		return result, fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
}

// Stream is Run for output that the user reads while it appears.
func (k *Kubectl) Stream(ctx context.Context, stdout, stderr io.Writer, args ...string) error {
	cmd := k.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// Command is the prepared program, for a caller that wants to run it otherwise.
func (k *Kubectl) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.program, args...)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+k.kubeconfig,
		"HOME="+k.home,
		"PATH="+filepath.Dir(k.program)+string(os.PathListSeparator)+os.Getenv("PATH"),
	)
	return cmd
}
