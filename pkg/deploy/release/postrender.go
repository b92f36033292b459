// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/postrender"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"
)

// postRenderLabel is the label of a release's record that says what was changed in its
// manifests. The values alone don't tell: two revisions may differ in a patch.
const postRenderLabel = "muster.projectsveltos.io/post-render"

// renderFunc is a Helm post-renderer.
type renderFunc func([]byte) ([]byte, error)

// Run implements postrender.PostRenderer.
func (f renderFunc) Run(manifests *bytes.Buffer) (*bytes.Buffer, error) {
	changed, err := f(manifests.Bytes())
	if err != nil {
		return nil, err
	}
	return bytes.NewBuffer(changed), nil
}

// postRenderer is what Helm runs for a release; a nil interface if nothing is to be run.
func postRenderer(release Release) postrender.PostRenderer {
	if release.PostRender == nil {
		return nil
	}
	return renderFunc(release.PostRender)
}

// recordLabels are the labels that a release's record is given: those of the profile,
// and those by which a revision is known as what was asked for. former are the last
// revision's, which Helm takes over and of which null means none; nil for an
// installation. What Muster has set goes when it is not wanted any more; labels that
// somebody else has set on a release without any of ours stay.
func recordLabels(release Release, former map[string]string) map[string]string {
	labels := map[string]string{}
	if _, ours := former[optionsLabel]; ours {
		for key := range former {
			// Those by which Helm finds it are among them, where they come from a query.
			if !slices.Contains(driver.GetSystemLabels(), key) {
				labels[key] = "null"
			}
		}
	}
	maps.Copy(labels, release.Settings.Labels)
	for key, value := range map[string]string{postRenderLabel: release.postRenderHash(), optionsLabel: release.Settings.optionsHash()} {
		if _, had := former[key]; value == "" && had {
			value = "null"
		}
		delete(labels, key)
		if value != "" {
			labels[key] = value
		}
	}
	return labels
}

// admission is asked before the record of a new revision is made: it may change the
// revision, or refuse it. All is rendered by then and nothing done, so that nothing has to
// be undone. Helm gives a post-renderer no hooks, and runs none before that.
type admission struct {
	driver.Driver
	admit func(*helmrelease.Release) error
}

// Create implements driver.Creator.
func (a *admission) Create(key string, r *helmrelease.Release) error {
	// A rollback goes back to what was admitted before.
	if r.Info.Status != helmrelease.StatusPendingRollback {
		if err := a.admit(r); err != nil {
			return err
		}
	}
	return a.Driver.Create(key, r)
}

// admit has the operation's revisions pass what the profile asks for beyond Helm.
func (op *operation) admit(release Release) {
	op.helm.Releases.Driver = &admission{op.helm.Releases.Driver, func(r *helmrelease.Release) error {
		if release.PostRender != nil && release.Settings.PostRender.changesHooks() {
			hooks, err := changedHooks(release, r)
			if err != nil {
				return err
			}
			r.Hooks = hooks
		}
		return op.remains.mayTake(r.Manifest)
	}}
}

// changedHooks are the hooks of a revision after post-rendering, without those that it
// deletes.
func changedHooks(release Release, r *helmrelease.Release) ([]*helmrelease.Hook, error) {
	objects := sets.New[string]()
	var err error
	if release.Settings.PostRender == Combined {
		if objects, err = objectsOf(r.Manifest); err != nil {
			return nil, err
		}
	}
	var hooks []*helmrelease.Hook
	for _, hook := range r.Hooks {
		changed, err := release.PostRender([]byte(hook.Manifest))
		if err != nil {
			return nil, &templateError{hook.Path, fmt.Errorf("hook %s: %w", hook.Name, err)}
		}
		if len(bytes.TrimSpace(changed)) == 0 {
			continue
		}
		made, err := objectsOf(string(changed))
		if err != nil {
			return nil, err
		}
		if both := objects.Intersection(made); both.Len() > 0 {
			return nil, &templateError{hook.Path, fmt.Errorf("hook %s is an object of the release as well; options.postRenderStrategy separate allows that", hook.Name)}
		}
		hook.Manifest = string(changed)
		hook.Name = nameIn(changed, hook.Name)
		hooks = append(hooks, hook)
	}
	return hooks, nil
}

// nameIn is the name of the object in a manifest, or the one that it had.
func nameIn(manifest []byte, former string) string {
	var head struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	documents, err := splitManifest(bytes.NewReader(manifest))
	if err != nil || len(documents) != 1 || yaml.Unmarshal(documents[0], &head) != nil {
		return former
	}
	return head.Metadata.Name
}
