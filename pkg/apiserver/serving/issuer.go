// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/muster-project/muster/pkg/certificates"
)

// Keys of the Secret. tls.crt and tls.key are those of kubernetes.io/tls, so
// that the Secret can be inspected with the usual tools.
const (
	// caBundleKey holds every authority that clients should trust, newest
	// first; the newest one signs.
	caBundleKey = "ca.crt"
	// caPrivateKey belongs to the newest authority alone.
	caPrivateKey = "ca.key"
	// caSignsFrom is when the newest authority begins to sign, RFC 3339.
	caSignsFrom = "ca.signs-from"
	// caOverlap is how long from then on older authorities are trusted, a duration
	// as in "24h"; settling where there is none.
	caOverlap = "ca.overlap"
)

// authorityName tells our authorities from others in a caBundle.
const authorityName = "muster-serving-ca"

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	servingLifetime   = 365 * 24 * time.Hour

	// backdating lets a host whose clock is behind ours accept a certificate
	// that was made just now.
	backdating = time.Hour

	// settling is how long a new authority is only published before it signs, and
	// how long an old one is trusted after the new one has begun to. It is long for
	// the sake of clients that were given the bundle by hand; replicas make sure by
	// themselves that what they serve is trusted.
	settling = 24 * time.Hour

	// leastOverlap is the shortest time for which an old authority is trusted beside
	// a new one that signs, whatever a person asks for: replicas begin to serve what
	// it signed one after the other.
	leastOverlap = 2 * propagation
)

// issuer decides what the serving Secret should hold. It is pure but for the
// keys that it draws.
type issuer struct {
	// names are the DNS names and IP addresses the certificate must cover.
	names []string
	now   func() time.Time
}

// renew returns what the Secret should hold, given what it holds. The second
// result says whether anything differs. Unreadable content is replaced, never
// an error: nobody can repair a private key by hand. What can still be served is
// kept for a settling time, whatever else is lost.
func (i issuer) renew(data map[string][]byte) (map[string][]byte, bool, error) {
	authorities := i.unexpired(parseCertificates(data[caBundleKey]))
	signer, err := parseKeyPair(firstCertificate(authorities), data[caPrivateKey])
	if err != nil || i.due(signer.Cert) {
		rotated, err := i.rotate(data, settling)
		if err != nil {
			return nil, false, err
		}
		next, _, err := i.renew(rotated)
		return next, true, err
	}

	signsFrom := i.signsFrom(data, signer.Cert)
	current := firstCertificate(parseCertificates(data[corev1.TLSCertKey]))
	served, err := parseKeyPair(current, data[corev1.TLSPrivateKeyKey])
	if err != nil || !i.keeps(served.Cert, signer.Cert, authorities, signsFrom) {
		if served, err = i.newServing(signer, current); err != nil {
			return nil, false, err
		}
	}
	if served.Cert.CheckSignatureFrom(signer.Cert) == nil && !i.now().Before(signsFrom.Add(overlap(data))) {
		authorities = authorities[:1]
	}
	next := map[string][]byte{
		caBundleKey:             encodeCertificates(authorities),
		caPrivateKey:            signer.KeyPEM,
		caSignsFrom:             []byte(signsFrom.UTC().Format(time.RFC3339)),
		corev1.TLSCertKey:       served.CertPEM,
		corev1.TLSPrivateKeyKey: served.KeyPEM,
	}
	if asked, ok := data[caOverlap]; ok {
		next[caOverlap] = asked
	}
	return next, !holds(data, next), nil
}

// rotate returns data with a new authority, which signs after a while. Those
// that were trusted stay so for as long again.
func (i issuer) rotate(data map[string][]byte, after time.Duration) (map[string][]byte, error) {
	signer, err := i.newAuthority()
	if err != nil {
		return nil, err
	}
	authorities := slices.Insert(i.unexpired(parseCertificates(data[caBundleKey])), 0, signer.Cert)
	return merged(data, map[string][]byte{
		caBundleKey:  encodeCertificates(authorities),
		caPrivateKey: signer.KeyPEM,
		caSignsFrom:  []byte(i.now().Add(after).UTC().Format(time.RFC3339)),
		caOverlap:    []byte(min(max(after, leastOverlap), settling).String()),
	}), nil
}

// overlap is how long older authorities are trusted beside one that signs.
func overlap(data map[string][]byte) time.Duration {
	asked, err := time.ParseDuration(string(data[caOverlap]))
	if err != nil || asked < leastOverlap || asked > settling {
		return settling
	}
	return asked
}

