// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestListYieldsKeysInOrderOverPages(t *testing.T) {
	s := newTerm(t, newClient(t))
	var want []string
	for i := range listPage + 10 {
		key := fmt.Sprintf("inventory/ns/%03d", i)
		want = append(want, key)
		mustPut(t, s, key, []byte(key))
	}
	mustPut(t, s, "inventory/ns/large", noise(1, 5*smallChunk))
	want = append(want, "inventory/ns/large")
	mustPut(t, s, "inventoryother/x", nil)
	mustPut(t, s, "zoo", nil)

	var got []string
	for record, err := range s.List(t.Context(), "inventory/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, record.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	all, err := listed(t.Context(), s, "")
	if err != nil || len(all) != len(want)+2 {
		t.Errorf("listed %d records of all, %v, want %d", len(all), err, len(want)+2)
	}
	for range s.List(t.Context(), "") {
		break // a caller that has seen enough is let go
	}
}

func TestListIsOfOneMoment(t *testing.T) {
	s := newTerm(t, newClient(t))
	for i := range 3 * listPage {
		mustPut(t, s, fmt.Sprintf("inventory/%03d", i), noise(1, 2*smallChunk))
	}
	last := fmt.Sprintf("inventory/%03d", 3*listPage-1)
	seen := 0
	for record, err := range s.List(t.Context(), "inventory/") {
		if err != nil {
			t.Fatal(err)
		}
		// Beyond the page that is being read, again and again.
		mustPut(t, s, last, noise(uint64(2+seen), 2*smallChunk))
		mustPut(t, s, fmt.Sprintf("inventory/new-%03d", seen), nil)
		if !bytes.Equal(record.Value, noise(1, 2*smallChunk)) {
			t.Fatalf("%s is not as it was when the list began", record.Key)
		}
		seen++
	}
	if seen != 3*listPage {
		t.Errorf("listed %d records, want the %d that there were", seen, 3*listPage)
	}
}

func TestListGoesOnWhereHistoryIsCut(t *testing.T) {
	client := newClient(t)
	s := newTerm(t, client)
	const records = 2*listPage + 10
	for i := range records {
		mustPut(t, s, fmt.Sprintf("inventory/%03d", i), noise(uint64(i), 2*smallChunk))
	}
	var got []string
	for record, err := range s.List(t.Context(), "inventory/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, record.Key)
		if len(got) == 10 || len(got) == listPage {
			// Within a page the chunks of the next record are gone, after one the next page.
			mustPut(t, s, fmt.Sprintf("inventory/%03d", len(got)), noise(uint64(len(got)), 3*smallChunk))
			now, err := client.Get(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Compact(t.Context(), now.Header.Revision); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(got) != records || !slices.IsSorted(got) || len(slices.Compact(got)) != records {
		t.Errorf("listed %d records, want each of %d once: %v", len(got), records, got)
	}
}

func TestListGoesOnAfterARecordThatIsUnreadable(t *testing.T) {
	client := newClient(t)
	s := newTerm(t, client)
	mustPut(t, s, "a", []byte("1"))
	mustPut(t, s, "b", []byte("2"))
	mustPut(t, s, "c", []byte("3"))
	if _, err := client.Put(t.Context(), s.layout.head("b"), "damaged"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for record, err := range s.List(t.Context(), "") {
		if err != nil && !errors.Is(err, ErrUnreadable) {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %q %v", record.Key, record.Value, err == nil))
	}
	if want := []string{`a "1" true`, `b "" false`, `c "3" true`}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestListEndsWithAnError(t *testing.T) {
	s := newTerm(t, newClient(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := listed(ctx, s, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}
