// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

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
