// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// How many lines of each log a failure shows. Few, so that what failed is still
// in sight where only the end of a run's output is kept.
const (
	musterLines    = 40
	apiserverLines = 5
)

// report shows what a failure needs: Muster's objects as they are, and the ends
// of the logs.
func (s *scope) report() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.Logf("failed %s after its begin", time.Since(s.began).Round(time.Millisecond))
	for _, args := range [][]string{
		{"get", "sveltosclusters,clustersets,sets,clusterprofiles,profiles,clustersummaries", "-A", "-o", "wide"},
		{"get", "clustersummaries", "-n", s.name, "-o", "custom-columns=NAME:.metadata.name,DELETED:.metadata.deletionTimestamp,WITHDRAW:.spec.withdraw,CONDITIONS:.status.conditions,FAILURE:.status.failureMessage"},
		{"muster", "show", "addons"},
	} {
		result, err := s.fleet.Kubectl(ctx, args...)
		if err != nil {
			s.Logf("%v", err)
		}
		s.Logf("kubectl %s\n%s", strings.Join(args, " "), s.own(result.Stdout))
	}
	s.Logf("Muster's log ends:\n%s", s.logEnd(s.fleet.Muster.Log(), musterLines))
	for _, c := range append(s.fleet.Clusters(), s.fleet.Host) {
		path := filepath.Join(c.Dir(), c.Name()+"-kube-apiserver.log")
		s.Logf("%s ends:\n%s", path, s.logEnd(path, apiserverLines))
	}
}

// own leaves of some text the lines about the scope. A test that has the fleet to
// itself sees all.
func (s *scope) own(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if !s.broken {
		lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, s.name) })
	}
	return strings.Join(lines, "\n")
}

// logEnd is the last lines of a log about the scope.
func (s *scope) logEnd(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := slices.DeleteFunc(strings.Split(s.own(string(data)), "\n"), func(line string) bool {
		return strings.Contains(line, `"Starting EventSource"`) // two dozen for each start
	})
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
