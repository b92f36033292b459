// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
)

const (
	// readTimeout is how long a member may take for a read and still be called ready: an election, and
	// less than a kubelet waits by what the chart says.
	readTimeout = 4 * time.Second

	healthShutdown = time.Second
)

// health answers for the member, also while it has no etcd: a member that waits for others is alive.
type health struct {
	mu     sync.Mutex
	server *etcdserver.EtcdServer // nil while it does not serve
	reason string                 // why server is nil
}

func (h *health) waiting(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.server, h.reason = nil, reason
}

func (h *health) serving(server *etcdserver.EtcdServer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.server, h.reason = server, ""
}

// ready is nil if the member answers reads that are linearizable, which takes a majority.
func (h *health) ready(ctx context.Context) error {
	h.mu.Lock()
	server, reason := h.server, h.reason
	h.mu.Unlock()
	if server == nil {
		return errors.New(reason)
	}
	if server.IsLearner() {
		return errors.New("catching up with the cluster")
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if _, err := server.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("/"), CountOnly: true}); err != nil {
		return fmt.Errorf("no majority of the cluster is up: %w", err)
	}
	return nil
}

// serve answers on a listener, which it closes, until ctx ends.
func (h *health) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, h.ready(r.Context())) })
	mux.Handle("GET /metrics", promhttp.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: readTimeout}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthShutdown)
		defer cancel()
		_ = server.Shutdown(stopping) // a probe that hangs is cut
	}()
	err := server.Serve(listener)
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("health address %s: %w", listener.Addr(), err)
	}
	<-done
	return nil
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
