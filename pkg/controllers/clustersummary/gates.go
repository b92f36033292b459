// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/health"
)

// moment is when checks are made.
type moment string

const (
	beforeDeployment moment = "preDeployChecks"
	afterDeployment  moment = "validateHealths"
	beforeWithdrawal moment = "preDeleteChecks"
	afterWithdrawal  moment = "postDeleteChecks"
)

// healthPatience is how long what was deployed may take to pass its checks before that is
// called a failure.
const healthPatience = time.Minute

// judgement is what checks have come to.
type judgement struct {
	// made is true once all of them were made.
	made     bool
	failures []health.Failure
	// since is when the first of an unbroken row of failures was seen.
	since time.Time
}

// failed reports whether checks of what was deployed have failed for too long.
func (j judgement) failed(now time.Time) bool {
	return len(j.failures) > 0 && now.Sub(j.since) >= healthPatience
}

// of is the failure of a list, nil if it has none.
func (j judgement) of(feature libv1beta1.FeatureID) *health.Failure {
	for i := range j.failures {
		if j.failures[i].Feature == feature {
			return &j.failures[i]
		}
	}
	return nil
}

func (j judgement) text() string {
	var texts []string
	for i := range j.failures {
		texts = append(texts, j.failures[i].Error())
	}
	return strings.Join(texts, "; ")
}

type gateKey struct {
	summary types.NamespacedName
	moment  moment
}

// gate is one list of checks that is made until all have passed.
type gate struct {
	// token names what it is for; checks for something else begin anew.
	token  string
	run    func(ctx context.Context) // nil once it runs
	cancel context.CancelFunc        // nil before it runs
	told   bool                      // that it has failed for too long
	judgement
}

// gates make the checks of all summaries, each in a goroutine of its own: a check that
// takes its time holds up neither the cluster's worker nor any other check.
type gates struct {
	mu      sync.Mutex
	ctx     context.Context // nil until Run
	open    map[gateKey]*gate
	running sync.WaitGroup
}

var errGatesRan = errors.New("checks run once")

// Run lets checks run until ctx ends, and returns when the last one has returned.
func (g *gates) Run(ctx context.Context) error {
	g.mu.Lock()
	if g.ctx != nil {
		g.mu.Unlock()
		return errGatesRan
	}
	g.ctx = ctx
	for _, one := range g.open {
		g.start(one)
	}
	g.mu.Unlock()
	<-ctx.Done()
	g.running.Wait()
	return nil
}

// start starts a gate. The lock is held. None starts once the context has ended, so that
// Run waits for all.
func (g *gates) start(one *gate) {
	if g.ctx == nil || g.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(g.ctx)
	run := one.run
	one.run, one.cancel = nil, cancel
	g.running.Go(func() {
		defer cancel()
		run(ctx)
	})
}

// ask returns what the checks for token have come to, and makes sure that they are made:
// run makes them, and is told to stop when something else is asked for.
func (g *gates) ask(key gateKey, token string, run func(ctx context.Context)) (judgement, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.open[key]
	if known != nil && known.token == token {
		return known.judgement, known.made
	}
	if known != nil && known.cancel != nil {
		known.cancel()
	}
	if g.open == nil {
		g.open = map[gateKey]*gate{}
	}
	g.open[key] = &gate{token: token, run: run}
	if known != nil && len(known.failures) > 0 {
		g.open[key].since = known.since // a pass in between mended nothing
	}
	g.start(g.open[key])
	return judgement{}, false
}

// known returns what the checks for token have come to.
func (g *gates) known(key gateKey, token string) (judgement, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one := g.open[key]; one != nil && one.token == token {
		return one.judgement, one.made
	}
	return judgement{}, false
}

// report notes what checks have come to, and says whether that is news to whoever asks,
// something else than before or the same for too long now, and whether fewer lists fail.
func (g *gates) report(key gateKey, token string, failures []health.Failure, now time.Time) (news, better bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.open[key]
	if one == nil || one.token != token {
		return false, false
	}
	before := one.judgement
	one.made, one.failures = true, failures
	if one.since.IsZero() || before.made && len(before.failures) == 0 {
		one.since = now
	}
	news = !before.made || one.failed(now) && !one.told || !slices.Equal(before.failures, failures)
	one.told = one.failed(now)
	return news, before.made && len(failures) < len(before.failures)
}

// forget ends the checks of a summary that is gone.
func (g *gates) forget(summary types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range []moment{beforeDeployment, afterDeployment, beforeWithdrawal, afterWithdrawal} {
		key := gateKey{summary, m}
		if one := g.open[key]; one != nil {
			if one.cancel != nil {
				one.cancel()
			}
			delete(g.open, key)
		}
	}
}
