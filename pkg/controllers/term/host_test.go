// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"encoding/json"
	"errors"
	"strconv"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// host keeps one Lease as an API server does: every write makes a new version, and an update names
// the version that it replaces.
type host struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
	onWrite func(*coordinationv1.Lease) // may be nil
	// watches get every version that is stored; one that lags is ended.
	watches map[chan *coordinationv1.Lease]struct{}
}

var leaseResource = coordinationv1.Resource("leases")

func (h *host) get() (*coordinationv1.Lease, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lease == nil {
		return nil, apierrors.NewNotFound(leaseResource, "muster")
	}
	return h.lease.DeepCopy(), nil
}

// put stores lease; its version is "" for a creation.
func (h *host) put(lease *coordinationv1.Lease, create bool) (*coordinationv1.Lease, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case create && h.lease != nil:
		return nil, apierrors.NewAlreadyExists(leaseResource, lease.Name)
	case !create && h.lease == nil:
		return nil, apierrors.NewNotFound(leaseResource, lease.Name)
	case !create && (lease.ResourceVersion != h.lease.ResourceVersion || lease.UID != h.lease.UID):
		return nil, apierrors.NewConflict(leaseResource, lease.Name, errors.New("the object has been modified"))
	}
	lease = stored(lease)
	if create {
		lease.UID = types.UID("uid-" + strconv.Itoa(h.version))
	}
	h.version++
	lease.ResourceVersion = strconv.Itoa(h.version)
	h.lease = lease
	if h.onWrite != nil {
		h.onWrite(lease)
	}
	h.publish()
	return lease.DeepCopy(), nil
}

// publish tells watches of the Lease as it is.
func (h *host) publish() {
	for versions := range h.watches {
		select {
		case versions <- h.lease:
		default:
			h.unsubscribe(versions)
		}
	}
}

// subscribe begins a watch with the Lease as it is.
func (h *host) subscribe() chan *coordinationv1.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	versions := make(chan *coordinationv1.Lease, 100)
	if h.watches == nil {
		h.watches = map[chan *coordinationv1.Lease]struct{}{}
	}
	h.watches[versions] = struct{}{}
	if h.lease != nil {
		versions <- h.lease
	}
	return versions
}

func (h *host) unsubscribe(versions chan *coordinationv1.Lease) {
	if _, ok := h.watches[versions]; ok {
		delete(h.watches, versions)
		close(versions)
	}
}

// stored is a copy of lease after the way to the API server and back: its times lose nanoseconds.
func stored(lease *coordinationv1.Lease) *coordinationv1.Lease {
	out := &coordinationv1.Lease{}
	data, err := json.Marshal(lease)
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		panic(err)
	}
	return out
}

// edit changes the Lease as a person does, if there is one.
func (h *host) edit(change func(*coordinationv1.Lease)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lease == nil {
		return
	}
	h.lease = h.lease.DeepCopy()
	change(h.lease)
	h.version++
	h.lease.ResourceVersion = strconv.Itoa(h.version)
	h.publish()
}

func (h *host) delete() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease = nil
}

// spec is what the Lease says; nothing if there is none.
func (h *host) spec() coordinationv1.LeaseSpec {
	lease, err := h.get()
	if err != nil {
		return coordinationv1.LeaseSpec{}
	}
	return lease.Spec
}

func (h *host) holder() string { return ptr.Deref(h.spec().HolderIdentity, "") }

// watch has seen called with what replicas write from now on, before they hear of it.
func (h *host) watch(seen func(*coordinationv1.Lease)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onWrite = seen
}
