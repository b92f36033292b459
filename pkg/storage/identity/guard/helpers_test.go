// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/muster-project/muster/pkg/hosttest"
	"github.com/muster-project/muster/pkg/storage/identity"
	"github.com/muster-project/muster/pkg/storage/identity/guard"
)

const (
	namespace = "projectsveltos"
	prefix    = "/registry/muster/default"
	patience  = 20 * time.Second
)

// newHost is a host cluster whose namespace has the UID.
func newHost(uid types.UID) kubernetes.Interface {
	return hosttest.New(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, UID: uid}})
}

// server is a guard at work.
type server struct {
	*guard.Guard
	stop func() error
	// done says whether Run has returned by itself.
	done func() bool
	// began is closed when what needs storage runs, ended when it has ended.
	began, ended chan struct{}
}

// start starts a server, which ends with the test or by stop.
func start(t *testing.T, host kubernetes.Interface, client *clientv3.Client, change ...func(*guard.Options)) *server {
	t.Helper()
	opts := guard.Options{Client: client, Host: host, Namespace: namespace, Prefix: prefix, CheckPeriod: 20 * time.Millisecond}
	for _, c := range change {
		c(&opts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{Guard: guard.New(ctx, opts), began: make(chan struct{}), ended: make(chan struct{})}
	done, worked := make(chan error, 1), make(chan error, 1)
	var returned atomic.Bool
	s.done = returned.Load
	go func() {
		err := s.Run(ctx)
		returned.Store(true)
		done <- err
	}()
	go func() {
		worked <- s.While(ctx, func(ctx context.Context) error {
			close(s.began)
			<-ctx.Done()
			close(s.ended)
			return nil
		})
	}()
	var stopped bool
	var result error
	s.stop = func() error {
		if stopped {
			return result
		}
		stopped = true
		cancel()
		result = <-done
		if err := <-worked; err != nil {
			t.Errorf("While: %v", err)
		}
		return result
	}
	t.Cleanup(func() { _ = s.stop() })
	return s
}

// within waits for c.
func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("not in time: %s", what)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// requireTrusted waits until a server trusts its storage and works with it.
func requireTrusted(t *testing.T, s *server) {
	t.Helper()
	within(t, "storage is trusted", s.began)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// requireHeld waits until a server's storage is held for a reason, and returns
// what is said of it.
func requireHeld(t *testing.T, s *server, reason identity.Reason) *identity.Held {
	t.Helper()
	var held *identity.Held
	eventually(t, "storage is held as "+string(reason), func() bool {
		return errors.As(s.Err(), &held) && held.Reason == reason
	})
	return held
}

// stored reads the ConfigMap.
func stored(t *testing.T, host kubernetes.Interface) identity.Stored {
	t.Helper()
	configMap, err := host.CoreV1().ConfigMaps(namespace).Get(t.Context(), identity.ConfigMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return identity.Stored{}
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.Parse(configMap.Data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// write changes the ConfigMap's data, as a person would.
func write(t *testing.T, host kubernetes.Interface, change func(map[string]string)) {
	t.Helper()
	configMaps := host.CoreV1().ConfigMaps(namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		configMap, err := configMaps.Get(t.Context(), identity.ConfigMapName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(configMap.Data)
		_, err = configMaps.Update(t.Context(), configMap, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// confirm accepts what was found.
func confirm(t *testing.T, host kubernetes.Interface, found identity.Found, as string) {
	t.Helper()
	data, err := identity.Stored{Confirmed: &identity.Confirmation{Found: found, As: as}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := host.CoreV1().ConfigMaps(namespace).Create(t.Context(), identity.NewConfigMap(namespace, data), metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
		write(t, host, func(old map[string]string) {
			for key, value := range data {
				old[key] = value
			}
		})
	} else if err != nil {
		t.Fatal(err)
	}
}

// put writes an object, as the API server does, and returns the revision.
func put(t *testing.T, client *clientv3.Client, key string) int64 {
	t.Helper()
	resp, err := client.Put(t.Context(), prefix+"/"+key, "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// revision is etcd's current one.
func revision(t *testing.T, client *clientv3.Client) int64 {
	t.Helper()
	resp, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
