// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned/fake"
	"github.com/muster-project/muster/pkg/hosttest"
)

// registered has cluster civo/cluster1 with this spec, and the Secrets.
func registered(spec libv1beta1.SveltosClusterSpec, secrets ...string) *clients {
	host := hosttest.New()
	for _, name := range secrets {
		_ = host.Tracker().Add(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: name}})
	}
	return &clients{host: host, muster: fake.NewSimpleClientset(&libv1beta1.SveltosCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "cluster1"}, Spec: spec,
	})}
}

func TestDeregisterLeavesASecretThatItDidNotMake(t *testing.T) {
	tests := map[string]struct {
		spec   libv1beta1.SveltosClusterSpec
		secret string
		stays  bool
	}{
		"that of register":    {secret: "cluster1-sveltos-kubeconfig"},
		"that one, by name":   {spec: libv1beta1.SveltosClusterSpec{KubeconfigName: "cluster1-sveltos-kubeconfig"}, secret: "cluster1-sveltos-kubeconfig"},
		"somebody else's one": {spec: libv1beta1.SveltosClusterSpec{KubeconfigName: "fleet", KubeconfigKeyName: "cluster1"}, secret: "fleet", stays: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clients := registered(test.spec, test.secret)
			streams, _, out, _ := genericiooptions.NewTestIOStreams()
			if err := deregisterCluster(t.Context(), streams, clients, "civo", "cluster1"); err != nil {
				t.Fatal(err)
			}
			if _, err := clients.muster.LibV1beta1().SveltosClusters("civo").Get(t.Context(), "cluster1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("the registration is left: %v", err)
			}
			_, err := clients.host.CoreV1().Secrets("civo").Get(t.Context(), test.secret, metav1.GetOptions{})
			if stays := err == nil; stays != test.stays {
				t.Errorf("the Secret is left: %t, want %t (%v)", stays, test.stays, err)
			}
			if said := strings.Contains(out.String(), "Secret civo/fleet"); said != test.stays {
				t.Errorf("it says %q", out)
			}
		})
	}
}

// A cluster stays ready when its kubeconfig is replaced by one that does not work.
func TestWaitingIsForTheNewKubeconfig(t *testing.T) {
	tests := map[string]struct {
		accepted func(stored string) string
		ready    bool
		done     bool
	}{
		"the former one is accepted": {accepted: func(string) string { return "secret/1" }, ready: true},
		"the new one, not ready yet": {accepted: func(stored string) string { return stored }},
		"the new one":                {accepted: func(stored string) string { return stored }, ready: true, done: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clients := registered(libv1beta1.SveltosClusterSpec{}, "cluster1-sveltos-kubeconfig")
			streams, _, _, _ := genericiooptions.NewTestIOStreams()
			r := &registration{IOStreams: streams, cluster: "cluster1", timeout: 50 * time.Millisecond}
			if test.done {
				r.timeout = time.Minute
			}
			stored, err := r.storeKubeconfig(t.Context(), clients, "civo", []byte("new"))
			if err != nil || stored == "secret/1" {
				t.Fatalf("stored as %q, %v", stored, err)
			}
			clusters := clients.muster.LibV1beta1().SveltosClusters("civo")
			cluster, err := clusters.Get(t.Context(), "cluster1", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			cluster.Status.Ready = test.ready
			cluster.Status.Conditions = []metav1.Condition{{
				Type: libv1beta1.ConditionCredentialsValid, Status: metav1.ConditionTrue,
				Message: libv1beta1.CredentialsAccepted(test.accepted(stored)),
			}}
			if _, err := clusters.UpdateStatus(t.Context(), cluster, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := r.await(t.Context(), clients, "civo", stored); (err == nil) != test.done {
				t.Errorf("waiting ended with %v, want success: %t", err, test.done)
			}
		})
	}
}

func TestRegisterRefusesAKubeconfigThatWouldNotBeUsed(t *testing.T) {
	tests := map[string]struct {
		spec    libv1beta1.SveltosClusterSpec
		cluster string
		refused bool
	}{
		"new":               {cluster: "cluster2"},
		"again":             {cluster: "cluster1"},
		"again, by name":    {cluster: "cluster1", spec: libv1beta1.SveltosClusterSpec{KubeconfigName: "cluster1-sveltos-kubeconfig", KubeconfigKeyName: "kubeconfig"}},
		"another Secret":    {cluster: "cluster1", spec: libv1beta1.SveltosClusterSpec{KubeconfigName: "fleet"}, refused: true},
		"another key":       {cluster: "cluster1", spec: libv1beta1.SveltosClusterSpec{KubeconfigKeyName: "value"}, refused: true},
		"workload identity": {cluster: "cluster1", spec: libv1beta1.SveltosClusterSpec{WorkloadIdentity: &libv1beta1.WorkloadIdentity{}}, refused: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := &registration{cluster: test.cluster}
			err := r.checkExisting(t.Context(), registered(test.spec), "civo")
			if (err != nil) != test.refused {
				t.Errorf("error %v, want one: %t", err, test.refused)
			}
		})
	}
}
