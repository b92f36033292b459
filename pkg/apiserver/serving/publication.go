// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// propagation is how long a caBundle has to stand before whoever has to trust it
// is taken to have read it: every kube-apiserver of the host, through a watch.
const propagation = 10 * time.Second

// readyAfter is the same for a replica that serves nobody yet and has nothing
// else to serve. Its probe takes longer to be noticed than a watch.
const readyAfter = time.Second

// retention is how long after a new authority was made the caBundles keep an
// older one that the Secret does not hold any more, where the Secret keeps it for
// overlap after the new one has begun to sign. It is longer than that, and longer
// than a replica can take to notice: two replicas of which only one has seen the
// Secret's change would otherwise remove and add the authority by turns.
func retention(overlap time.Duration) time.Duration {
	return 2*overlap + 2*min(overlap, renewalCheck)
}

// publication is what our APIServices trust, and since when.
type publication struct {
	known bool
	// all says that there is nothing to trust us: no APIService leads here.
	all bool
	// authorities are those that every APIService trusts.
	authorities []publishedAuthority
}

type publishedAuthority struct {
	cert *x509.Certificate
	// since is when it was seen first, zero for what stood long before.
	since time.Time
}

// update takes in the caBundles as they are.
func (p *publication) update(bundles [][]byte, now time.Time) {
	var authorities []publishedAuthority
	for i, bundle := range bundles {
		certs := parseCertificates(bundle)
		if i == 0 {
			for _, cert := range certs {
				authorities = append(authorities, publishedAuthority{cert: cert, since: p.since(cert, now)})
			}
			continue
		}
		authorities = slices.DeleteFunc(authorities, func(a publishedAuthority) bool { return !slices.ContainsFunc(certs, a.cert.Equal) })
	}
	p.authorities = authorities
	p.known, p.all = true, len(bundles) == 0
}

// since is when a certificate was published first, as far as is known. What this
// process finds when it starts stood before, unless it is so young that another
// replica may have published it a moment ago.
func (p *publication) since(cert *x509.Certificate, now time.Time) time.Time {
	for _, a := range p.authorities {
		if a.cert.Equal(cert) {
			return a.since
		}
	}
	if !p.known && now.Sub(cert.NotBefore) > backdating+propagation {
		return time.Time{}
	}
	return now
}

// covers reports whether every APIService has trusted a certificate for as long
// as age.
func (p *publication) covers(cert *x509.Certificate, now time.Time, age time.Duration) bool {
	if !p.known || cert == nil {
		return false
	}
	return p.all || slices.ContainsFunc(p.authorities, func(a publishedAuthority) bool {
		return now.Sub(a.since) >= age && now.Before(a.cert.NotAfter) && cert.CheckSignatureFrom(a.cert) == nil
	})
}

// union is the caBundle to publish: the Secret's, and of what is published what
// some replica may still serve under, or does already.
//
// An authority of ours that is newer than the Secret's is one that another
// replica has seen before us, and must not be taken away again. One that has
// gone from the Secret stays for the retention time, because the Secret may have
// been lost, while certificates are served that were made before.
func union(own, published []byte, retention time.Duration, now time.Time) []byte {
	bundle := parseCertificates(own)
	newest := firstCertificate(bundle)
	if newest == nil {
		return own
	}
	for _, cert := range parseCertificates(published) {
		if !cert.IsCA || cert.Subject.CommonName != authorityName || !now.Before(cert.NotAfter) || slices.ContainsFunc(bundle, cert.Equal) {
			continue
		}
		if cert.NotBefore.After(newest.NotBefore) || now.Before(newest.NotBefore.Add(backdating+retention)) {
			bundle = append(bundle, cert)
		}
	}
	// One order for all replicas, or each would correct the other's.
	slices.SortFunc(bundle, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotBefore.Compare(a.NotBefore), bytes.Compare(a.Raw, b.Raw))
	})
	return encodeCertificates(bundle)
}

// leaf is the certificate in a Secret's content that is served, nil for none.
func leaf(data map[string][]byte) *x509.Certificate {
	return firstCertificate(parseCertificates(data[corev1.TLSCertKey]))
}

// samePair reports whether both contents serve the same.
func samePair(a, b map[string][]byte) bool {
	return bytes.Equal(a[corev1.TLSCertKey], b[corev1.TLSCertKey]) && bytes.Equal(a[corev1.TLSPrivateKeyKey], b[corev1.TLSPrivateKeyKey])
}
