// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/fleet"
)

// resource is where the objects of a kind are.
type resource struct {
	schema.GroupVersionResource
	namespaced bool
}

// kinds remembers where the objects of the selected kinds are. The discovery of
// fleet.Client is not used: it takes no context, and a kind that is not there would make
// it read everything again, every time.
type kinds struct {
	mu     sync.Mutex
	client *fleet.Client // that what is known is of; another one may reach another cluster
	known  map[schema.GroupVersionKind]*resource
}

// resolve returns nil for a kind that the cluster does not have.
func (k *kinds) resolve(ctx context.Context, r *reader, kind schema.GroupVersionKind) (*resource, error) {
	if known := k.lookUp(r.client, kind); known != nil {
		return known, nil
	}
	found, err := r.discover(ctx, kind)
	if err != nil || found == nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client == r.client {
		k.known[kind] = found
	}
	return found, nil
}

func (k *kinds) lookUp(client *fleet.Client, kind schema.GroupVersionKind) *resource {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client != client {
		k.client, k.known = client, map[schema.GroupVersionKind]*resource{}
	}
	return k.known[kind]
}

func (k *kinds) forget(kind schema.GroupVersionKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, kind)
}

// discover reads the resources of one version of a group.
func (r *reader) discover(ctx context.Context, kind schema.GroupVersionKind) (*resource, error) {
	list, err := r.resources(ctx, kind.GroupVersion())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the resources of %s: %w", kind.GroupVersion(), err)
	}
	for _, found := range list.APIResources {
		if found.Kind == kind.Kind && !strings.Contains(found.Name, "/") {
			return &resource{kind.GroupVersion().WithResource(found.Name), found.Namespaced}, nil
		}
	}
	return nil, nil
}

func (r *reader) resources(ctx context.Context, version schema.GroupVersion) (*metav1.APIResourceList, error) {
	path := []string{"apis", version.Group, version.Version}
	if version.Group == "" {
		path = []string{"api", version.Version}
	}
	target, err := url.JoinPath(r.client.Config.Host, path...)
	if err != nil {
		return nil, fmt.Errorf("join the server's address and %s: %w", version, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if r.bound.exceeded {
		return nil, fmt.Errorf("%w: the list of resources has more than %d bytes", ErrTooMuch, MaxBytes)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, apierrors.NewGenericServerResponse(resp.StatusCode, "GET", schema.GroupResource{Group: version.Group}, "", "", 0, true)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("decode the resources: %w", err)
	}
	return &list, nil
}
