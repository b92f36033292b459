// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/fleet"
)

// secrets is a host with one Secret, or none, and counts who asks it.
type secrets struct {
	client.Reader
	secret *corev1.Secret
	reads  int
}

func (s *secrets) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.reads++
	if s.secret == nil {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	if secret, ok := into.(*corev1.Secret); ok {
		s.secret.DeepCopyInto(secret)
	}
	return nil
}

// registered is a cache with one cluster.
type registered struct {
	client.Reader
	cluster *libv1beta1.SveltosCluster
}

func (r registered) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	r.cluster.DeepCopyInto(into.(*libv1beta1.SveltosCluster))
	return nil
}

// Many clusters whose Secrets are gone must not keep the host busy; a Secret
// that the cache does not know yet must not be called missing.
func TestHostIsAskedUnlessTheSecretIsKnownToBeMissing(t *testing.T) {
	secret := &corev1.Secret{Data: map[string][]byte{"kubeconfig": []byte("k")}}
	tests := []struct {
		name         string
		credentials  metav1.ConditionStatus
		cached, host *corev1.Secret
		hostReads    int
		missing      bool
	}{
		{name: "new, the cache lags", host: secret, hostReads: 1},
		{name: "new, missing", hostReads: 1, missing: true},
		{name: "accepted before, gone", credentials: metav1.ConditionTrue, hostReads: 1, missing: true},
		{name: "missing before, and still", credentials: metav1.ConditionFalse, missing: true},
		{name: "unusable before, there", credentials: metav1.ConditionFalse, cached: secret, host: secret, hostReads: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cluster := registration()
			if test.credentials != "" {
				cluster.Status.Conditions = []metav1.Condition{{Type: libv1beta1.ConditionCredentialsValid, Status: test.credentials}}
			}
			host := &secrets{secret: test.host}
			credentials := &Credentials{Clusters: registered{cluster: cluster}, Host: host, Secrets: &secrets{secret: test.cached}}
			_, _, err := credentials.Kubeconfig(t.Context(), clusterref.Of(cluster.Namespace, cluster.Name))
			var invalid *fleet.CredentialsError
			if got := errors.As(err, &invalid) && invalid.Reason == libv1beta1.ReasonCredentialsMissing; got != test.missing {
				t.Errorf("error is %v, want one that says that the Secret is missing: %t", err, test.missing)
			}
			if host.reads != test.hostReads {
				t.Errorf("%d reads of the host, want %d", host.reads, test.hostReads)
			}
		})
	}
}

// Before and after its first look: the second goes to the cache, which has no
// such namespace either.
func TestAKubeconfigOutOfReachIsSaidToBe(t *testing.T) {
	for _, credentials := range []metav1.ConditionStatus{"", metav1.ConditionFalse} {
		cluster := registration()
		if credentials != "" {
			cluster.Status.Conditions = []metav1.Condition{{Type: libv1beta1.ConditionCredentialsValid, Status: credentials}}
		}
		host := &secrets{secret: &corev1.Secret{Data: map[string][]byte{"kubeconfig": []byte("k")}}}
		limited := reach.Namespaces{"elsewhere"}.Reader(host)
		_, _, err := (&Credentials{Clusters: registered{cluster: cluster}, Host: limited, Secrets: limited}).
			Kubeconfig(t.Context(), clusterref.Of(cluster.Namespace, cluster.Name))
		var invalid *fleet.CredentialsError
		if !errors.As(err, &invalid) || invalid.Reason != libv1beta1.ReasonCredentialsInvalid || host.reads != 0 {
			t.Fatalf("error is %v after %d reads", err, host.reads)
		}
		for _, want := range []string{"--source-namespaces", strconv.Quote(cluster.Namespace)} {
			if !strings.Contains(invalid.Message, want) {
				t.Errorf("%q does not mention %s", invalid.Message, want)
			}
		}
	}
}
