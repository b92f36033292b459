// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

const (
	// manyRounds are enough for every step to be struck stepStrikes times.
	manyRounds  = 50
	stepStrikes = 5
)

// tally counts the steps at which faults have struck: a fault that was harmless a
// hundred times at one step says nothing about the others.
type tally struct {
	faults []*struckFault // in the order in which they struck first
}

// struckFault is one fault, and how often it has struck at each of the steps that
// there are.
type struckFault struct {
	name  string
	steps []string
	times map[string]int
}

func (y *tally) fault(name string, steps []string) *struckFault {
	i := slices.IndexFunc(y.faults, func(f *struckFault) bool { return f.name == name })
	if i < 0 {
		y.faults = append(y.faults, &struckFault{name: name, steps: steps, times: map[string]int{}})
		i = len(y.faults) - 1
	}
	return y.faults[i]
}

// aim picks a step to strike at: one of those that were struck least, so that the
// short ones get their share too.
func (y *tally) aim(random *rand.Rand, fault string, steps []string) string {
	f := y.fault(fault, steps)
	least := slices.MinFunc(steps, func(a, b string) int { return f.times[a] - f.times[b] })
	seldom := slices.DeleteFunc(slices.Clone(steps), func(step string) bool { return f.times[step] > f.times[least] })
	return seldom[random.IntN(len(seldom))]
}

// strike counts a step that was struck, and prints it.
func (y *tally) strike(t *testing.T, fault string, steps []string, aimed, step string) {
	t.Helper()
	y.fault(fault, steps).times[step]++
	t.Logf("fault=%q step=%s aimed=%s", fault, step, aimed)
}

// String is a table of all faults.
func (y *tally) String() string {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tSTEP\tSTRUCK")
	for _, f := range y.faults {
		for _, step := range f.steps {
			fmt.Fprintf(w, "%s\t%s\t%d\n", f.name, step, f.times[step])
		}
	}
	_ = w.Flush() // nothing fails on a Builder
	return table.String()
}

// missed names the steps that were struck too seldom.
func (y *tally) missed() []string {
	var missed []string
	for _, f := range y.faults {
		for _, step := range f.steps {
			if n := f.times[step]; n < stepStrikes {
				missed = append(missed, fmt.Sprintf("%s struck %s %d times", f.name, step, n))
			}
		}
	}
	return missed
}

// report prints the table. Of many rounds it wants that no step was spared.
func (y *tally) report(t *testing.T) {
	t.Helper()
	if len(y.faults) == 0 {
		return
	}
	t.Logf("what was struck:\n%s", y)
	if *rounds < manyRounds || t.Failed() {
		return
	}
	for _, step := range y.missed() {
		t.Errorf("%s, want %d at least", step, stepStrikes)
	}
}

// strikes is how often a fault of which there have to be 100 strikes in 50 rounds
// strikes in each. The short version strikes once.
func strikes() int {
	if *rounds == 1 {
		return 1
	}
	return 2
}

func TestTallyAimsAtWhatWasSpared(t *testing.T) {
	random, steps := rand.New(rand.NewPCG(1, 1)), []string{"a", "b", "c"}
	var y tally
	for range stepStrikes * len(steps) {
		y.strike(t, "fault", steps, "", y.aim(random, "fault", steps))
	}
	if missed := y.missed(); len(missed) > 0 {
		t.Errorf("missed %q", missed)
	}
	// Most of what is aimed at is missed.
	y = tally{}
	for range 10 * stepStrikes {
		aimed := y.aim(random, "fault", steps)
		if random.IntN(3) > 0 {
			aimed = "a"
		}
		y.strike(t, "fault", steps, "", aimed)
	}
	if missed := y.missed(); len(missed) > 0 {
		t.Errorf("missed %q:\n%s", missed, &y)
	}
	y.aim(random, "another", steps)
	if missed := y.missed(); len(missed) != len(steps) {
		t.Errorf("of a fault that never struck: %q", missed)
	}
}
