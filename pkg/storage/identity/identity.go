// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package identity decides whether the storage that is found is the one that
// belongs to an installation.
//
// Two things name an installation's storage. In etcd, under the prefix, lies a
// mark with an installation ID that was drawn when the storage was taken into
// use. In the host cluster a ConfigMap keeps etcd's cluster ID, that
// installation ID, and the highest revision that was seen. Storage that
// disagrees with the ConfigMap is held: it was wiped, restored, or is somebody
// else's, and what it says of the fleet, "there is nothing" above all, must not
// be believed before a person has confirmed it.
//
// This package is pure: package guard reads, writes and watches.
package identity

import (
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// Mark says in etcd which installation the storage belongs to.
type Mark struct {
	// ID is the installation's, drawn anew whenever storage is taken into use.
	ID string `json:"id"`
	// NamespaceUID is the UID of the namespace of the host that the installation
	// lives in. No other cluster and no other namespace has it, so that an
	// installation whose ConfigMap was deleted still knows its own storage.
	NamespaceUID types.UID `json:"namespaceUID"`
}

// ParseMark reads a mark as Encode writes it.
func ParseMark(raw []byte) (Mark, error) {
	var mark Mark
	if err := json.Unmarshal(raw, &mark); err != nil {
		return Mark{}, fmt.Errorf("the mark of an installation in etcd does not parse: %w", err)
	}
	if mark.ID == "" {
		return Mark{}, errors.New("the mark of an installation in etcd has no ID")
	}
	return mark, nil
}

// Encode returns the mark as it is stored.
func (m Mark) Encode() (string, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode the mark of an installation: %w", err)
	}
	return string(raw), nil
}

// Found is the storage as it is.
type Found struct {
	// Prefix is where the installation's keys begin.
	Prefix string `json:"prefix"`
	// ClusterID is etcd's, hexadecimal.
	ClusterID string `json:"clusterID"`
	// Revision is etcd's, at the moment of reading.
	Revision int64 `json:"revision"`
	// Installation is the ID in the mark, empty where there is none or where it
	// cannot be read.
	Installation string `json:"installation,omitempty"`
	// NamespaceUID is the one in the mark.
	NamespaceUID types.UID `json:"namespaceUID,omitempty"`
	// Empty says that there is no key under the prefix.
	Empty bool `json:"empty,omitempty"`
}

// String says in words what was found.
func (f Found) String() string {
	where := fmt.Sprintf("%s in etcd cluster %s at revision %d", f.Prefix, f.ClusterID, f.Revision)
	switch {
	case f.Empty:
		return "nothing under " + where
	case f.Installation == "":
		return "keys without the mark of an installation under " + where
	}
	return fmt.Sprintf("installation %s under %s", f.Installation, where)
}

// Reason says in one word why storage is held.
type Reason string

const (
	// Wiped storage holds nothing under the prefix, and held something before.
	Wiped Reason = "Wiped"
	// Restored storage is the installation's, but in another etcd cluster, or
	// older than it was seen to be.
	Restored Reason = "Restored"
	// Foreign storage has the mark of another installation.
	Foreign Reason = "Foreign"
	// Unmarked storage holds keys under the prefix, and no mark says whose.
	Unmarked Reason = "Unmarked"
	// OtherPrefix means that the installation's keys are elsewhere: the server
	// was started with another --installation or --etcd-prefix.
	OtherPrefix Reason = "OtherPrefix"
	// Superseded means that other storage was confirmed for the installation
	// than the one that this server uses.
	Superseded Reason = "Superseded"
)

// explanation is the reason as a clause.
func (r Reason) explanation() string {
	switch r {
	case Wiped:
		return "etcd was wiped, or is another one"
	case Restored:
		return "etcd was restored from a backup, or is a copy"
	case Foreign:
		return "etcd's content belongs to another installation"
	case Unmarked:
		return "nothing says whom etcd's content belongs to"
	case OtherPrefix:
		return "the server looks under another prefix than before"
	case Superseded:
		return "other storage was confirmed for this installation than the one that this server uses"
	}
	return string(r)
}

// Held is the error of everything that would need storage that is held.
type Held struct {
	// Reason is why.
	Reason Reason
	// Expected is what the host has recorded, nil where it has recorded nothing.
	Expected *Record
	// Found is what there is.
	Found Found
}

// Error says what is wrong and what to do.
func (h *Held) Error() string {
	expected := "nothing is recorded of this installation"
	if h.Expected != nil {
		expected = "expected was " + h.Expected.String()
	}
	return fmt.Sprintf("the storage of Muster is held (%s): %s; %s, and there is %s. "+
		"Nothing is served, changed or withdrawn anywhere until the right etcd is back, or a person accepts this one with \"kubectl muster confirm-storage\"",
		h.Reason, h.Reason.explanation(), expected, h.Found)
}
