// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/deploy/release/rendering"
)

// knowCluster finds out what templates see of the cluster: its version, what it serves,
// and what they look up. definitions says that those in the chart are about to be applied.
func (op *operation) knowCluster(parsed *chart.Chart, definitions bool, into *rendering.Request) error {
	getter := op.helm.RESTClientGetter
	var own []string
	if definitions {
		// Helm creates them before it asks the cluster what it serves.
		var err error
		if own, err = servedBy(parsed); err != nil {
			return err
		}
	}
	if op.helm.Capabilities == nil {
		known, err := capabilitiesOf(getter)
		if err != nil {
			return err
		}
		known.APIVersions = slices.Concat(known.APIVersions, own)
		op.helm.Capabilities = known
	}
	known := op.helm.Capabilities
	into.Capabilities = rendering.Capabilities{
		Version: known.KubeVersion.Version, Major: known.KubeVersion.Major, Minor: known.KubeVersion.Minor,
		APIVersions: slices.Compact(slices.Sorted(slices.Values(known.APIVersions))),
	}
	if getter == nil {
		return nil
	}
	into.Lookup = func(ctx context.Context, q rendering.Query) (map[string]any, error) {
		found, err := lookUp(ctx, getter, q)
		if meta.IsNoMatchError(err) && slices.Contains(own, q.APIVersion+"/"+q.Kind) {
			return nil, nil // there will be the kind, and nothing of it
		}
		return found, err
	}
	return nil
}

// capabilitiesOf asks a cluster what Helm would.
func capabilitiesOf(getter action.RESTClientGetter) (*chartutil.Capabilities, error) {
	client, err := getter.ToDiscoveryClient()
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	client.Invalidate()
	version, err := client.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("asking for the cluster's version: %w", err)
	}
	served, err := action.GetVersionSet(client)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("asking what the cluster serves: %w", err)
	}
	return &chartutil.Capabilities{
		APIVersions: served, HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
	}, nil
}

// servedBy are the versions and kinds that a chart's own definitions make a cluster serve.
func servedBy(parsed *chart.Chart) ([]string, error) {
	var served []string
	for _, crd := range parsed.CRDObjects() {
		documents, err := splitManifest(bytes.NewReader(crd.File.Data))
		if err != nil {
			return nil, fmt.Errorf("%s of the chart: %w", crd.Filename, err)
		}
		for _, document := range documents {
			served = append(served, versionsOf(document)...)
		}
	}
	return served, nil
}

// lookUp finds what a chart looks up; nil if it does not exist.
func lookUp(ctx context.Context, getter action.RESTClientGetter, q rendering.Query) (map[string]any, error) {
	mapper, err := getter.ToRESTMapper()
	if err != nil {
		return nil, err
	}
	config, err := getter.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	clients, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	kind := schema.FromAPIVersionAndKind(q.APIVersion, q.Kind)
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, fmt.Errorf("looking up %s of %s: %w", q.Kind, q.APIVersion, err)
	}
	var client dynamic.ResourceInterface = clients.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace && q.Namespace != "" {
		client = clients.Resource(mapping.Resource).Namespace(q.Namespace)
	}
	if q.Name == "" {
		list, err := client.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, lookupError(q, err)
		}
		return list.UnstructuredContent(), nil
	}
	object, err := client.Get(ctx, q.Name, metav1.GetOptions{})
	if err != nil {
		return nil, lookupError(q, err)
	}
	return object.UnstructuredContent(), nil
}

// lookupError is nil if nothing is there, which is an answer.
func lookupError(q rendering.Query, err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("looking up %s %s/%s: %w", q.Kind, q.Namespace, q.Name, err)
}

// versionsOf are the versions and kinds that a definition makes a cluster serve.
func versionsOf(document []byte) []string {
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Served bool
			}
		}
	}
	if yaml.Unmarshal(document, &crd) != nil {
		return nil // for Helm to judge, which creates it
	}
	var served []string
	for _, version := range crd.Spec.Versions {
		if version.Served {
			group := crd.Spec.Group + "/" + version.Name
			served = append(served, group, group+"/"+crd.Spec.Names.Kind)
		}
	}
	return served
}
