// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
)

const (
	// simpleSigning is the media type of what Cosign 1 and 2 sign, and
	// signatureAnnotation where the signature of such a layer is.
	simpleSigning       = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	// bundleType begins the artifact type of the signatures of Cosign 3, and
	// signPredicate says that such a statement is a signature.
	bundleType    = "application/vnd.dev.sigstore.bundle"
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
	// signatureLimit bounds one signature, in bytes, and maxSignatures how many of one
	// chart are looked at.
	signatureLimit = 1 << 20
	maxSignatures  = 50
)

var errNoPublicKey = errors.New("holds no public key in PEM")

// CheckPublicKey returns an error if data is no public key that signatures can be
// compared with.
func CheckPublicKey(data []byte) error {
	_, err := readPublicKey(data)
	return err
}

func readPublicKey(data []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errNoPublicKey
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errNoPublicKey
	}
	switch key.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return key, nil
	}
	return nil, errNoPublicKey
}

// signed reports whether one of the keys has signed a message.
func (v *Verification) signed(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	for _, data := range v.PublicKeys {
		key, err := readPublicKey(data)
		if err != nil {
			continue
		}
		good := false
		switch key := key.(type) {
		case *ecdsa.PublicKey:
			good = ecdsa.VerifyASN1(key, sum[:], signature)
		case *rsa.PublicKey:
			good = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		case ed25519.PublicKey:
			good = ed25519.Verify(key, message, signature)
		}
		if good {
			return true
		}
	}
	return false
}

// checkSignature looks for a signature of a manifest, as Cosign 1 and 2 keep it under a
// tag or Cosign 3 as a referrer. It counts by its key: no transparency log is asked.
func (v *visit) checkSignature(ctx context.Context, repo *remote.Repository, manifest ocispec.Descriptor) error {
	found, err := v.taggedSignature(ctx, repo, manifest)
	if err != nil || found {
		return err
	}
	found, err = v.attachedSignature(ctx, repo, manifest)
	if err != nil || found {
		return err
	}
	return faultf(Untrusted, "the registry has no signature of %s that was made with the key", manifest.Digest)
}

// taggedSignature looks for a signature under the tag that is made of the digest.
func (v *visit) taggedSignature(ctx context.Context, repo *remote.Repository, manifest ocispec.Descriptor) (bool, error) {
	tag := strings.ReplaceAll(manifest.Digest.String(), ":", "-") + ".sig"
	descriptor, err := repo.Resolve(ctx, tag)
	if errors.Is(err, errdef.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	signatures, err := fetchManifest(ctx, repo, descriptor)
	if err != nil {
		return false, err
	}
	for i, layer := range signatures.Layers {
		if i == maxSignatures {
			break
		}
		if layer.MediaType != simpleSigning {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(layer.Annotations[signatureAnnotation])
		if err != nil {
			continue
		}
		payload, err := fetchSignature(ctx, repo, layer)
		if err != nil {
			return false, err
		}
		if v.verify.signed(payload, signature) && isPayloadOf(payload, manifest) {
			return true, nil
		}
	}
	return false, nil
}

func fetchSignature(ctx context.Context, repo *remote.Repository, layer ocispec.Descriptor) ([]byte, error) {
	if layer.Size > signatureLimit {
		return nil, faultf(Invalid, "a signature has %d bytes, at most %d are read", layer.Size, signatureLimit)
	}
	return content.FetchAll(ctx, repo, layer)
}

// isPayloadOf reports whether what was signed says that it is of a manifest.
func isPayloadOf(payload []byte, manifest ocispec.Descriptor) bool {
	var claim struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	return json.Unmarshal(payload, &claim) == nil &&
		claim.Critical.Type == "cosign container image signature" && claim.Critical.Image.Digest == manifest.Digest.String()
}

// errFound ends the search for referrers.
var errFound = errors.New("found")

// attachedSignature looks for a signature among the manifests that refer to one.
func (v *visit) attachedSignature(ctx context.Context, repo *remote.Repository, manifest ocispec.Descriptor) (bool, error) {
	seen := 0
	err := repo.Referrers(ctx, manifest, "", func(referrers []ocispec.Descriptor) error {
		for _, referrer := range referrers {
			if !strings.HasPrefix(referrer.ArtifactType, bundleType) {
				continue
			}
			if seen++; seen > maxSignatures {
				return errFound // none of those that count
			}
			good, err := v.isBundleOf(ctx, repo, referrer, manifest)
			if err != nil {
				return err
			}
			if good {
				seen = 0
				return errFound
			}
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return seen == 0, nil
	}
	return false, err
}

// isBundleOf reports whether a referrer holds a good signature of a manifest.
func (v *visit) isBundleOf(ctx context.Context, repo *remote.Repository, referrer, manifest ocispec.Descriptor) (bool, error) {
	holder, err := fetchManifest(ctx, repo, referrer)
	if err != nil || len(holder.Layers) != 1 {
		return false, err
	}
	data, err := fetchSignature(ctx, repo, holder.Layers[0])
	if err != nil {
		return false, err
	}
	var bundle struct {
		Envelope struct {
			Payload     []byte `json:"payload"`
			PayloadType string `json:"payloadType"`
			Signatures  []struct {
				Signature []byte `json:"sig"`
			} `json:"signatures"`
		} `json:"dsseEnvelope"`
	}
	if json.Unmarshal(data, &bundle) != nil {
		return false, nil
	}
	envelope := bundle.Envelope
	// What is signed is the type and the payload, each with its length before it.
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(envelope.PayloadType), envelope.PayloadType, len(envelope.Payload), envelope.Payload)
	for _, signature := range envelope.Signatures {
		if v.verify.signed(message, signature.Signature) {
			return isStatementOf(envelope.Payload, manifest), nil
		}
	}
	return false, nil
}

// isStatementOf reports whether a statement is a signature of a manifest, and not, say, a
// list of what is in it.
func isStatementOf(payload []byte, manifest ocispec.Descriptor) bool {
	var statement struct {
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(payload, &statement) != nil || statement.PredicateType != signPredicate {
		return false
	}
	for _, subject := range statement.Subject {
		if subject.Digest[manifest.Digest.Algorithm().String()] == manifest.Digest.Encoded() {
			return true
		}
	}
	return false
}
