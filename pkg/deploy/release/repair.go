// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	helmrelease "helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"
)

// remains are what is in a cluster already: above all what attempts have left that came
// to no end. Helm looks at the last revision that worked and at the one that it makes, and at
// nothing that was between them.
type remains interface {
	// consider has the next update take back what these manifests, and neither
	// the release nor what it becomes, say of an object.
	consider(manifests []string)
	// sweep deletes the objects of a release that these manifests have and kept
	// has not.
	sweep(release *helmrelease.Release, manifests []string, kept string) error
	// clear deletes what a hook has made since it was last started.
	clear(hook *helmrelease.Hook, timeout time.Duration) error
	// mayTake refuses a manifest with objects that are somebody's who keeps them.
	mayTake(manifest string) error
}

// isUnfinished reports whether a revision was begun and came to no end: what it
// was to make may be there, or some of it.
func isUnfinished(r *helmrelease.Release) bool {
	switch r.Info.Status {
	case helmrelease.StatusDeployed, helmrelease.StatusSuperseded, helmrelease.StatusUninstalled:
		return false
	}
	return true
}

// prepare makes a release ready for another attempt. The last revision is the one
// to abandon, if any. What is known of attempts that came to no end stays in the
// history until one has come to its end: whoever is killed before that leaves it
// to the next.
func (op *operation) prepare(ctx context.Context, history []*helmrelease.Release, abandon bool, timeout time.Duration, most int) error {
	if len(history) == 0 {
		return nil
	}
	last := history[len(history)-1]
	if err := op.clearHooks(last, timeout); err != nil {
		return err
	}
	if abandon {
		if err := op.abandon(ctx, last); err != nil {
			return err
		}
	}
	for _, r := range redundant(history, most) {
		if r.Version == op.former {
			continue // it is about to be gone back to
		}
		if _, err := op.helm.Releases.Delete(r.Name, r.Version); err != nil {
			return fmt.Errorf("forgetting revision %d: %w", r.Version, err)
		}
	}
	var manifests []string
	for _, r := range history {
		if isUnfinished(r) {
			manifests = append(manifests, r.Manifest)
		}
	}
	op.remains.consider(manifests)
	return nil
}

// clearHooks deletes the Jobs and other short-lived objects that hooks of a
// revision without an end have left. A leader that was killed while one ran has
// left it running, and one that is not replaced when it is run again would be in
// the way for ever.
func (op *operation) clearHooks(last *helmrelease.Release, timeout time.Duration) error {
	if !isUnfinished(last) {
		return nil
	}
	for _, hook := range last.Hooks {
		replaced := slices.Contains(hook.DeletePolicies, helmrelease.HookBeforeHookCreation)
		if hook.LastRun.StartedAt.IsZero() || !isShortLived(hook) || replaced && last.Info.Status == helmrelease.StatusFailed {
			continue
		}
		if err := op.remains.clear(hook, timeout); err != nil {
			return fmt.Errorf("deleting what hook %s of revision %d has left: %w", hook.Name, last.Version, err)
		}
	}
	return nil
}

// isShortLived reports whether a hook makes something that nobody needs once the
// hook has run: data that is to stay, such as a generated password, never is.
func isShortLived(hook *helmrelease.Hook) bool {
	return hook.Kind == "Job" || hook.Kind == "Pod" ||
		hook.Kind != "CustomResourceDefinition" && slices.Contains(hook.DeletePolicies, helmrelease.HookSucceeded)
}

// settle takes away what stands in the way of one revision being all that there
// is: objects of attempts before it, and records that say that another one is
// deployed, which Helm leaves when it could not write them. It keeps as many
// revisions as it may, those that worked above all: they can be gone back to.
func (op *operation) settle(history []*helmrelease.Release, most int) error {
	last := history[len(history)-1]
	if err := op.sweep(last, history[:len(history)-1], isUnfinished); err != nil {
		return err
	}
	former := history[:len(history)-1]
	worked := func(r *helmrelease.Release) bool { return !isUnfinished(r) }
	former = append(slices.DeleteFunc(slices.Clone(former), worked), slices.DeleteFunc(slices.Clone(former), isUnfinished)...)
	for i, r := range former {
		if i < len(history)-most {
			if _, err := op.helm.Releases.Delete(r.Name, r.Version); err != nil {
				return fmt.Errorf("forgetting revision %d: %w", r.Version, err)
			}
			continue
		}
		if err := op.correct(r); err != nil {
			return err
		}
	}
	return nil
}

