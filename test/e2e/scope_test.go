// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/muster-project/muster/test/fleet"
)

// Deadlines. They are generous, because CI machines are slow; how fast things
// are is for the benchmarks to say.
const (
	// soon is for what Muster does without asking a managed cluster.
	soon = 20 * time.Second
	// deploySoon is for a deployment or a withdrawal.
	deploySoon = 60 * time.Second
	// failoverSoon is for detection, selection and deployment together.
	failoverSoon = 90 * time.Second
	// cleanupTimeout bounds what a test leaves to its scope.
	cleanupTimeout = 2 * time.Minute
)

// scope is what a test has for itself in the shared fleet. Its methods fail the
// test rather than return errors, unless they say otherwise; those that fail it
// at once must be called from the test's own goroutine.
type scope struct {
	*testing.T
	*environment
	// name is unique, a DNS label: the scope's namespace in the host, and part
	// of the name of what has none.
	name string

	began  time.Time
	broken bool
	undo   []func(context.Context) error // run last to first
}

// newScope gives the test a namespace of its own, and sees to it that what the
// scope's methods made is gone when the test has ended. Only the end of the
// namespace, which is empty then, nobody waits for: it takes 5 s.
func newScope(t *testing.T) *scope {
	t.Helper()
	return startScope(t, "e2e-"+utilrand.String(5), "--wait=false")
}

// newNamedScope is newScope with a given namespace, for manifests that name it.
func newNamedScope(t *testing.T, namespace string) *scope {
	t.Helper()
	return startScope(t, namespace, "--wait=true")
}

func startScope(t *testing.T, namespace, wait string) *scope {
	t.Helper()
	env, err := shared.get()
	if err != nil {
		t.Fatal(err)
	}
	s := &scope{T: t, environment: env, name: namespace, began: time.Now()}
	t.Cleanup(s.end)
	s.kubectl("create", "namespace", namespace)
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Kubectl(ctx, "delete", "namespace", namespace, wait)
		return err
	})
	return s
}

// breaks announces that the test damages the shared fleet, which is healed
// before the scope cleans up. Such a test must not be parallel.
func (s *scope) breaks() *scope {
	s.broken = true
	return s
}

// later registers what to undo when the test has ended, the latest first, with
// a context that still lives then.
func (s *scope) later(undo func(context.Context) error) { s.undo = append(s.undo, undo) }

// end shows what happened if the test failed, heals, and cleans up.
func (s *scope) end() {
	if s.Failed() {
		s.report()
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	if s.broken {
		if err := s.fleet.Heal(ctx); err != nil {
			s.Errorf("healing the fleet: %v", err)
		}
	}
	failed := s.Failed()
	for i := len(s.undo) - 1; i >= 0; i-- {
		if err := s.undo[i](ctx); err != nil {
			s.Errorf("cleaning up: %v", err)
		}
	}
	if !failed && s.Failed() {
		s.report()
	}
}

// path of a file in the repository.
func (s *scope) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// kubectl runs stock kubectl as administrator of the host and returns its
// output.
func (s *scope) kubectl(args ...string) string {
	s.Helper()
	result, err := s.fleet.Kubectl(s.Context(), args...)
	if err != nil {
		s.Fatalf("%v%s", err, result.Stdout)
	}
	return result.Stdout
}

// kubectlFails runs kubectl, which has to fail with this in its message.
func (s *scope) kubectlFails(want string, args ...string) fleet.Result {
	s.Helper()
	result, err := s.fleet.Kubectl(s.Context(), args...)
	switch {
	case err == nil:
		s.Fatalf("kubectl %s succeeded, want %q:\n%s", strings.Join(args, " "), want, result.Stdout)
	case !strings.Contains(result.Stderr, want):
		s.Fatalf("kubectl %s failed, not with %q: %v", strings.Join(args, " "), want, err)
	}
	return result
}

// apply applies a manifest to the host and deletes its objects when the test
// has ended. It returns what kubectl said, warnings included.
func (s *scope) apply(manifest string) string {
	s.Helper()
	s.deleteLater(manifest)
	result, err := s.fleet.Host.Kubectl().Input(s.Context(), manifest, "apply", "-f", "-")
	if err != nil {
		s.Fatalf("%v\n%s", err, manifest)
	}
	return result.Stdout + result.Stderr
}

// applyFails applies a manifest, which has to be refused with this in the
// message.
func (s *scope) applyFails(want, manifest string) {
	s.Helper()
	result, err := s.fleet.Host.Kubectl().Input(s.Context(), manifest, "apply", "-f", "-")
	if err == nil {
		s.deleteLater(manifest)
		s.Fatalf("it was accepted, want %q:\n%s", want, manifest)
	}
	if !strings.Contains(result.Stderr, want) {
		s.Fatalf("it was refused, not with %q: %v", want, err)
	}
}

// applyFile applies a manifest of the repository unedited.
func (s *scope) applyFile(name string) {
	s.Helper()
	manifest, err := os.ReadFile(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	s.deleteLater(string(manifest))
	s.kubectl("apply", "-f", s.path(name))
}

// deleteLater deletes the objects of a manifest when the test has ended, and
// waits until they are gone.
func (s *scope) deleteLater(manifest string) {
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Host.Kubectl().Input(ctx, manifest, "delete", "--ignore-not-found", "-f", "-")
		return err
	})
}

// register registers a cluster of the fleet in the scope's namespace, under its
// own name, and waits until it is ready.
func (s *scope) register(cluster string, labels map[string]string) {
	s.Helper()
	s.registerUnready(cluster, labels)
	s.awaitReady(cluster, true)
}

// registerUnready is register without the wait.
func (s *scope) registerUnready(cluster string, labels map[string]string) {
	s.Helper()
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Kubectl(ctx, "delete", "sveltoscluster", cluster, "--namespace="+s.name, "--ignore-not-found")
		return err
	})
	if err := s.fleet.RegisterManaged(s.Context(), s.name, cluster, labels); err != nil {
		s.Fatal(err)
	}
}

// labels are those that only this scope's clusters have.
func (s *scope) labels() map[string]string { return map[string]string{"scope": s.name} }

// awaitReady waits until a cluster is ready, or is not.
func (s *scope) awaitReady(cluster string, want bool) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s/%s has ready=%t", s.name, cluster, want), failoverSoon, func(ctx context.Context) error {
		object, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(ctx, cluster, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if object.Status.Ready != want {
			return fmt.Errorf("status is %s", asJSON(object.Status))
		}
		return nil
	})
}
