// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// roundRobin stands for the Service in front of several replicas, and for the
// kubelets behind it: each new connection goes to the next of the endpoints that
// were ready when they were last probed, whether they still are or not, and
// existing connections stay where they are.
type roundRobin struct {
	*Proxy
	probe  *corev1.Probe
	client *http.Client

	cancel  context.CancelFunc
	probing sync.WaitGroup

	mu        sync.Mutex
	endpoints []*endpoint
	watching  context.Context // ends the probes; nil before start
	next      int
}

// endpoint is a replica as its probes see it.
type endpoint struct {
	address string
	check   func(context.Context) error

	mu       sync.Mutex
	ready    bool
	failures int32 // in a row
}

// newRoundRobin makes a round-robin that serves once it was started.
func newRoundRobin(front *port, addresses []string, probe *corev1.Probe) (*roundRobin, error) {
	if probe.HTTPGet == nil || probe.HTTPGet.Scheme != corev1.URISchemeHTTPS {
		return nil, fmt.Errorf("the readiness probe of the Deployment is no HTTPS request")
	}
	r := &roundRobin{probe: probe}
	r.Proxy = newProxyTo(front, r.pick)
	// As a kubelet does it: a connection for each probe, and no look at the
	// certificate.
	r.client = &http.Client{
		Timeout: seconds(probe.TimeoutSeconds, 1),
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		},
	}
	for _, address := range addresses {
		r.add(address)
	}
	return r, nil
}

// add makes one endpoint more. One that goes is not ready any more, and stays.
func (r *roundRobin) add(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &endpoint{address: address, check: checkWith(r.client, "https://"+address+r.probe.HTTPGet.Path)}
	r.endpoints = append(r.endpoints, e)
	if ctx := r.watching; ctx != nil {
		r.probing.Go(func() { r.watch(ctx, e) })
	}
}

// seconds is a probe's duration, with the default of the Kubernetes API.
func seconds(value, otherwise int32) time.Duration {
	return time.Duration(cmp.Or(value, otherwise)) * time.Second
}

// start probes and serves until stop.
func (r *roundRobin) start(ctx context.Context) error {
	r.mu.Lock()
	r.watching, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, e := range r.endpoints {
		r.probing.Go(func() { r.watch(r.watching, e) })
	}
	r.mu.Unlock()
	return r.Set(ctx, Forward)
}

func (r *roundRobin) stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.probing.Wait()
	r.close()
}

// watch probes one endpoint once in each period.
func (r *roundRobin) watch(ctx context.Context, e *endpoint) {
	ticker := time.NewTicker(seconds(r.probe.PeriodSeconds, 10))
	defer ticker.Stop()
	for {
		e.observe(e.check(ctx), cmp.Or(r.probe.FailureThreshold, 3))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (e *endpoint) observe(err error, threshold int32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		e.ready, e.failures = true, 0
		return
	}
	e.failures++
	if e.failures >= threshold {
		e.ready = false
	}
}

func (e *endpoint) isReady() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ready
}

// pick is the next endpoint; false if none is ready.
func (r *roundRobin) pick() (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.endpoints {
		e := r.endpoints[r.next%len(r.endpoints)]
		r.next++
		if e.isReady() {
			return e.address, true
		}
	}
	return "", false
}
