// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package backups

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/records"
)

// run runs a command and returns what it says.
func run(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage = true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestBackupRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no place":             {nil, "--file or --dir is needed"},
		"two places":           {[]string{"--file=x", "--dir=y"}, "exclude each other"},
		"a number of one file": {[]string{"--file=x", "--keep=3"}, "--keep is for the backups of --dir"},
		"fewer than none":      {[]string{"--dir=x", "--keep=-1"}, "--keep is -1"},
		"no etcd":              {[]string{"--dir=x", "--data-dir=/no/such/dir"}, "--etcd-servers"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := run(t, NewBackupCommand(), test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// From the flags of the chart's CronJob to a data directory.
func TestBackupsOfADirectoryAreRestored(t *testing.T) {
	server, client := etcdtest.Start(t)
	if _, err := records.RaiseEpoch(t.Context(), client, "/registry/muster/default"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "muster-backup-20200101T000000Z-revision-1.db")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := run(t, NewBackupCommand(), "--etcd-servers="+server.Endpoint(), "--dir="+dir, "--keep=1")
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(found) != 1 || found[0] == old {
		t.Fatalf("there are %q, %v", found, err)
	}
	for _, want := range []string{"Backup to " + found[0] + ": revision ", "Removed " + old} {
		if !strings.Contains(said, want) {
			t.Errorf("it says %q, want %q", said, want)
		}
	}
	said, err = run(t, NewRestoreCommand(), "--file="+found[0], "--data-dir="+filepath.Join(t.TempDir(), "data"))
	if err != nil || !strings.Contains(said, "begins at epoch") {
		t.Errorf("restore says %q, %v", said, err)
	}
}
