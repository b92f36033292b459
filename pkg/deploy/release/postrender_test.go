// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

func (b *helmBench) deployChanged(hash string, change func([]byte) ([]byte, error)) (Outcome, error) {
	b.t.Helper()
	return b.manager.Deploy(context.Background(), Cluster{Name: "civo/cluster1"}, Release{
		Namespace: "apps", Name: "web", Chart: b.chart("1.0.0"), PostRender: change, PostRenderHash: hash,
	})
}

func TestPostRender(t *testing.T) {
	b := newHelmBench(t)
	b.mustDeploy(b.chart("1.0.0"), nil)
	add := func(text string) func([]byte) ([]byte, error) {
		return func(manifests []byte) ([]byte, error) {
			return append(bytes.Clone(manifests), "---\n# "+text+"\n"...), nil
		}
	}
	for _, tt := range []struct {
		hash   string
		change func([]byte) ([]byte, error)
		want   Action
	}{
		{"one", add("one"), Upgraded},
		{"one", add("one"), Unchanged},
		{"two", add("two"), Upgraded},
		{"", nil, Upgraded},
		{"", nil, Unchanged},
	} {
		outcome, err := b.deployChanged(tt.hash, tt.change)
		if err != nil || outcome.Action != tt.want {
			t.Fatalf("with %q: %v, %v; want %s", tt.hash, outcome.Action, err, tt.want)
		}
		if tt.hash == "" {
			continue
		}
		last, err := b.storage.Query(map[string]string{"name": "web", "status": "deployed"})
		if err != nil || len(last) != 1 || !strings.Contains(last[0].Manifest, "# "+tt.hash) {
			t.Errorf("with %q the manifest is %v, %v", tt.hash, last, err)
		}
	}
}

func TestPostRenderFails(t *testing.T) {
	b := newHelmBench(t)
	b.mustDeploy(b.chart("1.0.0"), nil)
	before := b.history()
	broken := errors.New("patches[0] cannot be applied")
	_, err := b.deployChanged("one", func([]byte) ([]byte, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if after := b.history(); len(after) != len(before) {
		t.Errorf("history %v, was %v", after, before)
	}
}
