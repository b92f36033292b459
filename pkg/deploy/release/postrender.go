// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"

	"helm.sh/helm/v3/pkg/postrender"
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

// postRenderLabels are the labels that a release's record is given, where none stands for
// no change.
func postRenderLabels(release Release, none string) map[string]string {
	hash := release.PostRenderHash
	if hash == "" {
		hash = none
	}
	if hash == "" {
		return nil
	}
	return map[string]string{postRenderLabel: hash}
}
