// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	metadatafake "k8s.io/client-go/metadata/fake"
	"k8s.io/client-go/util/retry"
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
	replicas   []*replica
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
	return &rotationHost{t: t, client: hosttest.New(), aggregator: aggregator, metadata: metadatafake.NewSimpleMetadataClient(scheme)}
}

// start starts a replica.
func (h *rotationHost) start() *replica {
	h.t.Helper()
	certificate, err := NewCertificate(h.t.Context(), h.client, ours.Namespace, secretName, testNames)
	if err != nil {
		h.t.Fatal(err)
	}
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
		h.t.Fatal(err)
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
	for i, r := range h.replicas {
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

// rotating runs three replicas.
func rotating(t *testing.T, test func(h *rotationHost)) {
	synctest.Test(t, func(t *testing.T) {
		h := newRotationHost(t)
		for range 3 {
			h.start()
		}
		defer h.stop()
		h.settle()
		test(h)
	})
}

func TestAnAuthorityIsRotatedWithoutARefusal(t *testing.T) {
	rotating(t, func(h *rotationHost) {
		served, bundle := string(h.secret().Data[corev1.TLSCertKey]), string(h.secret().Data[caBundleKey])
		h.change(func(s *corev1.Secret) { s.Annotations = map[string]string{RotateAnnotation: "30s"} })
		h.pass(20*time.Second, 500*time.Millisecond)
		if string(h.secret().Data[corev1.TLSCertKey]) != served {
			h.t.Error("the new authority signed before its time")
		}
		h.pass(40*time.Second, 500*time.Millisecond)
		h.requireAgreed()
		now := h.secret()
		if string(now.Data[corev1.TLSCertKey]) == served || now.Annotations[RotateAnnotation] != "" {
			t.Error("nothing was rotated")
		}
		for name, trusted := range h.bundles() {
			if !strings.Contains(string(trusted), bundle) {
				t.Errorf("%s does not trust the old authority any more", name)
			}
		}
		h.pass(50*time.Hour, time.Hour)
		for name, trusted := range h.bundles() {
			if len(parseCertificates(trusted)) != 1 {
				t.Errorf("%s still trusts the old authority", name)
			}
		}
	})
}

// A new authority that signs at once is published first all the same.
func TestReplicasWaitUntilTheyAreTrusted(t *testing.T) {
	rotating(t, func(h *rotationHost) {
		h.change(func(s *corev1.Secret) { s.Annotations = map[string]string{RotateAnnotation: "0s"} })
		h.pass(time.Minute, 250*time.Millisecond)
		h.requireAgreed()
	})
}

func TestACertificateIsRenewedInItsTime(t *testing.T) {
	rotating(t, func(h *rotationHost) {
		served := string(h.secret().Data[corev1.TLSCertKey])
		h.pass(250*24*time.Hour, 24*time.Hour)
		h.requireAgreed()
		if string(h.secret().Data[corev1.TLSCertKey]) == served {
			t.Error("nothing was renewed")
		}
	})
}

func TestASecretThatIsDeletedOrDamagedIsMadeAsItWas(t *testing.T) {
	for name, harm := range map[string]func(*rotationHost){
		"deleted":              (*rotationHost).delete,
		"emptied":              func(h *rotationHost) { h.change(func(s *corev1.Secret) { s.Data = nil }) },
		"garbage":              func(h *rotationHost) { h.change(func(s *corev1.Secret) { s.Data[corev1.TLSCertKey] = []byte("x") }) },
		"authority lost":       func(h *rotationHost) { h.change(func(s *corev1.Secret) { delete(s.Data, caBundleKey) }) },
		"authority's key lost": func(h *rotationHost) { h.change(func(s *corev1.Secret) { delete(s.Data, caPrivateKey) }) },
	} {
		t.Run(name, func(t *testing.T) {
			rotating(t, func(h *rotationHost) {
				before := h.secret().Data
				harm(h)
				h.pass(time.Minute, 500*time.Millisecond)
				if !holds(h.secret().Data, before) {
					t.Error("the Secret is not what it was")
				}
				h.requireAgreed()
			})
		})
	}
}

// The Secret is gone, and a replica that knows nothing makes another one before
// those that know can: they go on serving what is trusted, and it takes no
// traffic before it is.
func TestAReplicaThatMakesAnotherSecretIsFollowed(t *testing.T) {
	rotating(t, func(h *rotationHost) {
		lost := newRotationHost(t)
		other, err := NewCertificate(t.Context(), lost.client, ours.Namespace, secretName, testNames)
		if err != nil {
			t.Fatal(err)
		}
		h.change(func(s *corev1.Secret) { s.Data = other.known() })
		fresh := h.start()
		h.pass(time.Minute, 250*time.Millisecond)
		h.requireAgreed()
		if err := fresh.certificate.ReadyCheck().Check(nil); err != nil {
			t.Errorf("the new replica: %v", err)
		}
	})
}

func TestReplicasThatWriteAtOnceAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRotationHost(t)
		defer h.stop()
		var starting sync.WaitGroup
		for range 5 {
			starting.Go(func() {
				if _, err := NewCertificate(t.Context(), h.client, ours.Namespace, secretName, testNames); err != nil {
					t.Error(err)
				}
			})
		}
		starting.Wait()
		for range 5 {
			h.start()
		}
		h.settle()
		h.requireAgreed()
		h.pass(time.Minute, time.Second)
	})
}

func TestNobodyIsReadyBeforeItIsTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRotationHost(t)
		certificate, err := NewCertificate(t.Context(), h.client, ours.Namespace, secretName, testNames)
		if err != nil {
			t.Fatal(err)
		}
		check := certificate.ReadyCheck()
		if check.Check(nil) == nil {
			t.Error("ready before anything is known of the APIServices")
		}
		certificate.Published([][]byte{certificate.Bundle(), nil})
		if check.Check(nil) == nil {
			t.Error("ready though one APIService does not trust it")
		}
		certificate.Published([][]byte{certificate.Bundle(), certificate.Bundle()})
		if err := check.Check(nil); err != nil {
			t.Error(err)
		}
		certificate.Published(nil)
		if err := check.Check(nil); err != nil {
			t.Errorf("without APIServices: %v", err)
		}
	})
}

func TestUnion(t *testing.T) {
	data := func(now time.Time) []byte {
		d, _ := renew(t, at(now), nil)
		return d[caBundleKey]
	}
	old, own, newer := data(start.Add(-time.Hour)), data(start), data(start.Add(time.Hour))
	foreign := encodeCertificates([]*x509.Certificate{parseForeign(t)})
	join := func(bundles ...[]byte) string {
		var all []byte
		for _, b := range bundles {
			all = append(all, b...)
		}
		return string(all)
	}
	day := start.Add(25 * time.Hour)
	for name, test := range map[string]struct {
		published []byte
		now       time.Time
		want      string
	}{
		"nothing published":           {nil, start, join(own)},
		"the same":                    {own, start, join(own)},
		"what some still serve under": {old, start, join(own, old)},
		"and a day later":             {old, day, join(own)},
		"what others know already":    {newer, day, join(newer, own)},
		"somebody else's":             {foreign, start, join(own)},
		"garbage":                     {[]byte("x"), start, join(own)},
		"expired":                     {newer, start.Add(authorityLifetime + 2*time.Hour), join(own)},
	} {
		if got := string(union(own, test.published, test.now)); got != test.want {
			t.Errorf("%s: %d certificates, want %d", name, len(parseCertificates([]byte(got))), len(parseCertificates([]byte(test.want))))
		}
	}
}

// parseForeign is an authority that is not ours.
func parseForeign(t *testing.T) *x509.Certificate {
	t.Helper()
	pair, err := sign(&x509.Certificate{NotBefore: start, NotAfter: start.Add(authorityLifetime), IsCA: true, BasicConstraintsValid: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.cert
}