// nextChange is when what the Secret should hold changes next by the mere passing
// of time, or longest from now if that is later.
func (i issuer) nextChange(data map[string][]byte, longest time.Duration) time.Duration {
	signsFrom, err := time.Parse(time.RFC3339, string(data[caSignsFrom]))
	if err != nil {
		return longest
	}
	for _, at := range []time.Time{signsFrom, signsFrom.Add(overlap(data))} {
		if until := at.Sub(i.now()); until > 0 {
			return min(until, longest)
		}
	}
	return longest
}

// signsFrom is when the newest authority begins to sign.
func (i issuer) signsFrom(data map[string][]byte, signer *x509.Certificate) time.Time {
	at, err := time.Parse(time.RFC3339, string(data[caSignsFrom]))
	latest := signer.NotBefore.Add(backdating + settling)
	if err != nil || at.After(latest) {
		return latest
	}
	return at
}

// intact reports whether data needs no repair: an authority that can sign, and a
// certificate that can be served and that the bundle trusts.
func (i issuer) intact(data map[string][]byte) bool {
	authorities := i.unexpired(parseCertificates(data[caBundleKey]))
	if _, err := parseKeyPair(firstCertificate(authorities), data[caPrivateKey]); err != nil {
		return false
	}
	served, err := parseKeyPair(firstCertificate(parseCertificates(data[corev1.TLSCertKey])), data[corev1.TLSPrivateKeyKey])
	return err == nil && i.now().Before(served.Cert.NotAfter) && signedByOneOf(served.Cert, authorities)
}

// holds reports whether data has everything in wanted.
func holds(data, wanted map[string][]byte) bool {
	for key, value := range wanted {
		if !bytes.Equal(data[key], value) {
			return false
		}
	}
	return true
}

// keeps reports whether a serving certificate may stay.
func (i issuer) keeps(served, signer *x509.Certificate, authorities []*x509.Certificate, signsFrom time.Time) bool {
	if !i.now().Before(served.NotAfter) || !covers(served, i.names) || !signedByOneOf(served, authorities) {
		return false
	}
	if i.now().Before(signsFrom) && served.CheckSignatureFrom(signer) != nil {
		return true
	}
	return !i.due(served) && served.CheckSignatureFrom(signer) == nil
}

func signedByOneOf(cert *x509.Certificate, authorities []*x509.Certificate) bool {
	return slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return cert.CheckSignatureFrom(a) == nil })
}

// due reports whether two thirds of a certificate's life are over.
func (i issuer) due(cert *x509.Certificate) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return !i.now().Before(cert.NotBefore.Add(life * 2 / 3))
}

func (i issuer) unexpired(certs []*x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(certs, func(c *x509.Certificate) bool { return !i.now().Before(c.NotAfter) })
}

func (i issuer) newAuthority() (*certificates.Pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: authorityName},
		NotBefore:             i.now().Add(-backdating),
		NotAfter:              i.now().Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return certificates.Sign(template, nil)
}

// newServing certifies the issuer's names and those of the certificate that
// it replaces: two replicas which are asked for different names, as during an
// upgrade, would otherwise replace each other's certificate for ever.
func (i issuer) newServing(signer *certificates.Pair, replaced *x509.Certificate) (*certificates.Pair, error) {
	names := slices.Clone(i.names)
	if replaced != nil {
		names = append(names, replaced.DNSNames...)
		for _, ip := range replaced.IPAddresses {
			names = append(names, ip.String())
		}
	}
	slices.Sort(names)
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: i.names[0]},
		NotBefore:   i.now().Add(-backdating),
		NotAfter:    i.now().Add(servingLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificates.AddNames(template, slices.Compact(names))
	return certificates.Sign(template, signer)
}

func parseKeyPair(cert *x509.Certificate, keyPEM []byte) (*certificates.Pair, error) {
	block, _ := pem.Decode(keyPEM)
	if cert == nil || block == nil {
		return nil, errors.New("no certificate and key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("private key does not parse")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("private key is not the certificate's")
	}
	return &certificates.Pair{Cert: cert, Key: key, CertPEM: encodeCertificates([]*x509.Certificate{cert}), KeyPEM: keyPEM}, nil
}

// parseCertificates returns the certificates of a PEM bundle, skipping what
// is none.
func parseCertificates(bundle []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs
}

func encodeCertificates(certs []*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

func firstCertificate(certs []*x509.Certificate) *x509.Certificate {
	if len(certs) == 0 {
		return nil
	}
	return certs[0]
}

// covers reports whether a certificate names every host in names.
func covers(cert *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return cert.VerifyHostname(name) != nil })
}
