// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/muster-project/muster/test/fleet"
)

// benchmark measures one thing, in one or more lines.
type benchmark struct {
	name string
	// about is for the help text.
	about string
	// run measures, and reports each measure as soon as it has it.
	run func(ctx context.Context, b *bench, report func(*Measure)) error
}

// benchmarks are all of them, in the order in which they run.
func benchmarks() []benchmark {
	return []benchmark{
		{"G1", "a selection is read, directly and through the host, while statuses change", measureSelectionReads},
		{"G2", "a cluster fails; when its work runs on another one", measureFailover},
		{"G4/helm", "charts are installed on a real cluster; how many releases in a second", measureReleases},
		{"G4/objects", "objects are created, applied again and compared; how many in a second of CPU time", measureObjects},
		{"G4/render100", "one chart for 100 clusters; how many times as much it costs as for one", measureRendering},
		{"G4/first_object", "a profile is written; when its object is in the cluster", measureFirstObject},
		{"G4/slow_cluster", "one of 50 clusters hangs; how much later the others are deployed to", measureSlowCluster},
		{"G5", "what a registered and probed cluster costs in memory and in etcd", measureFootprint},
		{"G7", "the server restarts, or a leader of several ends; when it answers, and when another one works", measureRestarts},
		{"HA", "replicas are restarted and killed, and certificates rotated, under load; what fails", measureAvailability},
		{"DRIFT", "somebody changes a deployed object; when it is as it was", measureDrift},
		{"DIFF", "what a profile of 100 objects would change", measureDiff},
		{"SCRIPT", "what one evaluation of Lua, through a worker, and of CEL takes", measureScripts},
	}
}

// bench is what benchmarks have in common.
type bench struct {
	bin      string // directory of the programs; the repository's if empty
	clusters []int  // sizes to measure instead of a benchmark's own
	runs     int    // repetitions instead of a benchmark's own, if not 0
	window   time.Duration
	profile  string // directory for profiles of the server; none if empty
	progress io.Writer
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// repeat is how often to do something that is done n times by default.
func (b *bench) repeat(n int) int {
	if b.runs > 0 {
		return b.runs
	}
	return n
}

// withFleet runs f on a fleet of its own. The fleet's directory is left behind
// for its logs if anything fails.
func (b *bench) withFleet(ctx context.Context, options fleet.Options, f func(context.Context, *fleet.Fleet) error) (err error) {
	options.Name, options.Bin, options.Logf = "bench-"+options.Name, b.bin, b.logf
	if b.profile != "" {
		options.MusterArgs = append(options.MusterArgs, "--profiling")
	}
	running, err := fleet.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, running.Stop())
		if err == nil {
			err = os.RemoveAll(running.Dir())
		}
	}()
	if err := f(ctx, running); err != nil {
		return fmt.Errorf("%w\nMuster's log, %s, ends:\n%s", err, running.Muster.Log(), running.Muster.LogTail())
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is the program; it returns the exit status.
func command(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == fakeClustersCommand {
		if err := serveFakeClusters(stdin, stdout); err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return 1
		}
		return 0
	}
	b := &bench{progress: stderr}
	chosen, output, err := b.parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	return runAll(ctx, b, chosen, output, stdout)
}

// parse reads the command line: which benchmarks to run, and the file for their
// results.
func (b *bench) parse(args []string, stderr io.Writer) (chosen []benchmark, output string, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var sizes string
	flags.StringVar(&b.bin, "bin", "", "`directory` of the programs (default: bin in the repository)")
	flags.StringVar(&output, "json", "", "`file` for the results (default: bin/benchmarks.json in the repository)")
	flags.StringVar(&sizes, "clusters", "", "measure at these numbers of clusters, 100,1000 for example, where a benchmark has several")
	flags.IntVar(&b.runs, "runs", 0, "repetitions of each measurement (default: the benchmark's own)")
	flags.DurationVar(&b.window, "window", 20*time.Second, "how long each load is kept up in one repetition")
	flags.StringVar(&b.profile, "profile", "", "write profiles of the server to this `directory`")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: bench [flags] [NAME ...]")
		for _, one := range benchmarks() {
			fmt.Fprintf(stderr, "  %-16s %s\n", one.name, one.about)
		}
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return nil, "", err
	}
	if b.clusters, err = parseSizes(sizes); err != nil {
		return nil, "", err
	}
	if output == "" {
		root, err := fleet.RepositoryRoot()
		if err != nil {
			return nil, "", err
		}
		output = filepath.Join(root, "bin", "benchmarks.json")
	}
	chosen, err = choose(benchmarks(), flags.Args())
	return chosen, output, err
}

// choose picks benchmarks by name, all of them if no name is given: G4 is all that begin
// with G4/.
func choose(all []benchmark, names []string) ([]benchmark, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []benchmark
	for _, name := range names {
		before := len(chosen)
		for _, b := range all {
			group, _, _ := strings.Cut(b.name, "/")
			if strings.EqualFold(b.name, name) || strings.EqualFold(group, name) {
				chosen = append(chosen, b)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("no benchmark %q: bench -h lists them", name)
		}
	}
	return chosen, nil
}

func parseSizes(list string) ([]int, error) {
	var sizes []int
	for field := range strings.SplitSeq(list, ",") {
		if list == "" {
			break
		}
		var size int
		if _, err := fmt.Sscan(field, &size); err != nil || size < 1 {
			return nil, fmt.Errorf("--clusters %q: want positive numbers with commas between them", list)
		}
		sizes = append(sizes, size)
	}
	return slices.Sorted(slices.Values(sizes)), nil
}

// runAll runs benchmarks one after the other. One that fails does not keep the
// others from running.
func runAll(ctx context.Context, b *bench, chosen []benchmark, output string, stdout io.Writer) (code int) {
	for _, one := range chosen {
		b.logf("%s: %s", one.name, one.about)
		r := newResult()
		err := one.run(ctx, b, func(m *Measure) {
			fmt.Fprintln(stdout, m)
			r.Measures = append(r.Measures, m)
		})
		if len(r.Measures) > 0 {
			err = errors.Join(err, saveResult(output, one.name, r))
		}
		if err != nil {
			b.logf("%s could not be measured: %v", one.name, err)
			code = 1
		}
	}
	return code
}
