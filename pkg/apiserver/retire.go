// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// watchesStay is how long watches go on when the server has begun to end: until
	// whoever leads clients here knows that it is not ready, so that they come to
	// another one. It is twice the period of the shipped readiness probe.
	watchesStay = 2 * time.Second
	// watchesLeave is the time in which they end after that, so that not all come to
	// another server at once. Both together are less than the shipped shutdown delay.
	watchesLeave = 6 * time.Second
	// watchGroups is in how many steps.
	watchGroups = 24
)

// retirement has clients leave a server that ends, while it still answers, so that
// hardly any connection is left when it stops to: each is closed with the answer to
// its next request, and watches are ended, after which their connections are used
// for requests. The client hears of it before it can send something else: a
// request that crosses with the end of its connection is lost, unless it is a
// read.
//
// That is so with HTTP/1.1. The end of an HTTP/2 connection always crosses with
// requests; there it is left to the end of the server.
type retirement struct {
	ending <-chan struct{}
	groups [watchGroups]watchGroup
	next   atomic.Uint32 // group of the next watch
}

// watchGroup are watches that end together.
type watchGroup struct {
	mu      sync.Mutex
	over    bool
	watches map[*context.CancelFunc]struct{}
}

func newRetirement(ending <-chan struct{}) *retirement {
	r := &retirement{ending: ending}
	for i := range r.groups {
		r.groups[i].watches = map[*context.CancelFunc]struct{}{}
	}
	return r
}

// add has cancel called when the group ends. One that comes later stays as long as
// the server: whoever sends it here does not know better yet.
func (g *watchGroup) add(cancel *context.CancelFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.watches[cancel] = struct{}{}
	}
}

func (g *watchGroup) remove(cancel *context.CancelFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.watches, cancel)
}

func (g *watchGroup) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	for cancel := range g.watches {
		(*cancel)()
	}
	clear(g.watches)
}

// run ends the watches, one group after the other, when the server has begun to
// end. It returns when ctx does.
func (r *retirement) run(ctx context.Context) error {
	select {
	case <-r.ending:
	case <-ctx.Done():
		return nil
	}
	wait := time.NewTimer(watchesStay)
	defer wait.Stop()
	for i := range r.groups {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return nil
		}
		r.groups[i].end()
		wait.Reset(watchesLeave / watchGroups)
	}
	<-ctx.Done()
	return nil
}

// filter is around everything else.
func (r *retirement) filter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.ProtoMajor != 1 {
			next.ServeHTTP(w, request)
			return
		}
		select {
		case <-r.ending:
			w.Header().Set("Connection", "close")
		default:
		}
		if isWatch(request) {
			ctx, cancel := context.WithCancel(request.Context())
			defer cancel()
			group := &r.groups[r.next.Add(1)%watchGroups]
			group.add(&cancel)
			defer group.remove(&cancel)
			request = request.WithContext(ctx)
		}
		next.ServeHTTP(w, request)
	})
}

// isWatch takes for a watch what asks to be one. Where the API knows no watch the
// request is none, and ends no sooner for it than it would.
func isWatch(request *http.Request) bool {
	if request.Method != http.MethodGet {
		return false
	}
	switch request.URL.Query().Get("watch") {
	case "true", "1":
		return true
	}
	return false
}
