// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

// signer is somebody with an OpenPGP key.
type signer struct {
	entity  *openpgp.Entity
	keyring []byte
}

func newSigner(t testing.TB, armored bool) signer {
	t.Helper()
	entity, err := openpgp.NewEntity("tests", "", "tests@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if !armored {
		if err := entity.Serialize(&out); err != nil {
			t.Fatal(err)
		}
		return signer{entity, out.Bytes()}
	}
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err == nil {
		err = entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{entity, out.Bytes()}
}

// provenance is the provenance file of an archive, as `helm package --sign` makes it.
func (s signer) provenance(t testing.TB, archive []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, s.entity.PrivateKey, nil)
	if err == nil {
		_, err = fmt.Fprintf(w, "name: kyverno\nversion: 3.3.3\n\n...\nfiles:\n  kyverno-3.3.3.tgz: %s\n", digestOf(archive))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestProvenance(t *testing.T) {
	good, other := newSigner(t, true), newSigner(t, false)
	archive := pack(t, "kyverno", files("kyverno", "3.3.3"))
	older := pack(t, "kyverno", files("kyverno", "3.0.0"))
	file := good.provenance(t, archive)
	for name, tc := range map[string]struct {
		keyrings [][]byte
		archive  []byte
		file     []byte
		reason   Reason
		want     string
	}{
		"signed":                    {keyrings: [][]byte{good.keyring}, archive: archive, file: file},
		"signed by one of many":     {keyrings: [][]byte{other.keyring, good.keyring}, archive: archive, file: file},
		"a keyring that is binary":  {keyrings: [][]byte{other.keyring}, archive: archive, file: other.provenance(t, archive)},
		"signed by another":         {keyrings: [][]byte{other.keyring}, archive: archive, file: file, reason: Untrusted, want: "not signed with a key of the keyring"},
		"no file":                   {keyrings: [][]byte{good.keyring}, archive: archive, reason: Untrusted, want: "no provenance file"},
		"not signed":                {keyrings: [][]byte{good.keyring}, archive: archive, file: []byte("files: {kyverno-3.3.3.tgz: " + digestOf(archive) + "}"), reason: Untrusted, want: "is not signed"},
		"changed after it":          {keyrings: [][]byte{good.keyring}, archive: archive, file: bytes.Replace(good.provenance(t, older), []byte(digestOf(older)), []byte(digestOf(archive)), 1), reason: Untrusted, want: "not signed with a key"},
		"of another archive":        {keyrings: [][]byte{good.keyring}, archive: archive, file: good.provenance(t, older), reason: Untrusted, want: "of another archive"},
		"another version, signed":   {keyrings: [][]byte{good.keyring}, archive: older, file: good.provenance(t, older), reason: NotFound, want: "of version 3.0.0"},
		"another chart, signed":     {keyrings: [][]byte{good.keyring}, archive: pack(t, "other", files("other", "3.3.3")), file: good.provenance(t, pack(t, "other", files("other", "3.3.3"))), reason: Untrusted, want: "the chart that is signed is other"},
		"a keyring that holds none": {keyrings: [][]byte{[]byte("none")}, archive: archive, file: file, reason: Invalid, want: "no OpenPGP keys"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newChartServer(t)
			server.set("/index.yaml", []byte("apiVersion: v1\nentries: {kyverno: [{version: 3.3.3, urls: [kyverno-3.3.3.tgz]}]}\n"))
			server.set("/kyverno-3.3.3.tgz", tc.archive)
			if tc.file != nil {
				server.set("/kyverno-3.3.3.tgz.prov", tc.file)
			}
			m := NewManager(Options{Mirror: mirrorTo(server)})
			asked := kyvernoFrom("https://charts.example", nil)
			mustLoadUnproved(t, m, asked)
			asked.Verify = &Verification{Keyrings: tc.keyrings}
			_, err := m.LoadChart(t.Context(), asked)
			wantProof(t, err, tc.reason, tc.want)
		})
	}
	for _, keyring := range [][]byte{good.keyring, other.keyring} {
		if err := CheckKeyring(keyring); err != nil {
			t.Error(err)
		}
	}
	if CheckKeyring([]byte("none")) == nil || CheckKeyring(nil) == nil {
		t.Error("keyrings without keys were accepted")
	}
}

// mustLoadUnproved brings a chart into memory, which proves nothing.
func mustLoadUnproved(t *testing.T, m *Manager, ref ChartRef) {
	t.Helper()
	ref.Verify = nil
	mustLoad(t, m, ref)
}

func wantProof(t *testing.T, err error, reason Reason, want string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if err == nil {
		t.Fatalf("loaded, want %s with %q", reason, want)
	}
	if failed := chartError(t, err); failed.Reason != reason || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %s with %q", failed.Reason, err, reason, want)
	}
}

func TestProvenanceInARegistry(t *testing.T) {
	good, other := newSigner(t, true), newSigner(t, true)
	file := good.provenance(t, ociTags(t, "1.2.0")["1.2.0"])
	for name, tc := range map[string]struct {
		file    []byte
		keyring []byte
		want    string
	}{
		"signed":            {file, good.keyring, ""},
		"signed by another": {file, other.keyring, "not signed with a key"},
		"no file":           {nil, good.keyring, "no provenance file"},
	} {
		t.Run(name, func(t *testing.T) {
			registry := newSignedRegistry(t)
			layers := []map[string]any{registry.layer(chartLayerType, ociTags(t, "1.2.0")["1.2.0"], nil)}
			if tc.file != nil {
				layers = append(layers, registry.layer("application/vnd.cncf.helm.chart.provenance.v1.prov", tc.file, nil))
			}
			registry.chart = registry.put(t, "1.2.0", layers...)
			server := serveHandler(t, registry, false)
			m := NewManager(Options{Mirror: func(url string) string { return strings.Replace(url, "oci://registry.example", server.URL, 1) }})
			_, err := m.LoadChart(t.Context(), ChartRef{
				RepositoryURL: "oci://registry.example/charts", ChartName: "nginx", Version: "1.2.0", Verify: &Verification{Keyrings: [][]byte{tc.keyring}},
			})
			reason := Untrusted
			if tc.want == "" {
				reason = ""
			}
			wantProof(t, err, reason, tc.want)
		})
	}
}