// correct makes a revision say that it is not the one that counts.
func (op *operation) correct(former *helmrelease.Release) error {
	switch status := former.Info.Status; {
	case status == helmrelease.StatusDeployed:
		former.Info.Status = helmrelease.StatusSuperseded
	case status.IsPending():
		former.SetStatus(helmrelease.StatusFailed, fmt.Sprintf("Abandoned while %s", status))
	default:
		return nil
	}
	if err := op.helm.Releases.Update(former); err != nil {
		return fmt.Errorf("marking revision %d as %s: %w", former.Version, former.Info.Status, err)
	}
	return nil
}

// sweep deletes the objects of those revisions that qualify and that the last one
// does not have. Where there are none it makes no request.
func (op *operation) sweep(last *helmrelease.Release, former []*helmrelease.Release, qualifies func(*helmrelease.Release) bool) error {
	kept, err := objectsOf(last.Manifest)
	var manifests []string
	for _, r := range former {
		if !qualifies(r) {
			continue
		}
		objects, unreadable := objectsOf(r.Manifest)
		if cmp.Or(err, unreadable) != nil || !kept.IsSuperset(objects) {
			manifests = append(manifests, r.Manifest)
		}
	}
	if len(manifests) == 0 {
		return nil
	}
	if err := op.remains.sweep(last, manifests, last.Manifest); err != nil {
		return fmt.Errorf("deleting what earlier attempts have left: %w", err)
	}
	return nil
}

// redundant are the revisions that may go before another attempt: those without an
// end of which a later one, or the one that works, has all objects, and those that
// worked and are more than may be kept. One that fails for ever makes the history
// no longer.
func redundant(history []*helmrelease.Release, most int) []*helmrelease.Release {
	var found []*helmrelease.Release
	known := sets.New[string]()
	for _, r := range history {
		if r.Info.Status == helmrelease.StatusDeployed {
			objects, err := objectsOf(r.Manifest)
			if err != nil {
				return nil
			}
			known = known.Union(objects)
		}
	}
	worked := 0
	for i, r := range slices.Backward(history) {
		if !isUnfinished(r) {
			if worked++; worked >= most && i < len(history)-1 && r.Info.Status != helmrelease.StatusDeployed {
				found = append(found, r)
			}
			continue
		}
		objects, err := objectsOf(r.Manifest)
		if err == nil && i < len(history)-1 && known.IsSuperset(objects) {
			found = append(found, r)
		}
		known = known.Union(objects)
	}
	return found
}

// objectsOf names the objects of a manifest, by group, kind, namespace and name.
func objectsOf(manifest string) (sets.Set[string], error) {
	documents, err := splitManifest(strings.NewReader(manifest))
	if err != nil {
		return nil, err
	}
	found := sets.New[string]()
	for _, document := range documents {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			return nil, fmt.Errorf("reading a manifest: %w", err)
		}
		if head.Kind == "" && head.Metadata.Name == "" {
			continue // comments alone
		}
		if head.Metadata.Name == "" {
			return nil, fmt.Errorf("reading a manifest: a %s has no name", head.Kind)
		}
		group, _, versioned := strings.Cut(head.APIVersion, "/")
		if !versioned {
			group = ""
		}
		found.Insert(strings.Join([]string{group, head.Kind, head.Metadata.Namespace, head.Metadata.Name}, "/"))
	}
	return found, nil
}

// abandon marks a pending revision as failed.
func (op *operation) abandon(ctx context.Context, pending *helmrelease.Release) error {
	klog.FromContext(ctx).Info("Repairing a release that was left pending", "release", pending.Name, "namespace", pending.Namespace, "revision", pending.Version, "status", pending.Info.Status)
	pending.SetStatus(helmrelease.StatusFailed, fmt.Sprintf("Abandoned while %s", pending.Info.Status))
	if err := op.helm.Releases.Update(pending); err != nil {
		return fmt.Errorf("marking revision %d as failed: %w", pending.Version, err)
	}
	return nil
}
