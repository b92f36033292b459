// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/mask"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// previewReleases says what would become of the charts, in order, and of their objects.
func (v *previewer) previewReleases(ctx context.Context, out *Preview) error {
	for _, s := range v.plan.releases {
		change := ReleaseChange{ReleaseKey: s.key, Chart: s.chart.Ref.ChartName, Version: s.chart.Ref.Version, Action: ActionNone}
		objects, err := v.release(ctx, s, &change)
		if err != nil && (IsUnreachable(err) || ctx.Err() != nil) {
			return fmt.Errorf("trying %s on %s: %w", s.key, v.cluster.Ref, mask.Error(err, s.chart.Sensitive))
		}
		if err != nil {
			change.Action, change.Message = ActionError, mask.Text(err.Error(), s.chart.Sensitive)
		}
		out.Releases = append(out.Releases, change)
		out.Objects = append(out.Objects, objects...)
	}
	return nil
}

// release says what would become of one release.
func (v *previewer) release(ctx context.Context, s releaseStep, change *ReleaseChange) ([]ObjectChange, error) {
	switch {
	case s.verdict == verdictConflict:
		change.Action, change.Message = ActionConflict, s.conflict.Error()
		return nil, nil
	case s.verdict == verdictSkip:
		change.Message = "stands behind a conflict, which stops its list"
		return nil, nil
	case s.chart.Uninstall:
		return v.uninstalled(ctx, s.key, change, "helmChartAction is Uninstall")
	}
	chart, err := v.deployer.options.Charts.LoadChart(ctx, s.chart.Ref)
	if err != nil {
		return nil, err
	}
	change.Chart, change.Version = chart.Name, chart.Version
	preview, err := v.deployer.options.Releases.Preview(ctx, v.cluster.forRelease(), v.releaseOf(s, chart))
	if err != nil {
		return nil, err
	}
	change.Action, change.Message = actionOn(preview), preview.Message
	return v.manifests(preview, s)
}

func actionOn(preview release.Preview) Action {
	switch {
	case preview.Action == release.Unchanged:
		return ActionNone
	case preview.Action == release.Installed:
		return ActionInstall
	case preview.ValuesOnly:
		return ActionUpdateValues
	}
	return ActionUpgrade
}

// manifests compares the objects of a release as they are deployed with what they would
// be.
func (v *previewer) manifests(preview release.Preview, s releaseStep) ([]ObjectChange, error) {
	was := map[release.ObjectKey]*unstructured.Unstructured{}
	for _, object := range preview.Before {
		was[release.KeyOf(object)] = object
	}
	var changes []ObjectChange
	for _, object := range preview.After {
		key := release.KeyOf(object)
		change, err := v.manifest(key, was[key], object, s)
		if err != nil {
			return nil, err
		}
		delete(was, key)
		changes = append(changes, change)
	}
	for _, object := range preview.Before {
		if key := release.KeyOf(object); was[key] != nil {
			changes = append(changes, helmChange(key, object, ActionDelete, ""))
		}
	}
	return changes, nil
}

func (v *previewer) manifest(key release.ObjectKey, was, object *unstructured.Unstructured, s releaseStep) (ObjectChange, error) {
	excluded := v.request.excluded(object)
	before, after := withoutServerFields(was, excluded), withoutServerFields(object, excluded)
	text, err := unifiedDiff(ObjectKeyOf(key).String(), before, after, false)
	if err != nil {
		return ObjectChange{}, err
	}
	change := helmChange(key, object, ActionUpdate, mask.Text(text, s.chart.Sensitive))
	switch {
	case was == nil:
		change.Action = ActionCreate
	case text == "":
		change.Action = ActionNone
	}
	return change, nil
}

func helmChange(key release.ObjectKey, object *unstructured.Unstructured, action Action, message string) ObjectChange {
	return ObjectChange{
		ObjectKey: ObjectKeyOf(key), Version: object.GroupVersionKind().Version, Feature: Helm,
		Action: action, Message: message, IgnoreDrift: ignoresDrift(object),
	}
}

