// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestConfigMapKeepsTheState(t *testing.T) {
	for name, existing := range map[string][]runtime.Object{
		"made by the first member": nil,
		"made by the chart": {&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "muster-etcd", ResourceVersion: "7", Labels: map[string]string{"chart": "muster"},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(existing...)
			c := &ConfigMap{Client: client.CoreV1(), Namespace: "ns", Name: "muster-etcd"}
			state, err := c.Get(t.Context())
			if err != nil || state.ClusterID != "" {
				t.Fatal(state, err)
			}
			state.ClusterID, state.Permits = "abc", map[string]string{"m0": "p"}
			if err := c.Set(t.Context(), state); err != nil {
				t.Fatal(err)
			}
			got, err := c.Get(t.Context())
			if err != nil || got.ClusterID != "abc" || got.Permits["m0"] != "p" {
				t.Errorf("%+v, %v", got, err)
			}
			object, err := client.CoreV1().ConfigMaps("ns").Get(t.Context(), "muster-etcd", metav1.GetOptions{})
			if err != nil || len(existing) > 0 && object.Labels["chart"] != "muster" {
				t.Errorf("%+v, %v", object, err)
			}
		})
	}
}

func TestConfigMapTellsWhoWasFaster(t *testing.T) {
	client := fake.NewClientset()
	c := &ConfigMap{Client: client.CoreV1(), Namespace: "ns", Name: "muster-etcd"}
	if err := c.Set(t.Context(), State{ClusterID: "abc"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), State{ClusterID: "def"}); !errors.Is(err, ErrChanged) {
		t.Errorf("two have created it: %v", err)
	}
	if err := c.Set(t.Context(), State{ClusterID: "def", Version: "stale"}); !errors.Is(err, ErrChanged) {
		t.Errorf("a stale write: %v", err)
	}
	current, err := c.Get(t.Context())
	if err != nil || current.ClusterID != "abc" {
		t.Fatal(current, err)
	}
}

func TestConfigMapTellsAConflict(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "muster-etcd", ResourceVersion: "7"}})
	client.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, "muster-etcd", nil)
	})
	c := &ConfigMap{Client: client.CoreV1(), Namespace: "ns", Name: "muster-etcd"}
	current, err := c.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), current); !errors.Is(err, ErrChanged) {
		t.Errorf("a conflict: %v", err)
	}
}

func TestConfigMapNamesTheMissingRight(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "muster-etcd", errors.New("no RBAC rule"))
	})
	_, err := (&ConfigMap{Client: client.CoreV1(), Namespace: "ns", Name: "muster-etcd"}).Get(t.Context())
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "read ConfigMap ns/muster-etcd") {
		t.Errorf("error %v", err)
	}
}
