// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

const ourNamespace types.UID = "ns-1"

var (
	ours   = Found{Prefix: "/registry/muster/default", ClusterID: "c1", Revision: 100, Installation: "i1", NamespaceUID: ourNamespace}
	record = RecordOf(ours, time.Unix(1_800_000_000, 0).UTC())
)

// but is ours with a change.
func but(change func(*Found)) Found {
	found := ours
	change(&found)
	return found
}

func wiped(f *Found) { f.Installation, f.NamespaceUID, f.Empty, f.Revision = "", "", true, 1 }

func TestJudge(t *testing.T) {
	hold := func(reason Reason) Verdict { return Verdict{Action: Hold, Reason: reason} }
	known := Stored{Record: &record}
	confirmed := func(found Found) Stored {
		return Stored{Record: &record, Confirmed: &Confirmation{Found: found, As: "new"}}
	}
	foreign := but(func(f *Found) { f.Installation, f.NamespaceUID = "i2", "ns-2" })
	older := but(func(f *Found) { f.Revision = 99 })
	elsewhere := but(func(f *Found) { f.ClusterID = "c2" })
	unmarked := but(func(f *Found) { f.Installation, f.NamespaceUID = "", "" })
	claimed := but(func(f *Found) { f.Installation, f.Revision = "new", 102 })
	tests := map[string]struct {
		stored Stored
		found  Found
		want   Verdict
	}{
		"first start ever":                 {Stored{}, but(wiped), Verdict{Action: MarkIt}},
		"first start, cut short":           {Stored{}, ours, Verdict{Action: RecordIt}},
		"first start on another's prefix":  {Stored{}, foreign, hold(Foreign)},
		"first start on unmarked keys":     {Stored{}, unmarked, hold(Unmarked)},
		"another namespace of the host":    {Stored{}, but(func(f *Found) { f.NamespaceUID = "ns-3" }), hold(Foreign)},
		"as it was":                        {known, ours, Verdict{Action: Trust}},
		"written to":                       {known, but(func(f *Found) { f.Revision = 101 }), Verdict{Action: Trust}},
		"the mark's namespace was remade":  {known, but(func(f *Found) { f.NamespaceUID = "ns-0" }), Verdict{Action: Trust}},
		"older than it was":                {known, older, hold(Restored)},
		"in another cluster":               {known, elsewhere, hold(Restored)},
		"wiped":                            {known, but(wiped), hold(Wiped)},
		"wiped, in another cluster":        {known, but(func(f *Found) { wiped(f); f.ClusterID = "c2" }), hold(Wiped)},
		"wiped, and of a high revision":    {known, but(func(f *Found) { wiped(f); f.Revision = 500 }), hold(Wiped)},
		"mark deleted":                     {known, unmarked, hold(Unmarked)},
		"another's":                        {known, foreign, hold(Foreign)},
		"another prefix":                   {known, but(func(f *Found) { wiped(f); f.Prefix = "/registry/muster/b" }), hold(OtherPrefix)},
		"restored, confirmed":              {confirmed(older), older, Verdict{Action: MarkIt, ID: "new"}},
		"confirmed, and written to since":  {confirmed(older), but(func(f *Found) { f.Revision = 99 }), Verdict{Action: MarkIt, ID: "new"}},
		"wiped, confirmed":                 {confirmed(but(wiped)), but(wiped), Verdict{Action: MarkIt, ID: "new"}},
		"foreign, confirmed":               {confirmed(foreign), foreign, Verdict{Action: MarkIt, ID: "new"}},
		"foreign at first, confirmed":      {Stored{Confirmed: &Confirmation{Found: foreign, As: "new"}}, foreign, Verdict{Action: MarkIt, ID: "new"}},
		"confirmed and marked":             {confirmed(older), claimed, Verdict{Action: RecordIt}},
		"went back again after that":       {confirmed(older), but(func(f *Found) { f.Revision = 50 }), hold(Restored)},
		"something else was confirmed":     {confirmed(foreign), older, hold(Restored)},
		"another cluster was confirmed":    {confirmed(elsewhere), older, hold(Restored)},
		"wiped, where foreign was":         {confirmed(foreign), but(wiped), hold(Wiped)},
		"refilled, where empty was":        {confirmed(but(wiped)), unmarked, hold(Unmarked)},
		"back, with a confirmation unused": {confirmed(foreign), ours, Verdict{Action: Trust}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Judge(test.stored, test.found, ourNamespace)); diff != "" {
				t.Errorf("Judge (-want +got):\n%s", diff)
			}
		})
	}
}

// An installation that does not know its own namespace recognises nothing by it.
func TestNoNamespaceMatchesNoMark(t *testing.T) {
	found := but(func(f *Found) { f.NamespaceUID = "" })
	if got := Judge(Stored{}, found, ""); got.Action != Hold {
		t.Errorf("Judge: %+v, want Hold", got)
	}
}

func TestTheConfigMapKeepsEverything(t *testing.T) {
	for name, stored := range map[string]Stored{
		"nothing":      {},
		"a record":     {Record: &record},
		"an answer":    {Confirmed: &Confirmation{Found: ours, As: "new"}},
		"both of them": {Record: &record, Confirmed: &Confirmation{Found: but(wiped), As: "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := stored.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(stored, got); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADamagedConfigMapIsAnError(t *testing.T) {
	for _, key := range []string{prefixKey, clusterIDKey, installationKey, revisionKey, renewedKey} {
		data, err := Stored{Record: &record}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		delete(data, key)
		if _, err := Parse(data); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("without %s: error %v, want one that names it", key, err)
		}
	}
	if _, err := Parse(map[string]string{confirmedKey: "{"}); err == nil {
		t.Error("a confirmation that does not parse is no error")
	}
}

func TestAnAnswerCarriesWhatWasFound(t *testing.T) {
	held := &Held{Reason: Restored, Expected: &record, Found: but(func(f *Found) { f.Revision = 7 })}
	answer := Unavailable(fmt.Errorf("storage: %w", held))
	if answer.ErrStatus.Code != 503 || answer.ErrStatus.Details.RetryAfterSeconds != 0 {
		t.Errorf("answer %+v, want 503 and no time to retry after", answer.ErrStatus)
	}
	for _, want := range []string{"Restored", "revision 7", "revision 100", "confirm-storage"} {
		if !strings.Contains(answer.Error(), want) {
			t.Errorf("%q does not mention %q", answer.Error(), want)
		}
	}
	reason, found, ok := FromStatus(fmt.Errorf("list: %w", answer))
	if !ok || reason != held.Reason || found != held.Found {
		t.Errorf("FromStatus: %v %+v %v, want %v %+v", reason, found, ok, held.Reason, held.Found)
	}
	for _, other := range []error{errors.New("x"), Unavailable(errors.New("being checked"))} {
		if _, _, ok := FromStatus(other); ok {
			t.Errorf("FromStatus(%v) found something", other)
		}
	}
}

func TestMarksThatCannotBeReadAreErrors(t *testing.T) {
	for _, raw := range []string{"", "{", "{}", "[]", `{"id":""}`} {
		if _, err := ParseMark([]byte(raw)); err == nil {
			t.Errorf("mark %q is no error", raw)
		}
	}
	raw, err := Mark{ID: "a", NamespaceUID: "b"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseMark([]byte(raw)); err != nil || got != (Mark{ID: "a", NamespaceUID: "b"}) {
		t.Errorf("mark %+v, %v", got, err)
	}
}
