// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/certificates"
)

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
		// Trusted for as long as was asked for, and not for the day that it stays
		// otherwise.
		h.pass(90*time.Second, 500*time.Millisecond)
		if strings.Contains(string(h.secret().Data[caBundleKey]), bundle) {
			t.Error("the Secret still holds the old authority")
		}
		h.requireOneAuthority()
	})
}

// Whoever does not say how long an overlap is wanted gets the long one.
func TestAnOldAuthorityStaysADay(t *testing.T) {
	rotating(t, func(h *rotationHost) {
		bundle := string(h.secret().Data[caBundleKey])
		h.change(func(s *corev1.Secret) { s.Annotations = map[string]string{RotateAnnotation: ""} })
		h.pass(47*time.Hour, time.Hour)
		if !strings.Contains(string(h.secret().Data[caBundleKey]), bundle) {
			t.Error("the Secret does not hold the old authority any more")
		}
		h.pass(5*time.Hour, time.Hour)
		h.requireOneAuthority()
	})
}

func TestOverlaps(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		0: leastOverlap, time.Minute: time.Minute, settling: settling, 100 * settling: settling,
	} {
		data, err := at(start).rotate(nil, after)
		if err != nil {
			t.Fatal(err)
		}
		if got := overlap(data); got != want {
			t.Errorf("signing after %s: an overlap of %s, want %s", after, got, want)
		}
	}
	for _, garbage := range []string{"", "x", "0s", "-1h", "1000h"} {
		if got := overlap(map[string][]byte{caOverlap: []byte(garbage)}); got != settling {
			t.Errorf("%q: an overlap of %s, want %s", garbage, got, settling)
		}
	}
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
	synctest.Test(t, func(t *testing.T) {
		h := newRotationHost(t)
		// Two thirds of a year are 243 days.
		data, _ := renew(t, at(time.Now().Add(-242*24*time.Hour)), nil)
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ours.Namespace, Name: secretName}, Data: data}
		if _, err := h.client.CoreV1().Secrets(ours.Namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			h.start()
		}
		defer h.stop()
		h.settle()
		h.pass(4*24*time.Hour, time.Hour)
		h.requireAgreed()
		if string(h.secret().Data[corev1.TLSCertKey]) == string(data[corev1.TLSCertKey]) {
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
		certificate.Published([][]byte{certificate.known()[caBundleKey], nil})
		if check.Check(nil) == nil {
			t.Error("ready though one APIService does not trust it")
		}
		certificate.Published([][]byte{certificate.known()[caBundleKey], certificate.known()[caBundleKey]})
		time.Sleep(readyAfter)
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
	later := start.Add(retention(settling))
	for name, test := range map[string]struct {
		published []byte
		now       time.Time
		want      string
	}{
		"nothing published":           {nil, start, join(own)},
		"the same":                    {own, start, join(own)},
		"what some still serve under": {old, start, join(own, old)},
		"and days later":              {old, later, join(own)},
		"what others know already":    {newer, later, join(newer, own)},
		"somebody else's":             {foreign, start, join(own)},
		"garbage":                     {[]byte("x"), start, join(own)},
		"expired":                     {newer, start.Add(authorityLifetime + 2*time.Hour), join(own)},
	} {
		if got := string(union(own, test.published, retention(settling), test.now)); got != test.want {
			t.Errorf("%s: %d certificates, want %d", name, len(parseCertificates([]byte(got))), len(parseCertificates([]byte(test.want))))
		}
	}
}

// parseForeign is an authority that is not ours.
func parseForeign(t *testing.T) *x509.Certificate {
	t.Helper()
	pair, err := certificates.Sign(&x509.Certificate{NotBefore: start, NotAfter: start.Add(authorityLifetime), IsCA: true, BasicConstraintsValid: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Cert
}
