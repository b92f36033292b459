// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-project/muster/pkg/hosttest"
	"github.com/muster-project/muster/pkg/storage/identity"
)

var (
	foundStorage = identity.Found{Prefix: "/registry/muster/default", ClusterID: "c2", Revision: 7, Installation: "i2", NamespaceUID: "ns-2"}
	recordedThen = identity.Record{Prefix: "/registry/muster/default", ClusterID: "c1", Installation: "i1", Revision: 100, Renewed: time.Unix(1_800_000_000, 0).UTC()}
)

// storageHost is a host with a record of storage.
func storageHost(t *testing.T) kubernetes.Interface {
	t.Helper()
	data, err := identity.Stored{Record: &recordedThen}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return hosttest.New(identity.NewConfigMap(defaultNamespace, data))
}

func confirmed(t *testing.T, host kubernetes.Interface) identity.Stored {
	t.Helper()
	configMap, err := host.CoreV1().ConfigMaps(defaultNamespace).Get(t.Context(), identity.ConfigMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return identity.Stored{}
	}
	if err != nil {
		t.Fatal(err)
	}
	stored, err := identity.Parse(configMap.Data)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// held answers as a server whose storage is held until it is confirmed.
func held(t *testing.T, host kubernetes.Interface) func(context.Context) error {
	return func(context.Context) error {
		if confirmed(t, host).Confirmed != nil {
			return nil
		}
		return identity.Unavailable(&identity.Held{Reason: identity.Foreign, Expected: &recordedThen, Found: foundStorage})
	}
}

// confirmStorage runs the command and returns what it prints.
func confirmStorage(t *testing.T, host kubernetes.Interface, ask func(context.Context) error, yes bool) (string, error) {
	t.Helper()
	streams, in, out, _ := genericiooptions.NewTestIOStreams()
	in.WriteString("yes\n")
	c := &storageConfirmation{IOStreams: streams, flags: hostFlags(), yes: yes, timeout: 10 * time.Millisecond}
	err := c.run(t.Context(), host, ask)
	return out.String(), err
}

func TestConfirmStorageShowsAndConfirmsWhatWasFound(t *testing.T) {
	for name, host := range map[string]kubernetes.Interface{"recorded": storageHost(t), "never recorded": hosttest.New()} {
		t.Run(name, func(t *testing.T) {
			before := confirmed(t, host).Record
			out, err := confirmStorage(t, host, held(t, host), true)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"Foreign", foundStorage.String(), "goes on"} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
			if before != nil && !strings.Contains(out, before.String()) {
				t.Errorf("what was expected is not in\n%s", out)
			}
			got := confirmed(t, host)
			if got.Confirmed == nil || got.Confirmed.Found != foundStorage || got.Confirmed.As == "" {
				t.Errorf("confirmed %+v, want %+v", got.Confirmed, foundStorage)
			}
			if before != nil && *got.Record != *before {
				t.Errorf("the record was %+v and is %+v", before, got.Record)
			}
		})
	}
}

func TestConfirmStorageWritesNothingUnasked(t *testing.T) {
	host := storageHost(t)
	away := errors.New("no route")
	for name, test := range map[string]struct {
		ask  func(context.Context) error
		yes  bool
		want string // in the error; empty for none
	}{
		"nobody to ask":    {held(t, host), false, "--yes"},
		"trusted":          {func(context.Context) error { return nil }, true, ""},
		"Muster is away":   {func(context.Context) error { return away }, true, away.Error()},
		"aggregator's 503": {func(context.Context) error { return apierrors.NewServiceUnavailable("no endpoints") }, true, "no endpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := confirmStorage(t, host, test.ask, test.yes)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if confirmed(t, host).Confirmed != nil {
				t.Error("it was confirmed")
			}
		})
	}
}

func TestConfirmStorageSaysThatMusterDoesNotGoOn(t *testing.T) {
	host := storageHost(t)
	answer := identity.Unavailable(&identity.Held{Reason: identity.Wiped, Found: foundStorage})
	_, err := confirmStorage(t, host, func(context.Context) error { return answer }, true)
	if err == nil || !strings.Contains(err.Error(), "does not go on") {
		t.Errorf("error %v", err)
	}
}
