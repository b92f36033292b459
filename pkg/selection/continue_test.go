// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/muster-project/muster/pkg/fleet"
)

func TestContinueRoundTrip(t *testing.T) {
	set := SetKey{Kind: KindSet, Namespace: "east", Name: "prod"}
	ref := fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "east", Name: strings.Repeat("n", 253)}
	token := encodeContinue(set, Standby, ref)
	after, err := decodeContinue(set, Query{Continue: token, Reason: Standby})
	if err != nil {
		t.Fatal(err)
	}
	if want := (position{Rank(set, ref), ref}); *after != want {
		t.Errorf("got %+v, want %+v", *after, want)
	}
}

func TestContinueIsChecked(t *testing.T) {
	for _, raw := range []string{
		``, `null`, `{}`, `[]`, `"text"`,
		`{"v":2,"set":{"Kind":"Set"},"after":{"Name":"c1"}}`,
		`{"v":1,"set":{"Kind":"Set"},"after":{"Name":""}}`,
		`{"v":1,"set":{"Kind":"Set"},"after":{"Name":"c1"},"more":1}`,
		`{"v":1,"set":{"Kind":"Set"},"after":{"Name":"c1"}} {}`,
		`{"v":1,"set":{"Kind":"Set"},"after":{"Name":"` + strings.Repeat("n", maxContinue) + `"}}`,
	} {
		if token, valid := parseContinue(base64.RawURLEncoding.EncodeToString([]byte(raw))); valid {
			t.Errorf("%.80s is taken for a token: %+v", raw, token)
		}
	}
}

// Whatever is sent as a token, it is refused or it is one place to go on from.
func FuzzContinue(f *testing.F) {
	set := SetKey{Kind: KindClusterSet, Name: "prod"}
	f.Add(encodeContinue(set, "", fleet.Ref{Kind: "SveltosCluster", Namespace: "east", Name: "c1"}))
	f.Add(encodeContinue(set, Held, fleet.Ref{Name: "c1"}))
	f.Add("garbage")
	index := NewIndex()
	index.PutSet(Spec{Set: set, MaxReplicas: 1}, Stored{})
	for _, name := range []string{"c1", "c2"} {
		index.PutMember(fleet.Member{Ref: fleet.Ref{Kind: "SveltosCluster", Namespace: "east", Name: name}})
	}
	f.Fuzz(func(t *testing.T, text string) {
		after, err := decodeContinue(set, Query{Continue: text})
		if err == nil && text != "" && after.ref.Name == "" {
			t.Errorf("%q leads nowhere", text)
		}
		view, err := index.Selection(set, Query{Continue: text, Reason: NotMatching})
		if err == nil && len(view.Candidates) > 2 {
			t.Errorf("%q lists %d of 2", text, len(view.Candidates))
		}
	})
}
