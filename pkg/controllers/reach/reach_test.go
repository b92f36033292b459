// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package reach_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-project/muster/pkg/controllers/reach"
)

// host notes the namespaces that it is asked about.
type host struct{ asked []string }

func (h *host) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	h.asked = append(h.asked, key.Namespace)
	return nil
}

func (h *host) List(_ context.Context, _ client.ObjectList, opts ...client.ListOption) error {
	h.asked = append(h.asked, (&client.ListOptions{}).ApplyOptions(opts).Namespace)
	return nil
}

func TestOnlyWhatIsInReachIsAskedFor(t *testing.T) {
	get := func(r client.Reader, namespace string) error {
		return r.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "x"}, &corev1.Secret{})
	}
	list := func(r client.Reader, namespace string) error {
		return r.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace))
	}
	tests := map[string]struct {
		namespaces reach.Namespaces
		read       func(client.Reader, string) error
		namespace  string
		refused    bool
	}{
		"a listed namespace":                {reach.Namespaces{"a", "b"}, get, "b", false},
		"one that is not":                   {reach.Namespaces{"a", "b"}, get, "c", true},
		"an object without a namespace":     {reach.Namespaces{"a"}, get, "", false},
		"no list is no limit":               {nil, get, "c", false},
		"a list of a listed namespace":      {reach.Namespaces{"a"}, list, "a", false},
		"a list of one that is not":         {reach.Namespaces{"a"}, list, "c", true},
		"a list of all":                     {reach.Namespaces{"a"}, list, "", true},
		"a list of all, where all are read": {nil, list, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &host{}
			err := test.read(test.namespaces.Reader(h), test.namespace)
			var out *reach.Error
			if errors.As(err, &out) != test.refused || (len(h.asked) == 0) != test.refused {
				t.Errorf("error %v, and the host was asked about %q", err, h.asked)
			}
			if test.refused && (out.Namespace != test.namespace || !strings.Contains(err.Error(), "--source-namespaces") ||
				!strings.Contains(err.Error(), test.namespace)) {
				t.Errorf("error %q does not say which namespace and which flag", err)
			}
		})
	}
}

// A watch of all namespaces is refused by the host where rights are in some.
func TestCachesWatchWhatIsInReach(t *testing.T) {
	if all := (reach.Namespaces)(nil).CacheNamespaces(); all != nil {
		t.Errorf("without a list a cache is limited to %v", all)
	}
	got := slices.Sorted(maps.Keys(reach.Namespaces{"b", "a"}.CacheNamespaces()))
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}
