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

// How many lines of each log a failure shows.
const (
	musterLines    = 80
	apiserverLines = 10
)

// report shows what a failure needs: Muster's objects as they are, and the ends
// of the logs.
func (s *scope) report() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.Logf("failed %s after its begin", time.Since(s.began).Round(time.Millisecond))
	for _, args := range [][]string{
		{"get", "sveltosclusters,clustersets,sets,clusterprofiles,profiles,clustersummaries", "-A", "-o", "wide"},
		{"get", "clustersummaries", "-A", "-o", "custom-columns=NAME:.metadata.name,DELETED:.metadata.deletionTimestamp,WITHDRAW:.spec.withdraw,CONDITIONS:.status.conditions,FAILURE:.status.failureMessage"},
		{"muster", "show", "addons"},
	} {
		result, err := s.fleet.Kubectl(ctx, args...)
		if err != nil {
			s.Logf("%v", err)
		}
		s.Logf("kubectl %s\n%s", strings.Join(args, " "), result.Stdout)
	}
	s.Logf("Muster's log ends:\n%s", logEnd(s.fleet.Muster.Log(), musterLines))
	for _, c := range append(s.fleet.Clusters(), s.fleet.Host) {
		path := filepath.Join(c.Dir(), c.Name()+"-kube-apiserver.log")
		s.Logf("%s ends:\n%s", path, logEnd(path, apiserverLines))
	}
}

// logEnd is the last lines of a log.
func logEnd(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := slices.DeleteFunc(strings.Split(strings.TrimRight(string(data), "\n"), "\n"), func(line string) bool {
		return strings.Contains(line, `"Starting EventSource"`) // two dozen for each start
	})
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
