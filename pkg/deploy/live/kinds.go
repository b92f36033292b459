// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Mapping looks a kind up, and looks again with fresh discovery if it is not
// there: the cached answer may be older than a CRD. The error is a
// meta.NoKindMatchError in the chain if there is no such kind.
func Mapping(mapper meta.ResettableRESTMapper, gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := mapper.RESTMapping(gk, versions...)
	if meta.IsNoMatchError(err) {
		mapper.Reset()
		mapping, err = mapper.RESTMapping(gk, versions...)
	}
	return mapping, err
}

// errNoGroups is an answer that no API server gives.
var errNoGroups = errors.New("the cluster lists no API groups at all")

// Gone makes sure of a kind for which a mapper has no match. It returns nil
// only if each version of the group answered, and none has the kind: a mapper
// leaves out the groups whose discovery failed, so that for a minute in which
// an aggregated API is down its kinds look as if they did not exist.
func Gone(ctx context.Context, client discovery.DiscoveryInterface, gk schema.GroupKind) error {
	groups, err := client.ServerGroups()
	if err != nil {
		return fmt.Errorf("listing the API groups: %w", err)
	}
	if groups == nil || len(groups.Groups) == 0 {
		return errNoGroups
	}
	for _, group := range groups.Groups {
		if group.Name != gk.Group {
			continue
		}
		for _, version := range group.Versions {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := absent(client, version.GroupVersion, gk); err != nil {
				return err
			}
		}
	}
	return nil
}

func absent(client discovery.DiscoveryInterface, groupVersion string, gk schema.GroupKind) error {
	list, err := client.ServerResourcesForGroupVersion(groupVersion)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the resources of %s: %w", groupVersion, err)
	}
	for _, r := range list.APIResources {
		if r.Kind == gk.Kind {
			return fmt.Errorf("%s is served again, discovery was out of date", gk)
		}
	}
	return nil
}
