// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPeersAreParsed(t *testing.T) {
	for name, tc := range map[string]struct {
		peers, clients []string
		want           []Peer
		refused        string
	}{
		"one port for all": {
			peers: []string{"a=https://a.etcd:2380", "b=https://[fd00::1]:2380"},
			want: []Peer{
				{"a", "https://a.etcd:2380", "https://a.etcd:2379"},
				{"b", "https://[fd00::1]:2380", "https://[fd00::1]:2379"},
			},
		},
		"another port for one": {
			peers: []string{"a=https://h:1", "b=https://h:2"}, clients: []string{"b=https://h:4"},
			want: []Peer{{"a", "https://h:1", "https://h:2379"}, {"b", "https://h:2", "https://h:4"}},
		},
		"no URL":               {peers: []string{"a"}, refused: `"a": want name=https://host:port`},
		"no name":              {peers: []string{"a=https://h:1"}, clients: []string{"x"}, refused: `"x": want name=`},
		"a client's of nobody": {peers: []string{"a=https://h:1"}, clients: []string{"x=https://h:2"}, refused: `"x", which is no member`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParsePeers(tc.peers, tc.clients, "2379")
			if (err != nil) != (tc.refused != "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Fatalf("error %v, want %q", err, tc.refused)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
