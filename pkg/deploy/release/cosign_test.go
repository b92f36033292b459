// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// signedRegistry is a registry with a chart, and what is said of it.
type signedRegistry struct {
	manifests, blobs map[string][]byte
	referrers        []map[string]any
	chart            []byte // its manifest
}

func newSignedRegistry(t testing.TB) *signedRegistry {
	r := &signedRegistry{manifests: map[string][]byte{}, blobs: map[string][]byte{}}
	r.chart = r.put(t, "1.2.0", r.layer(chartLayerType, ociTags(t, "1.2.0")["1.2.0"], nil))
	return r
}

func (r *signedRegistry) layer(mediaType string, data []byte, annotations map[string]string) map[string]any {
	r.blobs[digestOf(data)] = data
	return map[string]any{"mediaType": mediaType, "digest": digestOf(data), "size": len(data), "annotations": annotations}
}

func (r *signedRegistry) put(t testing.TB, tag string, layers ...map[string]any) []byte {
	t.Helper()
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": digestOf([]byte("{}")), "size": 2},
		"layers": layers,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.manifests[tag], r.manifests[digestOf(manifest)] = manifest, manifest
	return manifest
}

func (r *signedRegistry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	parts := strings.Split(request.URL.Path, "/")
	name := parts[len(parts)-1]
	switch kind := parts[len(parts)-2]; {
	case kind == "manifests" && r.manifests[name] != nil:
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", digestOf(r.manifests[name]))
		w.Header().Set("Content-Length", fmt.Sprint(len(r.manifests[name])))
		_, _ = w.Write(r.manifests[name])
	case kind == "blobs" && r.blobs[name] != nil:
		_, _ = w.Write(r.blobs[name])
	case kind == "referrers" && name == digestOf(r.chart):
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": r.referrers})
	default:
		http.NotFound(w, request)
	}
}

// simple is what Cosign 1 and 2 sign.
func simple(manifest []byte) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digestOf(manifest))
}

// tagged puts a signature where Cosign 1 and 2 do.
func (r *signedRegistry) tagged(t testing.TB, payload, signature []byte) {
	tag := strings.Replace(digestOf(r.chart), ":", "-", 1) + ".sig"
	r.put(t, tag, r.layer(simpleSigning, payload, map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(signature)}))
}

func statement(manifest []byte, predicate string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, strings.TrimPrefix(digestOf(manifest), "sha256:"), predicate)
}

const inToto = "application/vnd.in-toto+json"

// enveloped is what is signed of a statement.
func enveloped(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(inToto), inToto, len(payload), payload)
}

