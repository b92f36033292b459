// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backups has the commands that make backups of what Muster keeps, and
// data directories from them.
package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/snapshot"
	"github.com/muster-project/muster/pkg/storage/records"
)

// backupOptions are the flags of a backup.
type backupOptions struct {
	file, dir, dataDir string
	keep               int
	client             etcd.ClientConfig
}

// NewBackupCommand returns `muster backup`.
func NewBackupCommand() *cobra.Command {
	var o backupOptions
	cmd := &cobra.Command{
		Use:   "backup --file FILE | --dir DIR [--keep N]",
		Short: "Make a backup of all that Muster keeps",
		Long: "Make a backup of all that Muster keeps: of the etcd that --etcd-servers names, or of the one inside a server, by its data directory, " +
			"whether that server runs or not. The file is verified and there as a whole, or not at all. With --dir it is named by time and revision, " +
			"and with --keep the oldest of those that were made so are removed, once the new one is there. A backup holds what the etcd holds: " +
			"keep it as you would keep kubeconfigs, and the key of its encryption elsewhere.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			save := func(from etcd.ClientConfig) error {
				return o.save(cmd.Context(), from, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			if len(o.client.Endpoints) > 0 {
				return save(o.client)
			}
			return snapshot.FromEmbedded(cmd.Context(), o.dataDir, save)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.file, "file", "", "File to write, or - for the standard output.")
	fs.StringVar(&o.dir, "dir", "", "Directory to write a file to that is named by time and revision, in place of --file. For the backups of one etcd.")
	fs.IntVar(&o.keep, "keep", 0, "How many of the backups in --dir to keep, the new one among them. 0 keeps all.")
	fs.StringVar(&o.dataDir, "data-dir", "/var/lib/muster", "Data directory of the server whose etcd runs inside it, as the server's flag of this name. For its user, or root.")
	fs.StringSliceVar(&o.client.Endpoints, "etcd-servers", nil, "List of etcd servers to connect with (scheme://host:port), comma separated, as the server's flag of this name.")
	fs.StringVar(&o.client.CertFile, "etcd-certfile", "", "Certificate to show to them.")
	fs.StringVar(&o.client.KeyFile, "etcd-keyfile", "", "Key of --etcd-certfile.")
	fs.StringVar(&o.client.CAFile, "etcd-cafile", "", "CA that their certificates have to be signed by.")
	return cmd
}

func (o *backupOptions) validate() error {
	switch {
	case o.file == "" && o.dir == "":
		return errors.New("--file or --dir is needed: where to write the backup, as a file, - for the standard output, or a directory of backups")
	case o.file != "" && o.dir != "":
		return errors.New("--file and --dir exclude each other: one backup, or one more of several")
	case o.keep < 0:
		return fmt.Errorf("--keep is %d, and no less than 0 backups can be kept", o.keep)
	case o.keep > 0 && o.dir == "":
		return errors.New("--keep is for the backups of --dir")
	}
	return nil
}

// save writes the backup, and what was done to out, or to report where the backup itself goes there.
func (o *backupOptions) save(ctx context.Context, from etcd.ClientConfig, out, report io.Writer) error {
	if o.dir != "" {
		return o.saveSeries(ctx, from, out)
	}
	var info snapshot.Info
	var err error
	if o.file == "-" {
		info, err = snapshot.Save(ctx, from, out)
	} else {
		info, err = snapshot.SaveFile(ctx, from, o.file)
		report = out
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(report, "Backup to %s: %s\n", o.file, info)
	return err
}

func (o *backupOptions) saveSeries(ctx context.Context, from etcd.ClientConfig, out io.Writer) error {
	path, info, removed, err := snapshot.SaveSeries(ctx, from, snapshot.SeriesOptions{Dir: o.dir, Keep: o.keep, Now: time.Now()})
	var lines []string
	if path != "" {
		lines = append(lines, fmt.Sprintf("Backup to %s: %s", path, info))
	}
	for _, old := range removed {
		lines = append(lines, "Removed "+old)
	}
	for _, line := range lines {
		if _, failed := fmt.Fprintln(out, line); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

// NewRestoreCommand returns `muster restore`.
func NewRestoreCommand() *cobra.Command {
	var o snapshot.RestoreOptions
	var peers []string
	var prefix, installation string
	cmd := &cobra.Command{
		Use:   "restore --file FILE --data-dir DIR",
		Short: "Make a data directory from a backup",
		Long: "Make a data directory from a backup: that of a server with its etcd inside, or with --name and --peers that of one member of a cluster, " +
			"whose other members are restored from the same file in the same way. The directory has to be empty. Nothing of before can write to " +
			"what was restored, and servers hold everything until a person has confirmed it with kubectl muster confirm-storage.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.File == "" || o.DataDir == "" {
				return errors.New("--file and --data-dir are needed: the backup, and the directory to make from it")
			}
			o.InitialCluster = strings.Join(peers, ",")
			if prefix == "" && installation != "" {
				prefix = path.Join(records.Root, installation)
			}
			if prefix != "" {
				o.Prefixes = []string{path.Clean("/" + prefix)}
			}
			o.Now = time.Now()
			result, err := snapshot.Restore(cmd.Context(), o)
			if err != nil {
				return err
			}
			return reportRestore(cmd.OutOrStdout(), o, result)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.File, "file", "", "Backup to restore.")
	fs.StringVar(&o.DataDir, "data-dir", "", "Directory to make, as the flag of this name of muster server or muster etcd. It has to be empty, or not to exist.")
	fs.StringVar(&o.Name, "name", "", "Name of the member, as that of muster etcd.")
	fs.StringSliceVar(&peers, "peers", nil, "All members, as those of muster etcd: name=https://host:port, comma separated.")
	fs.StringVar(&o.Token, "token", "", "A word, the same for all members, that makes this restore another one than an earlier one of the same file with the same members.")
	fs.StringVar(&prefix, "etcd-prefix", "", "Where the installation keeps its keys, as the server's flag of this name. Default: all installations below "+records.Root+".")
	fs.StringVar(&installation, "installation", "", "Name of the installation, as the server's flag of this name.")
	return cmd
}

func reportRestore(out io.Writer, o snapshot.RestoreOptions, result snapshot.Result) error {
	lines := []string{
		fmt.Sprintf("Restored %s to %s: %s", o.File, o.DataDir, result.Backup),
		fmt.Sprintf("The restored store is etcd cluster %s and begins at revision %d.", result.ClusterID, result.Revision),
	}
	for _, prefix := range slices.Sorted(maps.Keys(result.Epochs)) {
		lines = append(lines, fmt.Sprintf("%s begins at epoch %d.", prefix, result.Epochs[prefix]))
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}
