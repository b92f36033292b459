// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"

	configapi "github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/registry/config/addon"
	"github.com/muster-project/muster/pkg/registry/config/clusterconfiguration"
	"github.com/muster-project/muster/pkg/registry/config/clusterprofile"
	"github.com/muster-project/muster/pkg/registry/config/clusterreport"
	"github.com/muster-project/muster/pkg/registry/config/clustersummary"
	"github.com/muster-project/muster/pkg/registry/config/diff"
	"github.com/muster-project/muster/pkg/registry/config/profile"
	"github.com/muster-project/muster/pkg/registry/lib/clusterset"
	"github.com/muster-project/muster/pkg/registry/lib/set"
	"github.com/muster-project/muster/pkg/registry/lib/sveltoscluster"
	"github.com/muster-project/muster/pkg/selection"
)

// groups are both API groups with the storage of all their kinds.
func (c CompletedConfig) groups() ([]*genericapiserver.APIGroupInfo, error) {
	getter := c.GenericConfig.RESTOptionsGetter
	libStorage, err := c.libStorage(getter)
	if err != nil {
		return nil, err
	}
	configStorage, err := c.configStorage(getter)
	if err != nil {
		return nil, err
	}
	return []*genericapiserver.APIGroupInfo{
		newGroup(lib.GroupName, libStorage),
		newGroup(configapi.GroupName, configStorage),
	}, nil
}

// newGroup serves the same storage at every version: what is stored is
// converted to whatever version it is asked for at.
func newGroup(name string, storage map[string]rest.Storage) *genericapiserver.APIGroupInfo {
	group := genericapiserver.NewDefaultAPIGroupInfo(name, scheme.Scheme, scheme.ParameterCodec, scheme.Codecs)
	group.NegotiatedSerializer = scheme.Serializer()
	for _, version := range scheme.Scheme.PrioritizedVersionsForGroup(name) {
		group.VersionedResourcesStorageMap[version.Version] = storage
	}
	return &group
}

func (c CompletedConfig) libStorage(getter generic.RESTOptionsGetter) (map[string]rest.Storage, error) {
	clusters, clusterStatus, err := sveltoscluster.NewREST(scheme.Scheme, getter)
	if err != nil {
		return nil, err
	}
	clusterSets, clusterSetStatus, err := clusterset.NewREST(scheme.Scheme, getter)
	if err != nil {
		return nil, err
	}
	sets, setStatus, err := set.NewREST(scheme.Scheme, getter)
	if err != nil {
		return nil, err
	}
	selectionOf := func(kind string, resource schema.GroupResource, namespaced bool) rest.Storage {
		return clusterset.NewSelectionREST(kind, resource, namespaced, c.ExtraConfig.Selections)
	}
	return map[string]rest.Storage{
		"sveltosclusters":        clusters,
		"sveltosclusters/status": clusterStatus,
		"clustersets":            clusterSets,
		"clustersets/status":     clusterSetStatus,
		"clustersets/selection":  selectionOf(selection.KindClusterSet, lib.Resource("clustersets"), false),
		"sets":                   sets,
		"sets/status":            setStatus,
		"sets/selection":         selectionOf(selection.KindSet, lib.Resource("sets"), true),
	}, nil
}

func (c CompletedConfig) configStorage(getter generic.RESTOptionsGetter) (map[string]rest.Storage, error) {
	clusterProfiles, clusterProfileStatus, err := clusterprofile.NewREST(scheme.Scheme, getter)
	if err != nil {
		return nil, err
	}
	profiles, profileStatus, err := profile.NewREST(scheme.Scheme, getter)
	if err != nil {
		return nil, err
	}
	summaries, summaryStatus, err := clustersummary.NewREST(scheme.Scheme, getter, c.ExtraConfig.Revisions)
	if err != nil {
		return nil, err
	}
	rates := diff.NewRates()
	diffOf := func(kind string, resource schema.GroupResource, namespaced bool) rest.Storage {
		return diff.NewREST(kind, resource, namespaced, c.ExtraConfig.Diffs, rates)
	}
	historyOf := func(kind, resource string, namespaced bool) rest.Storage {
		return clusterprofile.NewHistoryREST(kind, configapi.Resource(resource), namespaced, c.ExtraConfig.Histories)
	}
	return map[string]rest.Storage{
		"clusterprofiles/history": historyOf(v1beta1.KindClusterProfile, "clusterprofiles", false),
		"profiles/history":        historyOf(v1beta1.KindProfile, "profiles", true),
		"clusterprofiles":         clusterProfiles,
		"clusterprofiles/status":  clusterProfileStatus,
		"clusterprofiles/diff":    diffOf(v1beta1.KindClusterProfile, configapi.Resource("clusterprofiles"), false),
		"profiles":                profiles,
		"profiles/status":         profileStatus,
		"profiles/diff":           diffOf(v1beta1.KindProfile, configapi.Resource("profiles"), true),
		"clustersummaries":        summaries,
		"clustersummaries/status": summaryStatus,
		"addons":                  addon.NewREST(c.ExtraConfig.Inventories),
		"clusterconfigurations":   clusterconfiguration.NewREST(c.ExtraConfig.Inventories),
		"clusterreports":          clusterreport.NewREST(c.ExtraConfig.Reports),
	}, nil
}
