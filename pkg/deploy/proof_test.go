// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"testing"

	"github.com/muster-project/muster/pkg/deploy/release"
)

// A chart that is deployed is looked at again when a proof is asked for, and not because
// of a new password.
func TestAChartIsLookedAtAgainForAProof(t *testing.T) {
	hash := func(access *release.Access, verify *release.Verification) string {
		t.Helper()
		out, err := chartHash(Chart{Namespace: "n", Name: "r", Ref: release.ChartRef{RepositoryURL: "oci://registry.example", ChartName: "a", Access: access, Verify: verify}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	plain := hash(nil, nil)
	if hash(&release.Access{Password: "x"}, nil) != plain {
		t.Error("a password makes a chart another")
	}
	one, other := hash(nil, &release.Verification{Keyrings: [][]byte{{1}}}), hash(nil, &release.Verification{PublicKeys: [][]byte{{1}}})
	if one == plain || other == plain || one == other {
		t.Error("a proof that is asked for goes unnoticed")
	}
}
