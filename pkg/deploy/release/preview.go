// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/deploy/mask"
)

// Preview is what Deploy would do.
type Preview struct {
	// Action is what Deploy would answer.
	Action Action
	// ValuesOnly says that the chart stays the same one.
	ValuesOnly bool
	// Message says more about it.
	Message string
	// Before are the objects of the release as it is deployed, After as it would be;
	// those of hooks and of a chart's directory crds are not among them. Neither is
	// filled in where nothing changes.
	Before, After []*unstructured.Unstructured
}

// dryRunOnServer has Helm validate against the server, and look up what templates ask
// for.
const dryRunOnServer = "server"

// Preview says what Deploy would do. It renders the chart with what is in the cluster,
// and writes nothing. Errors are as with Deploy.
func (m *Manager) Preview(ctx context.Context, cluster Cluster, release Release) (Preview, error) {
	preview, err := m.preview(ctx, cluster, release)
	return preview, mask.Error(err, release.Sensitive)
}

func (m *Manager) preview(ctx context.Context, cluster Cluster, release Release) (Preview, error) {
	parsed, err := release.Chart.parse()
	if err != nil {
		return Preview{}, &ChartError{Reason: Invalid, Repository: RedactURL(release.Chart.Ref.RepositoryURL), Chart: release.Chart.Name, Version: release.Chart.Version, Err: err}
	}
	op, err := m.begin(ctx, cluster, release)
	if err != nil {
		return Preview{}, err
	}
	op.admit(release)
	history, err := readHistory(op.helm.Releases, release.Name)
	if err != nil {
		return Preview{}, err
	}
	to, err := targetOf(release, history)
	if err != nil {
		return Preview{}, err
	}
	do, _ := decide(history, to, release.Settings.Install.RecoverAfter)
	var last *helmrelease.Release
	if len(history) > 0 {
		last = history[len(history)-1]
	}
	if do == stepNone {
		return Preview{Action: Unchanged}, nil
	}
	if parsed, err = m.rendered(ctx, op, do, history, release, parsed); err != nil {
		return Preview{}, classify(mask.Error(err, release.Sensitive), release.Chart)
	}
	rendered, err := m.try(op, do, history, release, parsed)
	if err != nil {
		return Preview{}, classify(mask.Error(err, release.Sensitive), release.Chart)
	}
	return compared(do, last, rendered, release.Chart)
}

// try renders a release as a step would, without effect.
func (m *Manager) try(op *operation, do step, history []*helmrelease.Release, release Release, parsed *chart.Chart) (*helmrelease.Release, error) {
	if do == stepUpgrade {
		upgrade := m.newUpgrade(op, history, release)
		upgrade.DryRun, upgrade.DryRunOption = true, dryRunOnServer
		return upgrade.Run(release.Name, parsed, copyValues(release.Values))
	}
	install := m.newInstall(op, release)
	install.DryRun, install.DryRunOption = true, dryRunOnServer
	return install.Run(parsed, copyValues(release.Values))
}

// compared fills in a preview.
func compared(do step, last, rendered *helmrelease.Release, chart *Chart) (Preview, error) {
	out := Preview{Action: Installed, Message: fmt.Sprintf("installs %s %s", chart.Name, chart.Version)}
	var err error
	if do == stepUpgrade {
		out.Action = Upgraded
		former := last.Chart.Metadata
		out.ValuesOnly = former.Name == chart.Name && former.Version == chart.Version
		out.Message = fmt.Sprintf("upgrades %s %s to %s %s", former.Name, former.Version, chart.Name, chart.Version)
		if out.ValuesOnly {
			out.Message = fmt.Sprintf("values or patches of %s %s change", chart.Name, chart.Version)
		}
		if out.Before, err = parseManifest(last); err != nil {
			return out, err
		}
	}
	out.After, err = parseManifest(rendered)
	return out, err
}

// Manifest returns the objects of a release that is there, hooks excepted. The error wraps
// ErrNotDeployed if there is none.
func (m *Manager) Manifest(ctx context.Context, cluster Cluster, namespace, name string) ([]*unstructured.Unstructured, error) {
	op, err := m.begin(ctx, cluster, Release{Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	history, err := readHistory(op.helm.Releases, name)
	if err != nil {
		return nil, err
	}
	if len(history) == 0 || history[len(history)-1].Info.Status == helmrelease.StatusUninstalled {
		return nil, ErrNotDeployed
	}
	return parseManifest(history[len(history)-1])
}

// parseManifest reads the objects of a revision. Those of kinds with namespaces that name
// none are in the release's; of others Helm does not say it either.
func parseManifest(r *helmrelease.Release) ([]*unstructured.Unstructured, error) {
	documents, err := splitManifest(strings.NewReader(r.Manifest))
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, document := range documents {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, fmt.Errorf("reading the manifest of release %s/%s: %w", r.Namespace, r.Name, err)
		}
		if object.GetKind() != "" && object.GetName() != "" {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// KeyOf identifies an object of a manifest.
func KeyOf(object *unstructured.Unstructured) ObjectKey {
	gk := schema.FromAPIVersionAndKind(object.GetAPIVersion(), object.GetKind()).GroupKind()
	return ObjectKey{Group: gk.Group, Kind: gk.Kind, Namespace: object.GetNamespace(), Name: object.GetName()}
}
