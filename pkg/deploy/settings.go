// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// askedSettings are those of a chart's settings a change of which is a change of what
// is asked for; see release.Settings. All others only say how the next operation runs.
type askedSettings struct {
	Labels               map[string]string `json:"labels,omitempty"`
	Description          string            `json:"description,omitempty"`
	PatchesHooks         bool              `json:"patchesHooks,omitempty"`
	ReuseValues          bool              `json:"reuseValues,omitempty"`
	ResetThenReuseValues bool              `json:"resetThenReuseValues,omitempty"`
	RunTests             bool              `json:"runTests,omitempty"`
}

// asked returns nil where nothing is asked for, so that a chart without settings has the
// hash that it had before there were any.
func asked(c Chart) *askedSettings {
	s := &askedSettings{
		Description:  c.Settings.Description,
		PatchesHooks: c.PostRenderHash != "" && (c.Settings.PostRender == release.Combined || c.Settings.PostRender == release.Separate),
		ReuseValues:  c.Settings.Upgrade.ReuseValues, ResetThenReuseValues: c.Settings.Upgrade.ResetThenReuseValues,
		RunTests: c.Settings.RunTests,
	}
	if len(c.Settings.Labels) > 0 {
		s.Labels = c.Settings.Labels
	}
	if reflect.DeepEqual(s, &askedSettings{}) {
		return nil
	}
	return s
}

// remember puts into an entry what the profile says of a release that has no effect on
// it while it is there.
func remember(entry *inventory.Release, c Chart) {
	entry.RepositoryName, entry.Credentials, entry.Uninstall = c.Ref.RepositoryName, c.Credentials, nil
	settings := c.Settings.Uninstall
	if settings != (release.UninstallSettings{}) {
		entry.Uninstall = &inventory.Uninstall{
			DisableHooks: settings.DisableHooks, KeepHistory: settings.KeepHistory, DeletionPropagation: settings.DeletionPropagation,
			Timeout: metav1.Duration{Duration: settings.Timeout},
		}
	}
}

// remembered is how an entry says that its release is uninstalled.
func remembered(entry inventory.Release) release.UninstallSettings {
	if entry.Uninstall == nil {
		return release.UninstallSettings{}
	}
	return release.UninstallSettings{
		DisableHooks: entry.Uninstall.DisableHooks, KeepHistory: entry.Uninstall.KeepHistory,
		DeletionPropagation: entry.Uninstall.DeletionPropagation, Timeout: entry.Uninstall.Timeout.Duration,
	}
}

// ownerOf says of which profile's manifests an object on the cluster is, "" for none.
func (c Cluster) ownerOf(found metav1.Object) string {
	if owner, marked := markedOwner(found, c.Ref.Namespace); marked {
		return owner.String()
	}
	return ""
}
