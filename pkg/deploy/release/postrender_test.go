// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// rename is a post-renderer that changes names, or deletes what is called gone.
func rename(manifest []byte) ([]byte, error) {
	if bytes.Contains(manifest, []byte("name: gone")) {
		return nil, nil
	}
	return bytes.ReplaceAll(manifest, []byte("name: migrate"), []byte("name: patched")), nil
}

func TestPostRenderedHooks(t *testing.T) {
	gone := strings.ReplaceAll(bothHooks, "migrate", "gone")
	for strategy, want := range map[PostRenderStrategy][]string{"": {"gone", "migrate"}, NoHooks: {"gone", "migrate"}, Combined: {"patched"}, Separate: {"patched"}} {
		t.Run(string(strategy), func(t *testing.T) {
			b := newHelmBench(t)
			release := Release{
				Namespace: "apps", Name: "web", Chart: b.chart("1.0.0", "templates/hook.yaml", bothHooks, "templates/gone.yaml", gone),
				PostRender: rename, PostRenderHash: "hash", Settings: Settings{PostRender: strategy},
			}
			for _, action := range []Action{Installed, Unchanged} {
				if outcome, err := b.manager.Deploy(t.Context(), Cluster{}, release); err != nil || outcome.Action != action {
					t.Fatalf("%s, %v", outcome.Action, err)
				}
			}
			var got []string
			for _, hook := range b.last().Hooks {
				got = append(got, hook.Name)
				if !strings.Contains(hook.Manifest, "name: "+hook.Name) {
					t.Errorf("hook %s is %s", hook.Name, hook.Manifest)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("hooks (-want +got):\n%s", diff)
			}
			// Another strategy is another release, where it makes a difference.
			release.Settings.PostRender = Combined
			wanted := Upgraded
			if strategy.changesHooks() {
				wanted = Unchanged
			}
			if outcome, err := b.manager.Deploy(t.Context(), Cluster{}, release); err != nil || outcome.Action != wanted {
				t.Errorf("with another strategy: %s, %v", outcome.Action, err)
			}
		})
	}
}

func TestPostRenderedHooksThatFail(t *testing.T) {
	same := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, annotations: {helm.sh/hook: pre-install}}\n"
	deploy := func(t *testing.T, strategy PostRenderStrategy, change func([]byte) ([]byte, error)) (*helmBench, error) {
		b := newHelmBench(t)
		_, err := b.manager.Deploy(t.Context(), Cluster{}, Release{
			Namespace: "apps", Name: "web", Chart: b.chart("1.0.0", "templates/hook.yaml", same),
			PostRender: change, PostRenderHash: "hash", Settings: Settings{PostRender: strategy},
		})
		return b, err
	}
	b, err := deploy(t, Combined, rename)
	if chartError(t, err).Template != "nginx/templates/hook.yaml" || !strings.Contains(err.Error(), "an object of the release as well") || len(b.history()) > 0 {
		t.Errorf("error %v, history %v", err, b.history())
	}
	if _, err := deploy(t, Separate, rename); err != nil {
		t.Error(err)
	}
	broken := errors.New("patches[0] cannot be applied")
	b, err = deploy(t, Separate, func(manifest []byte) ([]byte, error) {
		if bytes.Contains(manifest, []byte("helm.sh/hook")) {
			return nil, broken
		}
		return manifest, nil
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "hook web") || len(b.history()) > 0 {
		t.Errorf("error %v, history %v", err, b.history())
	}
}
