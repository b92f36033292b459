// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"helm.sh/helm/v3/pkg/registry"
	"oras.land/oras-go/v2/registry/remote"
	"sigs.k8s.io/yaml"
)

// Verification is what has to be proved of a chart before it is deployed. All of it is
// public.
type Verification struct {
	// Keyrings are OpenPGP keys, armored or not. With one of them the provenance file of
	// the chart has to be signed. None demands no such file.
	Keyrings [][]byte
	// PublicKeys are keys in PEM. With one of them Cosign has to have signed the chart,
	// which has to be in a registry. None demands no signature.
	PublicKeys [][]byte
}

var errNoKeyring = errors.New("holds no OpenPGP keys")

// CheckKeyring returns an error if data holds no OpenPGP keys.
func CheckKeyring(data []byte) error {
	_, err := readKeyring(data)
	return err
}

func readKeyring(data []byte) (openpgp.EntityList, error) {
	read := openpgp.ReadKeyRing
	if bytes.Contains(data, []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(data))
	if err != nil || len(keys) == 0 {
		return nil, errNoKeyring
	}
	return keys, nil
}

// checkDownloaded proves what has to be proved of an archive of a repository. Its errors
// are faults.
func (v *visit) checkDownloaded(ctx context.Context, from place, archive []byte) error {
	switch {
	case v.verify == nil:
		return nil
	case len(v.verify.PublicKeys) > 0:
		return faultf(Untrusted, "only charts in OCI registries have Cosign signatures")
	}
	file, err := v.get(ctx, from.withSuffix(".prov"), "")
	if err != nil {
		var missing *fault
		if errors.As(err, &missing) && missing.reason == NotFound {
			return faultf(Untrusted, "the repository has no provenance file of the chart: %w", err)
		}
		return err
	}
	return v.verify.provenance(archive, file.body)
}

// withSuffix is the place of a file beside another.
func (p place) withSuffix(suffix string) place {
	asked, target := *p.asked, *p.target
	asked.Path, target.Path = asked.Path+suffix, target.Path+suffix
	asked.RawPath, target.RawPath = "", ""
	return place{asked: &asked, target: &target, mirrored: p.mirrored}
}

// checkPulled proves what has to be proved of a chart in a registry.
func (v *visit) checkPulled(ctx context.Context, repo *remote.Repository, found pulled, archive []byte) error {
	if v.verify == nil {
		return nil
	}
	if len(v.verify.Keyrings) > 0 {
		layer, err := found.layer(registry.ProvLayerMediaType)
		if err != nil {
			return faultf(Untrusted, "tag %s has no provenance file", found.tag)
		}
		file, err := v.fetchLayer(ctx, repo, layer)
		if err != nil {
			return err
		}
		if err := v.verify.provenance(archive, file); err != nil {
			return err
		}
	}
	if len(v.verify.PublicKeys) == 0 {
		return nil
	}
	return v.checkSignature(ctx, repo, found.descriptor)
}

// provenance proves that a provenance file is signed with a key of the keyrings, and of
// this archive. Its errors are faults.
func (v *Verification) provenance(archive, file []byte) error {
	block, _ := clearsign.Decode(file)
	if block == nil {
		return faultf(Untrusted, "the provenance file is not signed")
	}
	var keys openpgp.EntityList
	for _, keyring := range v.Keyrings {
		read, err := readKeyring(keyring)
		if err != nil {
			return &fault{Invalid, err}
		}
		keys = append(keys, read...)
	}
	if _, err := openpgp.CheckDetachedSignature(keys, bytes.NewReader(block.Bytes), block.ArmoredSignature.Body, nil); err != nil {
		return faultf(Untrusted, "the provenance file is not signed with a key of the keyring: %w", err)
	}
	// The chart's metadata, the end of a YAML document, and the digests of files.
	_, sums, _ := strings.Cut(string(block.Plaintext), "\n...\n")
	var signed struct {
		Files map[string]string `json:"files"`
	}
	if err := yaml.Unmarshal([]byte(sums), &signed); err != nil {
		return faultf(Untrusted, "the provenance file is not one of a chart")
	}
	for name, digest := range signed.Files {
		if strings.HasSuffix(name, ".tgz") && digest == digestOf(archive) {
			return nil
		}
	}
	return faultf(Untrusted, "the provenance file is of another archive than this one, %s", digestOf(archive))
}
