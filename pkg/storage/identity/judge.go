// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import "k8s.io/apimachinery/pkg/types"

// Action is what is to be done about storage.
type Action int

const (
	// Hold means that nothing may be done.
	Hold Action = iota
	// Trust means that storage is the installation's.
	Trust
	// MarkIt means that storage may become the installation's by a mark in etcd;
	// after that it is judged again.
	MarkIt
	// RecordIt means that storage is marked as the installation's, and that the
	// ConfigMap has to say so; after that it is judged again. The mark comes
	// before the record, so that an end in between leaves storage that is known
	// by its mark, and never a record of storage that has none.
	RecordIt
)

// Verdict is a decision about storage.
type Verdict struct {
	Action Action
	// Reason is set with Hold.
	Reason Reason
	// ID is set with MarkIt: the installation ID to mark storage with. It is empty
	// where one has to be drawn.
	ID string
}

// Judge decides what found is to the installation that lives in the namespace
// with the given UID and has stored this in its ConfigMap.
func Judge(stored Stored, found Found, namespace types.UID) Verdict {
	if stored.Record != nil && stored.Record.names(found) && found.Revision >= stored.Record.Revision {
		return Verdict{Action: Trust}
	}
	if c := stored.Confirmed; c != nil {
		if c.claimed(found) {
			return Verdict{Action: RecordIt}
		}
		if c.covers(found) {
			return Verdict{Action: MarkIt, ID: c.As}
		}
	}
	if stored.Record == nil {
		return judgeUnknown(found, namespace)
	}
	return Verdict{Action: Hold, Reason: difference(*stored.Record, found)}
}

// judgeUnknown decides where the host has recorded nothing: at the first start
// ever, after one that was cut short, or when the ConfigMap was deleted.
func judgeUnknown(found Found, namespace types.UID) Verdict {
	switch {
	case found.Empty:
		return Verdict{Action: MarkIt}
	case found.Installation == "":
		return Verdict{Action: Hold, Reason: Unmarked}
	case found.NamespaceUID != namespace || namespace == "":
		return Verdict{Action: Hold, Reason: Foreign}
	}
	return Verdict{Action: RecordIt}
}

// difference says why found is not what was recorded.
func difference(expected Record, found Found) Reason {
	switch {
	case expected.Prefix != found.Prefix:
		return OtherPrefix
	case found.Empty:
		return Wiped
	case found.Installation == "":
		return Unmarked
	case expected.Installation != found.Installation:
		return Foreign
	}
	return Restored
}

// Differs returns why a server that trusts its storage as expected must stop to
// do so, now that it finds it like this; empty where it need not.
func Differs(expected Record, found Found) Reason {
	if expected.names(found) && found.Revision >= expected.Revision {
		return ""
	}
	return difference(expected, found)
}