// uninstalled says what would go with a release.
func (v *previewer) uninstalled(ctx context.Context, key inventory.ReleaseKey, change *ReleaseChange, why string) ([]ObjectChange, error) {
	objects, err := v.deployer.options.Releases.Manifest(ctx, v.cluster.forRelease(), key.Namespace, key.Name)
	if errors.Is(err, release.ErrNotDeployed) {
		change.Message = "the release is not there"
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	change.Action, change.Message = ActionDelete, why
	changes := make([]ObjectChange, 0, len(objects))
	for _, object := range objects {
		changes = append(changes, helmChange(release.KeyOf(object), object, ActionDelete, "goes with "+key.String()))
	}
	return changes, nil
}

// previewRemovals says what would be removed because nothing names it any more: nothing
// while anything could not be rendered.
func (v *previewer) previewRemovals(ctx context.Context, out *Preview) error {
	for _, r := range removalOrder(v.plan.staleObjects, v.plan.staleReleases, v.plan.record.FeatureOrder) {
		var err error
		if r.object != nil {
			err = v.removal(ctx, *r.object, out)
		} else {
			err = v.releaseRemoval(ctx, *r.release, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keeps says why nothing is pruned now, or nothing.
func (v *previewer) keeps(out *Preview) string {
	if v.incomplete || v.failed() {
		return "no source names it any more; it stays while not everything can be rendered"
	}
	for _, o := range out.Objects {
		if o.Action == ActionError || o.Action == ActionConflict {
			return "no source names it any more; it stays while not everything can be applied"
		}
	}
	for _, r := range out.Releases {
		if r.Action == ActionError || r.Action == ActionConflict {
			return "no source names it any more; it stays while not everything can be deployed"
		}
	}
	return ""
}

func (v *previewer) removal(ctx context.Context, entry inventory.Object, out *Preview) error {
	change := ObjectChange{
		ObjectKey: entry.ObjectKey, Version: entry.Version, Feature: Feature(entry.Feature), Action: ActionNone,
		Message: v.keeps(out), LastAppliedTime: entry.LastAppliedTime, IgnoreDrift: entry.IgnoreDrift,
	}
	if change.Message == "" {
		if err := v.deletion(ctx, entry, &change); err != nil {
			return err
		}
	}
	out.Objects = append(out.Objects, change)
	return nil
}

// deletion looks whether the object of an entry is there, and the owner's.
func (v *previewer) deletion(ctx context.Context, entry inventory.Object, change *ObjectChange) error {
	remover := remover{cluster: v.cluster, owner: v.request.Owner.Key(), kinds: v.kinds}
	_, found, err := remover.locate(ctx, entry)
	switch {
	case err != nil && (IsUnreachable(err) || ctx.Err() != nil):
		return fmt.Errorf("looking at %s on %s: %w", entry.ObjectKey, v.cluster.Ref, err)
	case err != nil:
		change.Action, change.Message = ActionError, err.Error()
	case found == nil:
		change.Message = "is gone already, or somebody else's"
	default:
		change.Action = ActionDelete
	}
	return nil
}

func (v *previewer) releaseRemoval(ctx context.Context, entry inventory.Release, out *Preview) error {
	change := ReleaseChange{ReleaseKey: entry.ReleaseKey, Chart: entry.Chart, Version: entry.Version, Action: ActionNone, Message: v.keeps(out)}
	if change.Message == "" {
		objects, err := v.uninstalled(ctx, entry.ReleaseKey, &change, "the profile does not name it any more")
		if err != nil && (IsUnreachable(err) || ctx.Err() != nil) {
			return fmt.Errorf("looking at %s on %s: %w", entry.ReleaseKey, v.cluster.Ref, err)
		}
		if err != nil {
			change.Action, change.Message = ActionError, err.Error()
		}
		out.Objects = append(out.Objects, objects...)
	}
	out.Releases = append(out.Releases, change)
	return nil
}
