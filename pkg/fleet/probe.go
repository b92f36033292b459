// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

const (
	// inspectEvery is how often version and identity are read from a cluster
	// whose connection has not changed.
	inspectEvery = time.Minute
	// recheckEvery is how often the Secret is read again of a cluster that
	// refuses the credentials, or that has none that can be used. Whoever knows
	// that a Secret changed calls ProbeNow; this is for changes that nobody saw.
	recheckEvery = 30 * time.Second
	// stall is how much later than its timeout a probe may end. One that ends
	// later was not scheduled: this process was stopped, or starved, and has
	// no right to blame the cluster.
	stall = time.Second
)

// probeMemory is what a target's probes know of the ones before.
type probeMemory struct {
	connection *connection // the latest probe's: another one has other credentials
	dials      int64       // of connection when it was inspected
	inspected  time.Time
	rechecked  time.Time
	// versionOnly: /readyz is forbidden or unknown there.
	versionOnly bool
	// unread: the host could not be asked for the credentials, and said so.
	unread bool
}

// look probes a cluster once. It returns within about the timeout, or earlier
// if ctx ends, and then knows nothing.
func (p *Prober) look(ctx context.Context, ref Ref, memory *probeMemory) observation {
	connection, err := p.connect(ctx, ref)
	if invalid := asCredentialsError(err); invalid != nil {
		return observation{finding: finding{refused, invalid.Message}, unasked: true}
	}
	if err != nil {
		// Said once per spell: the host is down for all clusters alike.
		if !memory.unread && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Cannot read the kubeconfig; the cluster's health is unknown", "cluster", ref.String())
			memory.unread = true
		}
		return observation{}
	}
	memory.unread = false
	if memory.connection != connection {
		*memory = probeMemory{connection: connection, rechecked: memory.rechecked}
	}
	o := p.examine(ctx, connection, memory)
	o.credentials = connection.version
	if o.outcome == refused && time.Since(memory.rechecked) >= recheckEvery {
		memory.rechecked = time.Now()
		if err := p.recheck(ctx, connection); err != nil {
			klog.FromContext(ctx).V(2).Info("Cannot look for newer credentials", "cluster", ref.String(), "err", err)
		}
	}
	return o
}

// connect reads credentials on a budget of its own: a slow host must not pass
// for a slow cluster.
func (p *Prober) connect(ctx context.Context, ref Ref) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	return p.clusters.connection(ctx, ref)
}

func (p *Prober) recheck(ctx context.Context, connection *connection) error {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	return p.clusters.recheck(ctx, connection)
}

// examine asks the cluster, all questions within one timeout.
func (p *Prober) examine(parent context.Context, connection *connection, memory *probeMemory) observation {
	ctx, cancel := context.WithTimeout(withProbe(parent), p.options.Timeout)
	defer cancel()
	started := time.Now()

	inspect := memory.inspected.IsZero() || time.Since(memory.inspected) >= inspectEvery
	if inspect {
		memory.versionOnly = false
	}
	o, err := readiness(ctx, connection, memory)
	// Counted after the answer, since this very probe may have connected anew,
	// and before the identity is read, which may be over a newer one still.
	dials := connection.dials.Load()
	inspect = inspect || memory.dials != dials
	if err == nil && o.outcome == healthy && inspect {
		err = identify(ctx, connection, &o)
	}
	if err != nil {
		o.finding = p.judge(parent, err, connection, time.Since(started))
	}
	switch {
	case o.outcome == healthy && inspect:
		memory.inspected, memory.dials = time.Now(), dials
		p.clusters.trim(connection.ref)
	case o.outcome == unreachable || o.outcome == unwell:
		// What comes back may be something else, even behind the same proxy.
		memory.inspected = time.Time{}
	}
	return o
}

// readiness asks /readyz or, where that can't be had, /version, which any
// client may read by default.
func readiness(ctx context.Context, connection *connection, memory *probeMemory) (observation, error) {
	if !memory.versionOnly {
		status, body, err := connection.get(ctx, "/readyz", "*/*")
		if err != nil {
			return observation{}, err
		}
		if status != http.StatusForbidden && status != http.StatusNotFound {
			f := classifyStatus(status, "/readyz")
			if f.outcome == unwell {
				f.message += failedChecks(body)
			}
			return observation{finding: f}, nil
		}
	}
	version, err := connection.serverVersion(ctx)
	if err != nil {
		return observation{}, err
	}
	memory.versionOnly = true
	return observation{finding: finding{outcome: healthy}, version: version}, nil
}

// identify completes the observation of a healthy cluster by version and
// identity, unless reading them is forbidden, which is no failure.
func identify(ctx context.Context, connection *connection, o *observation) error {
	var err error
	if o.version == "" {
		if o.version, err = connection.serverVersion(ctx); err != nil && !answered(err) {
			return err
		}
	}
	if o.id, err = connection.clusterID(ctx); err != nil && !answered(err) {
		return err
	}
	if err != nil {
		klog.FromContext(ctx).V(2).Info("The cluster's identity cannot be read", "cluster", connection.ref.String(), "err", err)
	}
	return nil
}

// answered reports whether err is an answer that is no 5xx.
func answered(err error) bool {
	var answer *errAnswer
	return errors.As(err, &answer) && answer.status < 500
}

// judge says what a failed probe proves.
func (p *Prober) judge(parent context.Context, err error, connection *connection, took time.Duration) finding {
	var answer *errAnswer
	if errors.As(err, &answer) {
		if answer.status == http.StatusOK {
			return finding{refused, answer.Error() + ": the kubeconfig's server is no API server"}
		}
		return classifyStatus(answer.status, answer.path)
	}
	if parent.Err() != nil {
		return finding{unknown, "the probe was canceled"}
	}
	f := classifyError(err, connection.address)
	if f.outcome != unreachable || !isTimeout(err) {
		return f
	}
	if took > p.options.Timeout+stall {
		return finding{unknown, "this process was stopped or starved"}
	}
	connection.breaker.timedOut()
	f.message = fmt.Sprintf("no answer from %s within %s", connection.address, p.options.Timeout)
	return f
}

// failedCheck is a line of /readyz's answer about a check that failed.
var failedCheck = regexp.MustCompile(`(?m)^\[-\]([A-Za-z0-9./-]{1,63}) failed`)

// failedChecks returns ": etcd, informer-sync" for what such lines of an
// answer say, at most five of them, sorted to be stable.
func failedChecks(body []byte) string {
	var names []string
	for _, line := range failedCheck.FindAllSubmatch(body, 5) {
		names = append(names, string(line[1]))
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return ": " + strings.Join(names, ", ")
}
