// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/registry/config/deployed"
)

// identity is one deployed thing: a release or an object in a cluster.
type identity struct {
	cluster fleet.Ref
	release bool
	// key is of an object; a release has its namespace and name there.
	key inventory.ObjectKey
}

// name is that of the Addon: the kind for people, a hash to be unique.
func (i identity) name() string {
	kind := strings.ToLower(i.key.Kind)
	if i.release {
		kind = "release"
	}
	digest := sha256.Sum256([]byte(strings.Join([]string{
		i.cluster.Group, i.cluster.Kind, i.cluster.Namespace, i.cluster.Name,
		kind, i.key.Group, i.key.Kind, i.key.Namespace, i.key.Name,
	}, "\x00")))
	return kind + "-" + hex.EncodeToString(digest[:8])
}

// compute makes one Addon for everything in records of what is deployed.
func compute(records []*inventory.Record) []*config.Addon {
	byIdentity := map[identity]*config.Addon{}
	var addons []*config.Addon
	add := func(r *inventory.Record, id identity, addon config.Addon) {
		profile := profileName(r.Owner)
		if known := byIdentity[id]; known != nil {
			known.Profiles = append(known.Profiles, profile)
			return
		}
		complete(&addon, r, id)
		byIdentity[id] = &addon
		addons = append(addons, &addon)
	}
	for _, r := range records {
		for i := range r.Releases {
			add(r, releaseIdentity(r, &r.Releases[i]), newRelease(&r.Releases[i]))
		}
		for i := range r.Objects {
			add(r, objectIdentity(r, &r.Objects[i]), newObject(&r.Objects[i]))
		}
	}
	for _, addon := range addons {
		slices.Sort(addon.Profiles)
	}
	return addons
}

func releaseIdentity(r *inventory.Record, release *inventory.Release) identity {
	return identity{cluster: r.Cluster, release: true, key: inventory.ObjectKey{Namespace: release.Namespace, Name: release.Name}}
}

func objectIdentity(r *inventory.Record, object *inventory.Object) identity {
	return identity{cluster: r.Cluster, key: object.ObjectKey}
}

func newRelease(release *inventory.Release) config.Addon {
	return config.Addon{
		ObjectMeta:      metav1.ObjectMeta{Labels: map[string]string{v1beta1.LabelAddonType: v1beta1.AddonTypeHelm}},
		ResourceType:    v1beta1.ResourceTypeHelmChart,
		Namespace:       release.Namespace,
		Name:            release.Name,
		Version:         release.Version,
		LastAppliedTime: &release.LastAppliedTime,
	}
}

func newObject(object *inventory.Object) config.Addon {
	return config.Addon{
		ObjectMeta:      metav1.ObjectMeta{Labels: map[string]string{v1beta1.LabelAddonType: v1beta1.AddonTypeResource}},
		ResourceType:    object.Group + ":" + object.Kind,
		Namespace:       object.ObjectKey.Namespace,
		Name:            object.ObjectKey.Name,
		LastAppliedTime: &object.LastAppliedTime,
	}
}

// complete fills in what does not depend on the kind of thing. Its namespace is
// the cluster's, so that who may see a cluster may see what is on it.
func complete(addon *config.Addon, r *inventory.Record, id identity) {
	cluster := deployed.Cluster(r)
	addon.ObjectMeta.Namespace, addon.ObjectMeta.Name = cluster.Namespace, id.name()
	setLabel(addon, v1beta1.LabelAddonCluster, cluster.Name)
	setLabel(addon, v1beta1.LabelAddonProfile, r.Owner.Name)
	addon.Cluster = clusterReference(r)
	addon.DeploymentType = deployed.Type(r)
	addon.Profiles = []string{profileName(r.Owner)}
	// A copy: the record is the inventory's.
	applied := *addon.LastAppliedTime
	addon.LastAppliedTime = &applied
}

// setLabel leaves out what cannot be a label's value: no selector could ask for
// it either.
func setLabel(addon *config.Addon, key, value string) {
	if len(validation.IsValidLabelValue(value)) == 0 {
		addon.Labels[key] = value
	}
}

// profileName is what lists of add-ons call a profile.
func profileName(owner inventory.Owner) string {
	return owner.Kind + "/" + owner.Name
}

// apiVersionOf is how references to clusters of a group are written; conversion
// writes the version that a reader asked for.
func apiVersionOf(group string) string {
	return group + "/" + lib.HubVersion
}
