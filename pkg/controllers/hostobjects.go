// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clustersummary"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
)

// newHostObjects returns the store of the objects that templates see. Those of Muster's own
// kinds, which are on the host as well for whoever asks it, are read without the way over
// the host and its rights.
func (p *parts) newHostObjects(mgr, host cluster.Cluster) (*hostobjects.Store, error) {
	hostAPI, err := newObjectAPI(host)
	if err != nil {
		return nil, fmt.Errorf("making clients of the host: %w", err)
	}
	own, err := newObjectAPI(mgr)
	if err != nil {
		return nil, fmt.Errorf("making clients of Muster's own kinds: %w", err)
	}
	return hostobjects.NewStore(hostobjects.Options{
		Host: hostAPI, Own: own, OwnGroups: []string{libv1beta1.SchemeGroupVersion.Group, configv1beta1.SchemeGroupVersion.Group},
		Namespaces: p.Reach,
		Watched:    slices.Collect(maps.Values(clustersummary.WatchedSources())),
		Changed:    func(summary types.NamespacedName) { p.summaries.ObjectChanged(summary) },
	}), nil
}

// newObjectAPI returns clients for objects of any kind, which share the cluster's transport
// and with it the write gate.
func newObjectAPI(c cluster.Cluster) (hostobjects.API, error) {
	dynamicClient, err := dynamic.NewForConfigAndClient(c.GetConfig(), c.GetHTTPClient())
	if err != nil {
		return hostobjects.API{}, err
	}
	metadataClient, err := metadata.NewForConfigAndClient(metadata.ConfigFor(c.GetConfig()), c.GetHTTPClient())
	if err != nil {
		return hostobjects.API{}, err
	}
	return hostobjects.API{Dynamic: dynamicClient, Metadata: metadataClient, Mapper: c.GetRESTMapper()}, nil
}
