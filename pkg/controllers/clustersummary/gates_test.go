// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/deploy/health"
)

func TestGateReports(t *testing.T) {
	key := gateKey{types.NamespacedName{Name: "a"}, afterDeployment}
	a, b := []health.Failure{{Check: "a"}}, []health.Failure{{Check: "a"}, {Check: "b"}}
	g := &gates{}
	g.ask(key, "1", nil)
	for i, step := range []struct {
		failures     []health.Failure
		after        time.Duration
		news, better bool
	}{
		{b, 0, true, false},
		{b, time.Second, false, false},
		{a, 2 * time.Second, true, true},
		{a, healthPatience, true, false}, // too long now
		{a, 2 * healthPatience, false, false},
		{nil, 3 * healthPatience, true, true},
		{a, 4 * healthPatience, true, false},
		{a, 4*healthPatience + time.Second, false, false},
	} {
		if news, better := g.report(key, "1", step.failures, noon.Add(step.after)); news != step.news || better != step.better {
			t.Errorf("step %d: news %t, better %t; want %t, %t", i, news, better, step.news, step.better)
		}
	}
	if news, _ := g.report(key, "2", nil, noon); news {
		t.Error("a report for something else counts")
	}
}

// A pass in between that changed nothing does not make failing checks young again.
func TestFailuresAreAsOldAsTheyAre(t *testing.T) {
	key := gateKey{types.NamespacedName{Name: "a"}, afterDeployment}
	failures := []health.Failure{{Check: "a"}}
	g := &gates{}
	g.ask(key, "1", nil)
	g.report(key, "1", failures, noon)
	g.ask(key, "2", nil)
	g.report(key, "2", failures, noon.Add(healthPatience))
	if now, _ := g.known(key, "2"); !now.failed(noon.Add(healthPatience)) {
		t.Error("they are young again")
	}
}

func TestGatesRun(t *testing.T) {
	g := &gates{}
	name := types.NamespacedName{Name: "a"}
	began, ended := make(chan string, 4), make(chan string, 4)
	check := func(token string) func(context.Context) {
		return func(ctx context.Context) {
			began <- token
			<-ctx.Done()
			ended <- token
		}
	}
	g.ask(gateKey{name, beforeDeployment}, "early", check("early")) // before Run
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	if got := <-began; got != "early" {
		t.Fatal(got)
	}
	g.ask(gateKey{name, beforeDeployment}, "late", check("late"))
	if got, over := <-began, <-ended; got != "late" || over != "early" {
		t.Errorf("%s began, %s ended", got, over)
	}
	g.ask(gateKey{name, afterWithdrawal}, "other", check("other"))
	<-began
	g.forget(name)
	<-ended
	<-ended
	g.ask(gateKey{name, beforeDeployment}, "last", check("last"))
	<-began
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := <-ended; got != "last" {
		t.Errorf("%s ended last", got)
	}
	g.ask(gateKey{name, beforeDeployment}, "too late", func(context.Context) { t.Error("it runs after the end") })
	if err := g.Run(t.Context()); err == nil {
		t.Error("it runs twice")
	}
}
