// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var (
	start     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	testNames = []string{"muster.projectsveltos.svc", "localhost", "127.0.0.1"}
)

func at(now time.Time, names ...string) issuer {
	if len(names) == 0 {
		names = testNames
	}
	return issuer{names: names, now: func() time.Time { return now }}
}

// renew calls the issuer and fails the test if it fails.
func renew(t *testing.T, i issuer, data map[string][]byte) (map[string][]byte, bool) {
	t.Helper()
	next, renewed, err := i.renew(maps.Clone(data))
	if err != nil {
		t.Fatalf("renew: %v", err)
	}
	return next, renewed
}

// trusts reports why a client with this bundle would refuse what is served.
func trusts(data map[string][]byte, bundle []byte, name string, now time.Time) error {
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
	return err
}

func TestFirstCertificateCoversEveryName(t *testing.T) {
	data, renewed := renew(t, at(start), nil)
	if !renewed {
		t.Error("a first certificate was not reported as new")
	}
	for _, name := range testNames {
		if err := trusts(data, data[caBundleKey], name, start); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := trusts(data, data[caBundleKey], "another.name", start); err == nil {
		t.Error("the certificate covers a name that nobody asked for")
	}
}

func TestCertificateIsAcceptedByAClockThatIsBehind(t *testing.T) {
	data, _ := renew(t, at(start), nil)
	if err := trusts(data, data[caBundleKey], testNames[0], start.Add(-30*time.Minute)); err != nil {
		t.Errorf("30 minutes behind: %v", err)
	}
}

func TestNothingIsRenewedBeforeItIsDue(t *testing.T) {
	data, _ := renew(t, at(start), nil)
	for _, age := range []time.Duration{0, time.Hour, 100 * 24 * time.Hour, 240 * 24 * time.Hour} {
		next, renewed := renew(t, at(start.Add(age)), data)
		if renewed || !maps.EqualFunc(next, data, bytes.Equal) {
			t.Errorf("after %v: the certificate was replaced", age)
		}
	}
}

func TestServingCertificateIsRenewedUnderTheSameAuthority(t *testing.T) {
	data, _ := renew(t, at(start), nil)
	later := start.Add(250 * 24 * time.Hour)
	next, renewed := renew(t, at(later), data)
	if !renewed || bytes.Equal(next[corev1.TLSCertKey], data[corev1.TLSCertKey]) {
		t.Fatal("a certificate two thirds through its life was kept")
	}
	if !bytes.Equal(next[caBundleKey], data[caBundleKey]) {
		t.Error("the authority changed with the certificate")
	}
	if err := trusts(next, data[caBundleKey], testNames[0], later); err != nil {
		t.Errorf("a client with the old bundle: %v", err)
	}
}

// Whoever took the bundle over a day ago must never be refused, whichever of
// the two was renewed since.
func TestClientsThatLagADayAreNeverRefused(t *testing.T) {
	data, _ := renew(t, at(start), nil)
	authorities := map[string]bool{}
	now := start
	for now.Before(start.Add(15 * 365 * 24 * time.Hour)) {
		// Most days are like the day before.
		now = now.Add(5 * 24 * time.Hour)
		data, _ = renew(t, at(now), data)
		lagging := data[caBundleKey]
		now = now.Add(23 * time.Hour)
		data, _ = renew(t, at(now), data)
		if err := trusts(data, lagging, testNames[0], now); err != nil {
			t.Fatalf("%v after the start: %v", now.Sub(start), err)
		}
		certs := parseCertificates(data[caBundleKey])
		if len(certs) > 2 {
			t.Fatalf("%v after the start: %d authorities are trusted", now.Sub(start), len(certs))
		}
		for _, c := range certs {
			if !now.Before(c.NotAfter) {
				t.Fatalf("%v after the start: an expired authority is still trusted", now.Sub(start))
			}
			authorities[c.SerialNumber.String()] = true
		}
	}
	if len(authorities) < 3 {
		t.Errorf("%d authorities in 15 years, each lives 10 and is replaced after two thirds of it", len(authorities))
	}
}

func TestUnusableContentIsReplaced(t *testing.T) {
	good, _ := renew(t, at(start), nil)
	other, _ := renew(t, at(start), nil)
	with := func(key string, value []byte) map[string][]byte {
		data := maps.Clone(good)
		data[key] = value
		return data
	}
	tests := map[string]map[string][]byte{
		"no authority":                 with(caBundleKey, nil),
		"garbage authority":            with(caBundleKey, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
		"authority's key lost":         with(caPrivateKey, nil),
		"another authority's key":      with(caPrivateKey, other[caPrivateKey]),
		"no certificate":               with(corev1.TLSCertKey, nil),
		"another authority's":          with(corev1.TLSCertKey, other[corev1.TLSCertKey]),
		"certificate's key lost":       with(corev1.TLSPrivateKeyKey, []byte("x")),
		"another certificate's key":    with(corev1.TLSPrivateKeyKey, other[corev1.TLSPrivateKeyKey]),
		"served under another's trust": {caBundleKey: good[caBundleKey], caPrivateKey: good[caPrivateKey], corev1.TLSCertKey: other[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: other[corev1.TLSPrivateKeyKey]},
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			next, renewed := renew(t, at(start), data)
			if !renewed {
				t.Error("it was kept")
			}
			if err := trusts(next, next[caBundleKey], testNames[0], start); err != nil {
				t.Errorf("what replaced it: %v", err)
			}
		})
	}
}

func TestExpiredCertificateIsReplacedAtOnce(t *testing.T) {
	data, _ := renew(t, at(start), nil)
	later := start.Add(authorityLifetime + time.Hour)
	next, _ := renew(t, at(later), data)
	if err := trusts(next, next[caBundleKey], testNames[0], later); err != nil {
		t.Error(err)
	}
}

// Replicas that are asked for different names, as during an upgrade, settle on
// a certificate for all of them.
func TestReplicasWithOtherNamesSettle(t *testing.T) {
	a, b := at(start, "a.svc", "10.0.0.1"), at(start, "b.svc")
	data, _ := renew(t, a, nil)
	data, renewed := renew(t, b, data)
	if !renewed {
		t.Fatal("a missing name was not added")
	}
	for _, i := range []issuer{a, b} {
		if _, renewed := renew(t, i, data); renewed {
			t.Errorf("the replica with %v replaces the certificate again", i.names)
		}
	}
}