// attached puts a signature where Cosign 3 does.
func (r *signedRegistry) attached(t testing.TB, payload, signature []byte) {
	bundle, err := json.Marshal(map[string]any{
		"mediaType":    "application/vnd.dev.sigstore.bundle.v0.3+json",
		"dsseEnvelope": map[string]any{"payload": payload, "payloadType": inToto, "signatures": []any{map[string]any{"sig": signature}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	holder := r.put(t, "bundle", r.layer("application/vnd.dev.sigstore.bundle.v0.3+json", bundle, nil))
	r.referrers = append(r.referrers,
		map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digestOf([]byte("x")), "size": 1, "artifactType": "application/spdx+json"},
		map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digestOf(holder), "size": len(holder), "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json"})
}

// signature signs in the way of a key's kind.
func signature(t testing.TB, key crypto.Signer, message []byte) []byte {
	t.Helper()
	options, sum := crypto.SignerOpts(crypto.SHA256), sha256.Sum256(message)
	signed := sum[:]
	if _, ok := key.(ed25519.PrivateKey); ok {
		options, signed = crypto.Hash(0), message
	}
	out, err := key.Sign(rand.Reader, signed, options)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func publicKey(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	encoded, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded})
}

func newKeys(t testing.TB) (curve, older, edwards crypto.Signer) {
	t.Helper()
	first, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, third, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return first, second, third
}

func TestSignatures(t *testing.T) {
	curve, older, edwards := newKeys(t)
	for name, tc := range map[string]struct {
		sign func(r *signedRegistry)
		keys []crypto.Signer
		want string
	}{
		"an elliptic curve": {keys: []crypto.Signer{curve}, sign: func(r *signedRegistry) { r.tagged(t, simple(r.chart), signature(t, curve, simple(r.chart))) }},
		"RSA":               {keys: []crypto.Signer{older}, sign: func(r *signedRegistry) { r.tagged(t, simple(r.chart), signature(t, older, simple(r.chart))) }},
		"Ed25519":           {keys: []crypto.Signer{edwards}, sign: func(r *signedRegistry) { r.tagged(t, simple(r.chart), signature(t, edwards, simple(r.chart))) }},
		"one of two keys":   {keys: []crypto.Signer{edwards, curve}, sign: func(r *signedRegistry) { r.tagged(t, simple(r.chart), signature(t, curve, simple(r.chart))) }},
		"a bundle": {keys: []crypto.Signer{curve}, sign: func(r *signedRegistry) {
			said := statement(r.chart, signPredicate)
			r.attached(t, said, signature(t, curve, enveloped(said)))
		}},
		"none":            {keys: []crypto.Signer{curve}, sign: func(*signedRegistry) {}, want: "no signature"},
		"another's":       {keys: []crypto.Signer{older}, sign: func(r *signedRegistry) { r.tagged(t, simple(r.chart), signature(t, curve, simple(r.chart))) }, want: "no signature"},
		"another chart's": {keys: []crypto.Signer{curve}, sign: func(r *signedRegistry) { r.tagged(t, simple([]byte("x")), signature(t, curve, simple([]byte("x")))) }, want: "no signature"},
		"a bundle of another's": {keys: []crypto.Signer{edwards}, sign: func(r *signedRegistry) {
			said := statement(r.chart, signPredicate)
			r.attached(t, said, signature(t, curve, enveloped(said)))
		}, want: "no signature"},
		"a bundle of another chart": {keys: []crypto.Signer{curve}, sign: func(r *signedRegistry) {
			said := statement([]byte("x"), signPredicate)
			r.attached(t, said, signature(t, curve, enveloped(said)))
		}, want: "no signature"},
		"a bundle that says something else": {keys: []crypto.Signer{curve}, sign: func(r *signedRegistry) {
			said := statement(r.chart, "https://spdx.dev/Document")
			r.attached(t, said, signature(t, curve, enveloped(said)))
		}, want: "no signature"},
	} {
		t.Run(name, func(t *testing.T) {
			registry := newSignedRegistry(t)
			tc.sign(registry)
			server := serveHandler(t, registry, false)
			m := NewManager(Options{Mirror: func(url string) string { return strings.Replace(url, "oci://registry.example", server.URL, 1) }})
			asked := ChartRef{RepositoryURL: "oci://registry.example/charts", ChartName: "nginx", Version: "1.2.0"}
			mustLoadUnproved(t, m, asked)
			asked.Verify = &Verification{}
			for _, key := range tc.keys {
				asked.Verify.PublicKeys = append(asked.Verify.PublicKeys, publicKey(t, key))
			}
			_, err := m.LoadChart(t.Context(), asked)
			reason := Untrusted
			if tc.want == "" {
				reason = ""
			}
			wantProof(t, err, reason, tc.want)
		})
	}
	if err := CheckPublicKey(publicKey(t, curve)); err != nil {
		t.Error(err)
	}
	if CheckPublicKey([]byte("none")) == nil || CheckPublicKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})) == nil {
		t.Error("a key that is none was accepted")
	}
}

// Only registries have signatures.
func TestASignatureOfADownloadIsRefused(t *testing.T) {
	m, _ := newRepositoryManager(t, nil)
	curve, _, _ := newKeys(t)
	asked := ref
	asked.Verify = &Verification{PublicKeys: [][]byte{publicKey(t, curve)}}
	_, err := m.LoadChart(t.Context(), asked)
	wantProof(t, err, Untrusted, "only charts in OCI registries")
}
