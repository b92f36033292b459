// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-muster is Muster's CLI, a plugin of kubectl.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/muster-project/muster/cmd/kubectl-muster/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if err := cli.New(streams).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		code := 1
		if exit := (*cli.ExitError)(nil); errors.As(err, &exit) {
			code = exit.Code
		}
		os.Exit(code)
	}
}
