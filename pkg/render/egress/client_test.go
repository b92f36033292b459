// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRedirects(t *testing.T) {
	request := func(raw string) *http.Request {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Request{URL: u, Header: http.Header{"Authorization": {"Bearer hunter2"}}}
	}
	for _, tt := range []struct {
		from, to string
		keeps    bool
		refused  string
	}{
		{from: "https://a.test/x", to: "https://a.test/y", keeps: true},
		{from: "https://a.test/x", to: "https://b.test/y"},
		{from: "https://a.test/x", to: "https://sub.a.test/y"},
		{from: "https://a.test/x", to: "https://a.test:8443/y"},
		{from: "http://a.test/x", to: "https://a.test/x"},
		{from: "https://a.test/x", to: "http://a.test/x", refused: "redirected from https to http"},
		{from: "https://a.test/x", to: "https://me:hunter2@a.test/x", refused: "with credentials"},
	} {
		req := request(tt.to)
		err := CheckRedirect(req, []*http.Request{request(tt.from)})
		if (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s to %s: %v", tt.from, tt.to, err)
		}
		if err == nil && (req.Header.Get("Authorization") != "") != tt.keeps {
			t.Errorf("%s to %s: credentials %q", tt.from, tt.to, req.Header.Get("Authorization"))
		}
	}
}
