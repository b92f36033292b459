// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// DefaultName is the fleet that the commands mean when none is named.
const DefaultName = "default"

// hostName is the host's directory and process prefix; no managed cluster may
// take it.
const hostName = "host"

var nameFormat = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// Options says what Start starts. The zero value is a host with Muster and no
// managed cluster.
type Options struct {
	// Name tells fleets apart that run side by side. DefaultName if empty.
	Name string
	// Dir holds everything the fleet writes: keys, data, logs, state. It is
	// made if it is missing and must not belong to a running fleet.
	// .fleet/<Name> in the repository if empty.
	Dir string
	// Bin holds the programs. bin/ in the repository if empty.
	Bin string
	// Managed names the managed control planes (DNS labels).
	Managed []string
	// ManagedControllers runs a kube-controller-manager for each managed
	// control plane too. Without one a managed cluster has no garbage
	// collection, no namespace deletion and no default ServiceAccounts, and
	// starts with a quarter less memory and CPU time.
	ManagedControllers bool
	// WithoutMuster leaves Muster and its manifests out.
	WithoutMuster bool
	// Replicas is how many Muster servers run, on an etcd of several members, as
	// the chart installs it. 0 is one server with its etcd inside.
	Replicas int
	// Spare is how many of Replicas are not started with the fleet: what an upgrade
	// starts in place of others, or a larger number of replicas adds.
	Spare int
	// MusterArgs are appended to Muster's arguments, so they win over the
	// shipped ones.
	MusterArgs []string
	// Logf receives progress, one line a call; t.Logf fits. Discarded if nil.
	Logf func(format string, args ...any)
}

// complete fills in defaults and makes paths absolute.
func (o Options) complete() (Options, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if err := o.validate(); err != nil {
		return o, err
	}
	if o.Dir == "" {
		dir, err := DefaultDir(o.Name)
		if err != nil {
			return o, err
		}
		o.Dir = dir
	}
	if o.Bin == "" {
		root, err := RepositoryRoot()
		if err != nil {
			return o, err
		}
		o.Bin = filepath.Join(root, "bin")
	}
	for _, path := range []*string{&o.Dir, &o.Bin} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return o, fmt.Errorf("resolving %q: %w", *path, err)
		}
		*path = abs
	}
	return o, o.checkPrograms()
}

func (o Options) validate() error {
	if !nameFormat.MatchString(o.Name) {
		return fmt.Errorf("fleet name %q: want at most 40 lower-case letters, digits and dashes", o.Name)
	}
	if o.Replicas < 0 {
		return fmt.Errorf("%d replicas: want none or more", o.Replicas)
	}
	if o.Spare < 0 || o.Spare > 0 && o.Spare >= o.Replicas {
		return fmt.Errorf("%d of %d replicas are spare: want one at least to be started", o.Spare, o.Replicas)
	}
	for i, name := range o.Managed {
		switch {
		case !nameFormat.MatchString(name):
			return fmt.Errorf("managed cluster name %q: want at most 40 lower-case letters, digits and dashes", name)
		case name == hostName:
			return fmt.Errorf("managed cluster name %q is the host's", name)
		case slices.Contains(o.Managed[:i], name):
			return fmt.Errorf("managed cluster name %q is given twice", name)
		}
	}
	return nil
}

// checkPrograms fails with what to run rather than with the first missing file
// in the middle of a start.
func (o Options) checkPrograms() error {
	programs := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}
	if !o.WithoutMuster {
		programs = append(programs, "muster")
	}
	var missing []string
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(o.Bin, program)); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s has no %s: run `make build` first", o.Bin, strings.Join(missing, ", "))
	}
	return nil
}

// RepositoryRoot is the directory of Muster's go.mod, looked for from the
// working directory upwards.
func RepositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/muster-project/muster\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("finding the repository: no go.mod of Muster in the working directory or above it")
		}
		dir = parent
	}
}

// DefaultDir is where the fleet of that name lives unless told otherwise.
func DefaultDir(name string) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".fleet", name), nil
}
