// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package activewindow

import (
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse("Mon 2006-01-02 15:04:05", text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestActive(t *testing.T) {
	tests := []struct {
		name, from, to, now string
		want                bool
	}{
		{"inside", "0 22 * * *", "0 4 * * *", "Tue 2026-03-10 23:30:00", true},
		{"inside, after midnight", "0 22 * * *", "0 4 * * *", "Wed 2026-03-11 03:59:59", true},
		{"the first moment", "0 22 * * *", "0 4 * * *", "Tue 2026-03-10 22:00:00", true},
		{"the last moment", "0 22 * * *", "0 4 * * *", "Wed 2026-03-11 04:00:00", false},
		{"outside", "0 22 * * *", "0 4 * * *", "Wed 2026-03-11 12:00:00", false},
		{"a weekend", "0 20 * * 5", "0 7 * * 1", "Sun 2026-03-15 12:00:00", true},
		{"not a weekend", "0 20 * * 5", "0 7 * * 1", "Wed 2026-03-11 12:00:00", false},
		{"ends more often than it begins", "0 9 * * 1", "0 17 * * 1-5", "Tue 2026-03-10 10:00:00", false},
		{"and is inside", "0 9 * * 1", "0 17 * * 1-5", "Mon 2026-03-09 10:00:00", true},
		{"begins more often than it ends", "0 9 * * 1-5", "0 17 * * 5", "Wed 2026-03-11 20:00:00", true},
		{"never inside", "0 9 * * *", "0 9 * * *", "Wed 2026-03-11 20:00:00", false},
		{"once in four years", "0 0 29 2 *", "0 0 1 3 *", "Thu 2024-02-29 12:00:00", true},
		{"and its other years", "0 0 29 2 *", "0 0 1 3 *", "Fri 2026-02-27 12:00:00", false},
		{"words", "@daily", "0 6 * * *", "Fri 2026-02-27 05:00:00", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			window, err := Parse(test.from, test.to)
			if err != nil {
				t.Fatal(err)
			}
			now := at(t, test.now)
			state := window.At(now)
			if state.Active != test.want {
				t.Errorf("active: %t, want %t", state.Active, test.want)
			}
			// Wherever the clock stands on this machine.
			if elsewhere := window.At(now.In(time.FixedZone("far", 9*3600))); elsewhere != state {
				t.Errorf("in another zone it is %+v, and %+v here", elsewhere, state)
			}
			if !state.Begins.After(now) || !state.Ends.After(now) || state.Next().After(state.Begins) || state.Next().After(state.Ends) {
				t.Errorf("what comes next is %+v", state)
			}
		})
	}
}

// A process that asks seldom sees what one sees that asks each minute.
func TestTheAnswerDependsOnTheMomentAlone(t *testing.T) {
	window, err := Parse("30 21 * * 1,3", "15 2 * * *")
	if err != nil {
		t.Fatal(err)
	}
	active := false
	start := at(t, "Mon 2026-03-09 00:00:00")
	for minute := range 14 * 24 * 60 {
		now := start.Add(time.Duration(minute) * time.Minute)
		weekday, clock := now.Weekday(), now.Format("15:04")
		switch {
		case clock == "21:30" && (weekday == time.Monday || weekday == time.Wednesday):
			active = true
		case clock == "02:15":
			active = false
		}
		if got := window.At(now).Active; got != active {
			t.Fatalf("at %s it is active: %t, want %t", now, got, active)
		}
	}
}

func TestWhatIsNoWindow(t *testing.T) {
	for expression, want := range map[string]string{
		"":                                      "cron",
		"0 25 * * *":                            "cron",
		"* * *":                                 "cron",
		"0 0 31 2 *":                            "no such moment",
		"@every 1h":                             "interval",
		"CRON_TZ=Asia/Tokyo 0 9 * * *":          "UTC",
		"TZ=0":                                  "UTC", // of which the parser panics
		strings.Repeat("1,", 200) + "1 * * * *": "bytes",
	} {
		if err := Check(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error about %q", expression, err, want)
		}
	}
	if _, err := Parse("0 9 * * *", "later"); err == nil || !strings.HasPrefix(err.Error(), "to: ") {
		t.Errorf("the error is %v, want it to name the field", err)
	}
}
