// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"github.com/muster-project/muster/pkg/controllers/hostcluster"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// watched are the clusters that are watched: the managed ones, and the host, which profiles
// deploy to as well.
type watched struct {
	managed *fleet.Clusters
	host    *hostcluster.Host
}

// Client implements watches.Clients.
func (w watched) Client(ctx context.Context, ref fleet.Ref, as fleet.Identity) (*fleet.Client, error) {
	if ref == inventory.Host() {
		return w.host.Client(ctx, as)
	}
	return w.managed.Client(ctx, ref, as)
}
