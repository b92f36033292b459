// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import "testing"

func TestChartsInFiles(t *testing.T) {
	content := map[string][]byte{}
	for name, data := range files("kyverno", "3.3.3") {
		content[name] = []byte(data)
	}
	m := NewManager(Options{})
	asked := ChartRef{RepositoryURL: "gitrepository://flux/charts/kyverno", ChartName: "kyverno", Files: &Files{Digest: "sha256:1 kyverno", Content: content}}
	first := mustLoad(t, m, asked)
	again := mustLoad(t, m, asked)
	if first.Name != "kyverno" || first.Version != "3.3.3" || first.Digest != again.Digest {
		t.Errorf("%s %s, %s and %s", first.Name, first.Version, first.Digest, again.Digest)
	}
	asked.Files = &Files{Archive: pack(t, "kyverno", files("kyverno", "3.3.3"))}
	for version, good := range map[string]bool{"": true, "3.3.3": true, "v3.3.3": true, "~3.3": true, "3.3.4": false} {
		asked.Version = version
		if _, err := m.LoadChart(t.Context(), asked); (err == nil) != good {
			t.Errorf("version %q: %v", version, err)
		}
	}
	asked.Version, asked.Verify = "", &Verification{Keyrings: [][]byte{nil}}
	_, err := m.LoadChart(t.Context(), asked)
	wantProof(t, err, Untrusted, "neither a provenance file")
	asked.Verify, asked.Files = nil, &Files{Digest: "2", Content: map[string][]byte{"README.md": nil}}
	_, err = m.LoadChart(t.Context(), asked)
	wantProof(t, err, Invalid, "Chart.yaml")
}
