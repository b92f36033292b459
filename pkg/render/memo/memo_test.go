// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package memo

import (
	"testing"
	"testing/synctest"
)

// A worker survives a job that panics. Whoever waits for the same chart must not
// wait for that job.
func TestAFlightThatPanicsLetsOthersFly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Flights[string, int]
		begun, crash := make(chan struct{}), make(chan struct{})
		go func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			_, _ = f.Do(t.Context(), "chart", func() (int, error) {
				close(begun)
				<-crash
				panic("no")
			})
		}()
		<-begun
		answer := make(chan int)
		go func() {
			value, err := f.Do(t.Context(), "chart", func() (int, error) { return 7, nil })
			if err != nil {
				t.Error(err)
			}
			answer <- value
		}()
		synctest.Wait()
		close(crash)
		if got := <-answer; got != 7 {
			t.Errorf("got %d, want the answer of the one that took over", got)
		}
		if len(f.running) != 0 {
			t.Errorf("%d flights are left", len(f.running))
		}
	})
}
