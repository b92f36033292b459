// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Both commands say how to find the host where they cannot.
func TestCommandsWithoutAHost(t *testing.T) {
	for name, cmd := range map[string]*cobra.Command{"prepare": NewPrepareCommand(), "unregister": NewUnregisterCommand()} {
		t.Run(name, func(t *testing.T) {
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			cmd.SetArgs([]string{"--kubeconfig=" + filepath.Join(t.TempDir(), "missing")})
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
				t.Errorf("got %v", err)
			}
		})
	}
}
