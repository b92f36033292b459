// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/deploy/mask"
)

// test runs the tests of a chart, if they are wanted and the last revision has not
// passed them yet: the record of the release says of each hook how it ended.
func (m *Manager) test(ctx context.Context, op *operation, release Release) error {
	if !release.Settings.RunTests {
		return nil
	}
	last, err := op.helm.Releases.Last(release.Name)
	if err != nil {
		return fmt.Errorf("reading which tests have passed: %w", err)
	}
	if !slices.ContainsFunc(last.Hooks, isUnpassedTest) {
		return nil
	}
	testing := action.NewReleaseTesting(op.helm)
	testing.Namespace, testing.Timeout = release.Namespace, m.timeout(release.Settings.Timeout)
	_, err = testing.Run(release.Name)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %w", errors.Join(ctx.Err(), err))
	case err != nil:
		return &shortError{fmt.Errorf("revision %d is deployed, but a test of the chart failed: %w", last.Version, mask.Error(err, append(secretsIn(last), release.Sensitive...)))}
	}
	return nil
}

func isUnpassedTest(hook *helmrelease.Hook) bool {
	return slices.Contains(hook.Events, helmrelease.HookTest) && hook.LastRun.Phase != helmrelease.HookPhaseSucceeded
}

// secretsIn are the strings in the Secrets that a revision has, hooks included: what
// the Pods of a release print may hold them. It takes nil for no revision.
func secretsIn(r *helmrelease.Release) []string {
	if r == nil {
		return nil
	}
	manifests := []string{r.Manifest}
	for _, hook := range r.Hooks {
		manifests = append(manifests, hook.Manifest)
	}
	var secrets []string
	for _, manifest := range manifests {
		// What can't be read was not applied either.
		documents, _ := splitManifest(strings.NewReader(manifest))
		for _, document := range documents {
			object := &unstructured.Unstructured{}
			if yaml.Unmarshal(document, &object.Object) == nil && object.Object != nil {
				secrets = append(secrets, mask.Values(object)...)
			}
		}
	}
	return secrets
}
