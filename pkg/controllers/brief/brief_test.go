// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package brief

import (
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
)

func TestText(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"short", "all of it", "all of it"},
		{"as long as it may be", "0123456789", "0123456789"},
		{"too long", "0123456789a", "012345 …"},
		{"cut in the middle of a character", "01234ö6789a", "01234 …"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Text(tc.text, 10)
			if got != tc.want || len(got) > 10 || !utf8.ValidString(got) {
				t.Errorf("got %q (%d bytes), want %q", got, len(got), tc.want)
			}
		})
	}
}

func TestAnEventWithALongNoteIsTakenByAnAPIServer(t *testing.T) {
	fake := events.NewFakeRecorder(2)
	recorder := Events(fake)
	recorder.Eventf(&corev1.Pod{}, nil, corev1.EventTypeWarning, "Failed", "Deploy", "%d%% of %s", 5, strings.Repeat("x", 5000))
	if got := <-fake.Events; !strings.HasPrefix(got, "Warning Failed 5% of xxx") || len(got) > len("Warning Failed ")+maxNote {
		t.Errorf("an event of %d bytes was sent: %.60s", len(got), got)
	}
	recorder.Eventf(&corev1.Pod{}, nil, corev1.EventTypeNormal, "Done", "Deploy", "%s", "100% done")
	if got := <-fake.Events; got != "Normal Done 100% done" {
		t.Errorf("the event is %q", got)
	}
}
