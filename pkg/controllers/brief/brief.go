// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package brief keeps what controllers tell people within the limits of where it
// is shown: an error that joins those of a thousand objects is as long as they are.
package brief

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
)

// ellipsis ends a text that goes on.
const ellipsis = " …"

// maxNote is how many bytes an API server takes as an event's note. An event with
// a longer one is refused as a whole, and nobody is told.
const maxNote = 1024

// Text returns a text that has at most limit bytes, and shows where it is cut. It
// is cut between characters: half of one could not be stored as it is compared.
func Text(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}

// Events returns a recorder that cuts notes to what an API server takes.
func Events(recorder events.EventRecorder) events.EventRecorder {
	return &briefly{EventRecorder: recorder}
}

type briefly struct {
	events.EventRecorder
}

// Eventf implements events.EventRecorder.
func (b *briefly) Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any) {
	b.EventRecorder.Eventf(regarding, related, eventtype, reason, action, "%s", Text(fmt.Sprintf(note, args...), maxNote))
}
