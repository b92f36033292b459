// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestQuery(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(req.URL.Query().Get("query")))
	}))
	defer server.Close()
	fetcher := NewFetcher(Options{Mirror: func(url string) string {
		return strings.Replace(url, "http://metrics.example.com", server.URL, 1)
	}})
	source := Source{URL: "http://metrics.example.com/api/v1/query?query=up"}
	for range 2 { // an answer is of the moment
		if answer, err := fetcher.Query(t.Context(), source, 10); err != nil || string(answer) != "up" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	if asked.Load() != 2 {
		t.Errorf("the server was asked %d times", asked.Load())
	}
	var failed *Error
	if _, err := fetcher.Query(t.Context(), source, 1); !errors.As(err, &failed) || failed.Reason != Invalid {
		t.Errorf("an answer that is too long: %v", err)
	}
	before := asked.Load()
	if _, err := NewFetcher(Options{}).Query(t.Context(), Source{URL: server.URL}, 10); !errors.As(err, &failed) || failed.Reason != Denied || asked.Load() != before {
		t.Errorf("a loopback address: %v", err)
	}
}
