// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/retry"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	aggregatorfake "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/fake"

	"github.com/muster-project/muster/pkg/hosttest"
)

const secretName = "muster-serving-cert"

// rotationHost is a host with our APIServices, and the replicas behind them.
type rotationHost struct {
	t          *testing.T
	client     kubernetes.Interface
	aggregator aggregatorclient.Interface
	metadata   *metadatafake.FakeMetadataClient

	mu       sync.Mutex
	replicas []*replica
}

// replica is what a server runs to be reachable.
type replica struct {
	certificate *Certificate
	stop        func()
}

func newRotationHost(t *testing.T) *rotationHost {
	var registrations []runtime.Object
	for _, group := range testGroups {
		for _, version := range []string{"v1alpha1", "v1beta1"} {
			registrations = append(registrations, registration(version, group, ours.String(), nil))
		}
	}
	aggregator := aggregatorfake.NewClientset(registrations...)
	hosttest.Guard(&aggregator.Fake, aggregator.Tracker())
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	h := &rotationHost{t: t, client: hosttest.New(), aggregator: aggregator, metadata: metadatafake.NewSimpleMetadataClient(scheme)}
	// Nobody may be refused by a caBundle from the moment that it is written.
	aggregator.PrependReactor("update", "apiservices", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if written, ok := action.(clienttesting.UpdateAction).GetObject().(*apiregistration.APIService); ok {
			h.requireAccepted(map[string][]byte{written.Name: written.Spec.CABundle})
		}
		return false, nil, nil
	})
	return h
}

// requireAccepted checks that bundles trust whoever takes traffic.
func (h *rotationHost) requireAccepted(bundles map[string][]byte) {
	if err := h.refused(bundles); err != nil {
		h.t.Error(err)
	}
}

// served checks a certificate at the moment that a replica begins to serve it.
type served struct{ *rotationHost }

// Enqueue is called with each change of what is served.
func (s served) Enqueue() { s.requireAccepted(s.bundles()) }

// start starts a replica.
func (h *rotationHost) start() *replica {
	h.t.Helper()
	certificate, err := NewCertificate(h.t.Context(), h.client, ours.Namespace, secretName, testNames)
	if err != nil {
		h.t.Fatal(err)
	}
	certificate.AddListener(served{h})
	registrar := &Registrar{
		Host: h.client, Aggregator: h.aggregator, Metadata: h.metadata,
		Service: ours, Groups: testGroups, Certificate: certificate,
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{certificate.Run, registrar.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				h.t.Error(err)
			}
		})
	}
	r := &replica{certificate: certificate, stop: func() { cancel(); running.Wait() }}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replicas = append(h.replicas, r)
	return r
}

func (h *rotationHost) stop() {
	for _, r := range h.replicas {
		r.stop()
	}
}

// bundles are what the APIServices trust now.
func (h *rotationHost) bundles() map[string][]byte {
	h.t.Helper()
	list, err := h.aggregator.ApiregistrationV1().APIServices().List(h.t.Context(), metav1.ListOptions{})
	if err != nil {
		h.t.Error(err)
		return nil
	}
	bundles := map[string][]byte{}
	for i := range list.Items {
		bundles[list.Items[i].Name] = list.Items[i].Spec.CABundle
	}
	return bundles
}

// refused says why the aggregator, which trusts bundles, would refuse a replica
// that takes traffic.
func (h *rotationHost) refused(bundles map[string][]byte) error {
	h.mu.Lock()
	replicas := slices.Clone(h.replicas)
	h.mu.Unlock()
	for i, r := range replicas {
		if r.certificate.ReadyCheck().Check(nil) != nil {
			continue
		}
		cert, key := r.certificate.CurrentCertKeyContent()
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return err
		}
		for name, bundle := range bundles {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(bundle)
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: testNames[0], CurrentTime: time.Now()}); err != nil {
				return fmt.Errorf("replica %d by %s: %w", i, name, err)
			}
		}
	}
	return nil
}

// pass lets time pass, in steps, and checks at each of them that nobody is
// refused: neither by what the APIServices trust nor by what they trusted a step
// before, which is how far an aggregator may lag.
func (h *rotationHost) pass(total, step time.Duration) {
	h.t.Helper()
	before := h.bundles()
	for start := time.Now(); time.Since(start) < total; {
		time.Sleep(step)
		synctest.Wait()
		now := h.bundles()
		for what, bundles := range map[string]map[string][]byte{"now": now, "before": before} {
			if err := h.refused(bundles); err != nil {
				h.t.Fatalf("%v after the change, by what is trusted %s: %v", time.Since(start), what, err)
			}
		}
		before = now
	}
}

// settle lets replicas begin.
func (h *rotationHost) settle() {
	h.t.Helper()
	time.Sleep(5 * time.Second)
	synctest.Wait()
	for i, r := range h.replicas {
		if err := r.certificate.ReadyCheck().Check(nil); err != nil {
			h.t.Fatalf("replica %d: %v", i, err)
		}
	}
}

func (h *rotationHost) secret() *corev1.Secret {
	h.t.Helper()
	secret, err := h.client.CoreV1().Secrets(ours.Namespace).Get(h.t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

func (h *rotationHost) change(change func(*corev1.Secret)) {
	h.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret := h.secret()
		change(secret)
		_, err := h.client.CoreV1().Secrets(ours.Namespace).Update(h.t.Context(), secret, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *rotationHost) delete() {
	h.t.Helper()
	if err := h.client.CoreV1().Secrets(ours.Namespace).Delete(h.t.Context(), secretName, metav1.DeleteOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

// requireOneAuthority checks that nobody trusts an old authority any more.
func (h *rotationHost) requireOneAuthority() {
	h.t.Helper()
	for name, trusted := range h.bundles() {
		if len(parseCertificates(trusted)) != 1 {
			h.t.Errorf("%s still trusts the old authority", name)
		}
	}
}

// requireAgreed checks that all replicas serve what the Secret holds.
func (h *rotationHost) requireAgreed() {
	h.t.Helper()
	held := h.secret().Data
	for i, r := range h.replicas {
		cert, _ := r.certificate.CurrentCertKeyContent()
		if string(cert) != string(held[corev1.TLSCertKey]) {
			h.t.Errorf("replica %d serves something else than the Secret holds", i)
		}
	}
}
