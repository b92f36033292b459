// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/test/fleet"
)

// clusterNames are the managed clusters of the shared fleet.
func clusterNames() []string { return []string{"cluster1", "cluster2", "cluster3"} }

// environment is what all tests share.
type environment struct {
	fleet    *fleet.Fleet
	observer *fleet.Observer
	// muster and host are administrator's clients of the two APIs that the host
	// serves.
	muster versioned.Interface
	host   kubernetes.Interface
	// managed has clients of the managed clusters, past their proxies.
	managed map[string]kubernetes.Interface
	// sources serves what profiles name by a URL.
	sources *sourceServer
	root    string
}

// shared is the environment. It starts when the first test asks for it, so that
// listing tests, or running one that needs none, costs nothing.
var shared lazy

type lazy struct {
	once sync.Once
	env  *environment
	err  error
}

func (l *lazy) get() (*environment, error) {
	l.once.Do(func() { l.env, l.err = start() })
	return l.env, l.err
}

// parallel is how many tests run beside each other: they mostly wait.
const parallel = 6

func TestMain(m *testing.M) {
	if program := os.Getenv(confinedProgram); program != "" {
		fmt.Fprintln(os.Stderr, becomeConfined(program))
		os.Exit(1)
	}
	flag.Parse()
	// The default is the number of processors; one that was asked for stays.
	if limit := flag.Lookup("test.parallel"); limit.Value.String() == limit.DefValue {
		if err := limit.Value.Set(strconv.Itoa(parallel)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if shared.env != nil {
		if err := shared.env.stop(code == 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func start() (*environment, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	root, err := fleet.RepositoryRoot()
	if err != nil {
		return nil, err
	}
	if err := builtPrograms(filepath.Join(root, "bin")); err != nil {
		return nil, err
	}
	// A directory of its own lets several runs go on side by side.
	dir, err := os.MkdirTemp("", "muster-e2e-")
	if err != nil {
		return nil, err
	}
	env := &environment{root: root, sources: newSourceServer()}
	env.fleet, err = fleet.Start(ctx, fleet.Options{
		Name: "e2e", Dir: dir, Managed: clusterNames(), MusterArgs: env.sources.mirrors(),
		Logf: func(format string, args ...any) { fmt.Fprintf(os.Stderr, "e2e: "+format+"\n", args...) },
	})
	if err != nil {
		return nil, err
	}
	if err := env.connect(); err != nil {
		return nil, errors.Join(err, env.fleet.Stop())
	}
	return env, nil
}

// builtPrograms says what to do if the programs under test are not there.
func builtPrograms(bin string) error {
	for _, program := range []string{"muster", "kubectl-muster", "kubectl", "kube-apiserver", "kube-controller-manager", "etcd", "helm"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return fmt.Errorf("the end-to-end tests run the programs in bin/; run `make build` first: %w", err)
		}
	}
	return nil
}

func (e *environment) connect() error {
	config, err := e.fleet.Host.RESTConfig()
	if err != nil {
		return err
	}
	if e.muster, err = versioned.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client of Muster: %w", err)
	}
	if e.host, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client of the host: %w", err)
	}
	e.managed = map[string]kubernetes.Interface{}
	for _, c := range e.fleet.Clusters() {
		config, err := c.RESTConfig()
		if err != nil {
			return err
		}
		if e.managed[c.Name()], err = kubernetes.NewForConfig(config); err != nil {
			return fmt.Errorf("making a client of %s: %w", c.Name(), err)
		}
	}
	e.observer, err = e.fleet.Observer()
	return err
}

// stop ends the fleet. The directory, with all logs, stays if a test failed.
func (e *environment) stop(passed bool) error {
	err := e.fleet.Stop()
	e.sources.Close()
	if passed {
		return errors.Join(err, os.RemoveAll(e.fleet.Dir()))
	}
	fmt.Fprintln(os.Stderr, "e2e: logs are in", e.fleet.Dir())
	return err
}
