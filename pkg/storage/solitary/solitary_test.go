// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package solitary_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-project/muster/pkg/hosttest"
	"github.com/muster-project/muster/pkg/storage/solitary"
)

func options(host kubernetes.Interface, dir string) solitary.Options {
	return solitary.Options{Host: host, Namespace: "projectsveltos", DataDir: dir, Server: "host_1"}
}

// acquire takes the Lease and returns how long that took.
func acquire(t *testing.T, host kubernetes.Interface, dir string) (*solitary.Tenure, time.Duration, error) {
	t.Helper()
	start := time.Now()
	tenure, err := solitary.Acquire(t.Context(), options(host, dir))
	return tenure, time.Since(start), err
}

// run runs a tenure until the returned function is called.
func run(t *testing.T, tenure *solitary.Tenure) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tenure.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestOneServerEmbeds(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		host := hosttest.New()
		tenure, took, err := acquire(t, host, first)
		if err != nil || took != 0 {
			t.Fatalf("the first: %v after %v", err, took)
		}
		stop := run(t, tenure)
		_, took, err = acquire(t, host, second)
		if !errors.Is(err, solitary.ErrTaken) || !strings.Contains(err.Error(), "--etcd-servers") {
			t.Errorf("the second: %v, want ErrTaken and what to do", err)
		}
		if took > 10*time.Second {
			t.Errorf("it took %v to refuse", took)
		}
		stop()
		if _, took, err = acquire(t, host, second); err != nil || took != 0 {
			t.Errorf("after the first has ended: %v after %v", err, took)
		}
	})
}

func TestACrashDelaysNobodyForLong(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		host := hosttest.New()
		if _, _, err := acquire(t, host, first); err != nil { // and does not run: it has crashed
			t.Fatal(err)
		}
		if _, took, err := acquire(t, host, first); err != nil || took != 0 {
			t.Errorf("on the same data: %v after %v", err, took)
		}
		if _, took, err := acquire(t, host, second); err != nil || took > 10*time.Second {
			t.Errorf("on other data: %v after %v", err, took)
		}
	})
}

func TestALeaseThatIsNotOursIsNotRenewed(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		host := hosttest.New()
		tenure, _, err := acquire(t, host, first)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := acquire(t, host, second); err != nil {
			t.Fatal(err)
		}
		holder := func() string {
			lease, err := host.CoordinationV1().Leases("projectsveltos").Get(t.Context(), solitary.LeaseName, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return *lease.Spec.HolderIdentity
		}
		want := holder()
		stop := run(t, tenure)
		time.Sleep(time.Minute) // of the bubble's clock
		stop()
		if got := holder(); got != want {
			t.Errorf("the holder was %s and is %s", want, got)
		}
	})
}

func TestAnUnusableDirectoryIsAnError(t *testing.T) {
	if _, _, err := acquire(t, hosttest.New(), t.TempDir()+"/missing"); err == nil {
		t.Error("no error")
	}
}
