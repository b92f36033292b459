// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// knownClusters bounds of how many clusters it is remembered what they serve.
const knownClusters = 4096

// groupsAccept asks for all groups with their resources in one document, which has a tag
// that changes with it.
const groupsAccept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// served is what a cluster serves, as charts are told, and the tag of the document that
// says so. Helm asks anew for each operation, which costs more than all else that it asks
// for together.
type served struct {
	tag          string
	capabilities *chartutil.Capabilities
}

// recallServed tells an operation what its cluster serves, if that is known and is still
// so. It returns what notes for the next operation what this one has found out.
func (m *Manager) recallServed(ctx context.Context, cluster discovery.CachedDiscoveryInterface, config *rest.Config) (known *chartutil.Capabilities, learn func(*chartutil.Capabilities)) {
	before, _ := m.served.Get(cluster)
	tag, err := groupsTag(ctx, config, before.tag)
	if err != nil || tag == "" {
		return nil, func(*chartutil.Capabilities) {} // Helm asks, and says what is wrong
	}
	if tag == before.tag {
		return before.capabilities, func(*chartutil.Capabilities) {}
	}
	return nil, func(found *chartutil.Capabilities) {
		if found != nil {
			// What was found may be newer than the tag, and is asked for again then.
			m.served.Put(cluster, served{tag, found}, 1)
		}
	}
}

// groupsTag is the tag of a cluster's groups, given the one that it had, so that the
// document is not sent again. It is empty where the API server gives none.
func groupsTag(ctx context.Context, config *rest.Config, known string) (string, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return "", fmt.Errorf("making a client: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+"/apis", nil)
	if err != nil {
		return "", fmt.Errorf("asking for the API groups: %w", err)
	}
	request.Header.Set("Accept", groupsAccept)
	if known != "" {
		request.Header.Set("If-None-Match", known)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking for the API groups: %w", err)
	}
	_, err = io.Copy(io.Discard, response.Body) // so that the connection is used again
	err = errors.Join(err, response.Body.Close())
	switch response.StatusCode {
	case http.StatusNotModified:
		return known, err
	case http.StatusOK:
		return response.Header.Get("ETag"), err
	}
	return "", errors.Join(fmt.Errorf("asking for the API groups: %s", response.Status), err)
}

// validatesFields is the version from which on an API server validates fields by itself.
// Helm then asks each time whether it does, and validates nothing.
var validatesFields = version.MustParseGeneric("1.27")

// needsValidation reports whether objects for a cluster are to be validated here.
func needsValidation(capabilities *chartutil.Capabilities) bool {
	if capabilities == nil {
		return true
	}
	server, err := version.ParseGeneric(capabilities.KubeVersion.Version)
	return err != nil || server.LessThan(validatesFields)
}
