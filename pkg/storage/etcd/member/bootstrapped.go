// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"maps"
	"time"
)

// ErrChanged says that the state has been changed since it was read.
var ErrChanged = errors.New("the cluster's state was changed by another member")

// Bootstrapped remembers the State outside of etcd, where it survives the loss of all of etcd's data,
// and is the same for all members.
type Bootstrapped interface {
	// Get returns the state, or the zero State if there is none. The error is of type ErrRefused if
	// asking again is of no use.
	Get(ctx context.Context) (State, error)
	// Set replaces what Get returned by another state. It fails with ErrChanged if somebody else was
	// faster.
	Set(ctx context.Context, state State) error
}

// ErrRefused says that what remembers the state does not let this process have it.
var ErrRefused = errors.New("access to the cluster's state is refused")

// State is what members have to agree on before they have etcd to agree in.
//
// A member may begin with an empty log, as one of the first members, only once in its life: else two
// members that have lost their data could make an empty cluster that looks like the old one. So each
// of the first members takes a permit, once, and keeps it in its data directory until it has a log. A
// majority of first members that begin is thus the first one, whoever crashes when.
type State struct {
	// ClusterID is the cluster's, in hexadecimal. Without it, nothing is known.
	ClusterID string `json:"clusterID,omitempty"`
	// Token and InitialCluster are what the cluster was bootstrapped with. Without a token no member
	// may begin: the cluster was not made here, or was restored.
	Token          string `json:"token,omitempty"`
	InitialCluster string `json:"initialCluster,omitempty"`
	// Permits are the permits to begin that were taken, by the member's name.
	Permits map[string]string `json:"permits,omitempty"`
	// Completed is when the cluster first had a majority.
	Completed *time.Time `json:"completed,omitempty"`
	// Restored is when the cluster was made from a backup.
	Restored *time.Time `json:"restored,omitempty"`
	// Turn is who is out of service of its own will. Only one member is.
	Turn *Turn `json:"turn,omitempty"`

	// Version is for the implementation: what Set compares.
	Version string `json:"-"`
}

// Turn is a member's turn to be out of service for a moment.
type Turn struct {
	Member string `json:"member"`
	Reason string `json:"reason"`
	// Until ends the turn of a member that died in it.
	Until time.Time `json:"until"`
}

// change applies a change to the state until nobody has interfered. The change says whether there is
// anything to write.
func change(ctx context.Context, b Bootstrapped, apply func(*State) bool) error {
	for {
		state, err := b.Get(ctx)
		if err != nil {
			return err
		}
		state.Permits = maps.Clone(state.Permits)
		if !apply(&state) {
			return nil
		}
		if err := b.Set(ctx, state); !errors.Is(err, ErrChanged) {
			return err
		}
	}
}
