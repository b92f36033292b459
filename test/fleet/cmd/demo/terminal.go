// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// heading begins a step.
func heading(text string) { fmt.Printf("\n== %s\n", text) }

// explain says what to look at.
func explain(format string, args ...any) { fmt.Printf("# "+format+"\n", args...) }

// do shows a kubectl command and runs it.
func (d *demo) do(ctx context.Context, args ...string) error {
	fmt.Println("$ kubectl", strings.Join(args, " "))
	return d.kubectl.Stream(ctx, os.Stdout, os.Stdout, args...)
}

// helmList shows upstream Helm's own list of a cluster and returns it.
func (d *demo) helmList(ctx context.Context, cluster string) (string, error) {
	kubeconfig := relative(d.fleet.Managed(cluster).KubeconfigFile())
	args := []string{"list", "--all-namespaces", "--kubeconfig", kubeconfig}
	fmt.Println("$ helm", strings.Join(args, " "))
	out, err := exec.CommandContext(ctx, filepath.Join("bin", "helm"), args...).CombinedOutput()
	fmt.Print(string(out))
	if err != nil {
		return "", fmt.Errorf("helm %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}
