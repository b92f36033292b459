// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A unix socket's path has a limit that directories have not.
func TestSocketPathsStayShort(t *testing.T) {
	long := strings.Repeat("x", 120)
	for name, dir := range map[string]struct{ fleet, temporary string }{
		"a short directory":               {"f", ""},
		"a long directory":                {long, ""},
		"a long temporary directory, too": {long, long},
	} {
		t.Run(name, func(t *testing.T) {
			if dir.temporary != "" {
				path := filepath.Join(t.TempDir(), dir.temporary)
				if err := os.MkdirAll(path, 0o700); err != nil {
					t.Fatal(err)
				}
				t.Setenv("TMPDIR", path)
			}
			parent, err := os.MkdirTemp("/tmp", "sockets-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(parent)
			e, err := newEtcd("", filepath.Join(parent, dir.fleet))
			if err != nil {
				t.Fatal(err)
			}
			if got := e.socket("control"); len(got) > maxSocketPath {
				t.Errorf("a socket's path has %d bytes: %s", len(got), got)
			}
			if info, err := os.Stat(e.sockets); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the sockets' directory: %v, %v", info, err)
			}
			e.stop()
			_, err = os.Stat(e.sockets)
			if temporary := filepath.Dir(e.sockets) != e.dir; temporary != errors.Is(err, os.ErrNotExist) {
				t.Errorf("after the end: temporary=%t, %v", temporary, err)
			}
		})
	}
}
