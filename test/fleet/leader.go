// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

// leaseName is the Lease's that replicas contend for, in Namespace.
const leaseName = "muster"

// ErrNoLeader says that no replica holds the Lease at this moment.
var ErrNoLeader = errors.New("nobody holds the lease")

// Lease reads the Lease that replicas contend for.
func (m *Muster) Lease(ctx context.Context) (*coordinationv1.Lease, error) {
	config, err := m.host.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the host: %w", err)
	}
	return client.CoordinationV1().Leases(Namespace).Get(ctx, leaseName, metav1.GetOptions{})
}

// Leader is the replica that holds the Lease. A holder that was killed or paused
// is the leader until another replica takes over. The error wraps ErrNoLeader if
// there is none.
func (m *Muster) Leader(ctx context.Context) (*Server, error) {
	lease, err := m.Lease(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	holder := ptr.Deref(lease.Spec.HolderIdentity, "")
	if holder == "" {
		return nil, ErrNoLeader
	}
	return m.replicaOf(holder)
}

// replicaOf finds the replica that calls itself by that name: all of them share
// the host's name, and each adds to it what is its own. It is in every line of
// its election's log.
func (m *Muster) replicaOf(identity string) (*Server, error) {
	mark := []byte(fmt.Sprintf("identity=%q", identity))
	for _, replica := range m.replicas {
		log, err := os.ReadFile(replica.Log())
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("looking for the leader: %w", err)
		}
		if bytes.Contains(log, mark) {
			return replica, nil
		}
	}
	return nil, fmt.Errorf("%w that is a replica of this fleet: its holder is %q", ErrNoLeader, identity)
}

// ReplicaConfig is an administrator's client configuration for one replica, past
// the host and the round-robin. Its client-side rate limit is off.
func (m *Muster) ReplicaConfig(replica *Server) (*rest.Config, error) {
	config, err := m.host.RESTConfig()
	if err != nil {
		return nil, err
	}
	config.Host = "https://" + replica.Address()
	// Whom the server trusts is asked of the host; its certificate is for the
	// aggregator to look at.
	config.TLSClientConfig.CAData, config.TLSClientConfig.CAFile = nil, ""
	config.TLSClientConfig.Insecure = true
	return config, nil
}
