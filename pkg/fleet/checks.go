// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"time"
)

// CheckState is what a cluster's own checks came to.
type CheckState string

const (
	// ChecksNone: the cluster has none.
	ChecksNone CheckState = ""
	// ChecksPassed: all that are due passed.
	ChecksPassed CheckState = "Passed"
	// ChecksFailed: one did not pass, which counts as a failed probe.
	ChecksFailed CheckState = "Failed"
	// ChecksErred: the script of one failed on what it was given. It did not pass
	// either, and counts as a failed probe.
	ChecksErred CheckState = "Erred"
	// ChecksUndecided: one could not be run to its end. That proves nothing about the
	// cluster: one that is ready stays so, and another does not become it.
	ChecksUndecided CheckState = "Undecided"
)

// Verdict is what checks came to, and why. Message names the check and is empty if all
// passed. Equal causes should have equal messages, since each change is written.
type Verdict struct {
	State   CheckState
	Message string
}

// Checks are a cluster's own conditions for being ready, beyond an API server that says
// so.
type Checks interface {
	// Run runs those that are due for a cluster that is ready, or is not. It returns
	// when ctx ends.
	Run(ctx context.Context, client *Client, ready bool) Verdict
}

// checkTimeout is how long all checks of a cluster may take in one probe. They are no
// part of the probe's own timeout: an API server that answers is not dead because
// reading a thousand objects takes longer than asking whether it lives.
const checkTimeout = 5 * time.Second

// runChecks completes the observation of a cluster whose API server is healthy.
func (p *Prober) runChecks(parent context.Context, ref Ref, checks Checks, ready bool, o *observation) {
	ctx, cancel := context.WithTimeout(withProbe(parent), checkTimeout)
	defer cancel()
	verdict := Verdict{State: ChecksUndecided, Message: "the kubeconfig could not be read"}
	if client, err := p.clusters.Client(ctx, ref, Identity{}); err == nil {
		verdict = checks.Run(ctx, client, ready)
	}
	if parent.Err() != nil {
		o.finding = finding{unknown, "the probe was canceled"}
		return
	}
	o.checks = &verdict
	switch verdict.State {
	case ChecksFailed, ChecksErred:
		o.finding = finding{unwell, verdict.Message}
	case ChecksUndecided:
		o.finding = finding{undecided, verdict.Message}
	}
}
