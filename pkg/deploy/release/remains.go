// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"
)

// hookSkew is by how much a cluster's clock may be behind ours for an object that
// a hook has made to be known as such.
const hookSkew = time.Minute

// consider implements remains.
func (c *client) consider(manifests []string) { c.former = manifests }

// Update is Helm's, for a release whose last attempts may have changed objects.
// Helm compares custom resources with the revision that worked last and not with
// what is there: one that goes back to what it was would stay as the attempt has
// left it.
func (c *client) Update(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	for _, manifest := range c.former {
		former, err := c.Build(strings.NewReader(manifest), false)
		if err != nil {
			return &kube.Result{}, err
		}
		// Helm writes what the server answers to the objects that it is given.
		var again kube.ResourceList
		for _, info := range target.Intersect(former) {
			copied := *info
			copied.Object = info.Object.DeepCopyObject()
			again.Append(&copied)
		}
		if len(again) == 0 {
			continue
		}
		if result, err := c.Client.UpdateThreeWayMerge(former.Intersect(again), again, force); err != nil {
			return result, err
		}
	}
	return c.Client.Update(original, target, force)
}

// mayTake implements remains. Where any object may be taken over, it refuses those of
// profiles: an object has one owner, and that one would take it back.
func (c *client) mayTake(manifest string) error {
	if c.ownerOf == nil {
		return nil
	}
	target, err := c.Build(strings.NewReader(manifest), false)
	if err != nil {
		return err
	}
	for _, info := range target {
		found, err := c.of(info).Get(c.ctx, info.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return fmt.Errorf("looking for an owner of %s: %w", describe(info), err)
		}
		if owner := c.ownerOf(found); owner != "" && !isOf(found, c.release) {
			return fmt.Errorf("%s is deployed by %s, and takeOwnership takes nothing from profiles: remove it from one of the two", describe(info), owner)
		}
	}
	return nil
}

// withoutOthers leaves out of what is about to be deleted what another release has taken
// over since. Helm would delete it all the same.
func (c *client) withoutOthers(resources kube.ResourceList) (kube.ResourceList, error) {
	var own kube.ResourceList
	for _, info := range resources {
		found, err := c.of(info).Get(c.ctx, info.Name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("looking for an owner of %s: %w", describe(info), err)
		}
		if err == nil && isOfAnother(found, c.release) {
			continue
		}
		own = append(own, info)
	}
	return own, nil
}

// isOfAnother reports whether an object is marked as another release's.
func isOfAnother(found *unstructured.Unstructured, release *helmrelease.Release) bool {
	_, marked := found.GetAnnotations()["meta.helm.sh/release-name"]
	return marked && found.GetLabels()["app.kubernetes.io/managed-by"] == "Helm" && !isOf(found, release)
}

// sweep implements remains. Only what says that it is the release's is deleted,
// and what is to be kept is kept.
func (c *client) sweep(release *helmrelease.Release, manifests []string, kept string) error {
	keep, err := c.Build(strings.NewReader(kept), false)
	if err != nil {
		return err
	}
	for _, manifest := range manifests {
		former, err := c.Build(strings.NewReader(manifest), false)
		if err != nil {
			return err
		}
		for _, info := range former.Difference(keep) {
			err := c.deleteIf(info, func(found *unstructured.Unstructured) bool {
				return isOf(found, release) && found.GetAnnotations()[kube.ResourcePolicyAnno] != kube.KeepPolicy
			})
			if err != nil {
				return fmt.Errorf("%s: %w", info.ObjectName(), err)
			}
		}
	}
	return nil
}

// isOf reports whether an object is marked as a release's, as Helm does it.
func isOf(found *unstructured.Unstructured, release *helmrelease.Release) bool {
	annotations := found.GetAnnotations()
	return found.GetLabels()["app.kubernetes.io/managed-by"] == "Helm" &&
		annotations["meta.helm.sh/release-name"] == release.Name && annotations["meta.helm.sh/release-namespace"] == release.Namespace
}

// clear implements remains. Hooks carry no mark of their release: what was there
// before the hook was started is somebody else's.
func (c *client) clear(hook *helmrelease.Hook, timeout time.Duration) error {
	resources, err := c.Build(strings.NewReader(hook.Manifest), false)
	if err != nil {
		return err
	}
	var deleted kube.ResourceList
	started := hook.LastRun.StartedAt.Time.Add(-hookSkew)
	for _, info := range resources {
		err := c.deleteIf(info, func(found *unstructured.Unstructured) bool {
			if found.GetCreationTimestamp().Time.Before(started) {
				return false
			}
			deleted.Append(info)
			return true
		})
		if err != nil {
			return err
		}
	}
	return c.WaitForDelete(deleted, timeout)
}

// deleteIf deletes the very object that it has looked at.
func (c *client) deleteIf(info *resource.Info, decide func(*unstructured.Unstructured) bool) error {
	objects := c.of(info)
	found, err := objects.Get(c.ctx, info.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !decide(found) {
		return err
	}
	err = objects.Delete(c.ctx, info.Name, metav1.DeleteOptions{
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
		Preconditions:     &metav1.Preconditions{UID: ptr.To(found.GetUID()), ResourceVersion: ptr.To(found.GetResourceVersion())},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// of is the client for an object's kind and namespace.
func (c *client) of(info *resource.Info) dynamic.ResourceInterface {
	if info.Namespaced() {
		return c.dynamic.Resource(info.Mapping.Resource).Namespace(info.Namespace)
	}
	return c.dynamic.Resource(info.Mapping.Resource)
}
