// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/user"
)

const (
	// perSecond and burst are how many diffs one user may ask for.
	perSecond = 1
	burst     = 10
	// atOncePerUser and atOnce are how many of one user and of all users may be under way
	// at the same time. Each may render charts.
	atOncePerUser = 2
	atOnce        = 8
	// users is how many of them are remembered, for longer than a bucket takes to fill.
	users    = 4096
	remember = time.Minute
)

// Rates limit how many diffs users may ask for. They are safe for concurrent use.
type Rates struct {
	mu      sync.Mutex
	buckets *utilcache.LRUExpireCache
	running map[string]int
	all     int
}

// NewRates returns rates of which nobody has used anything.
func NewRates() *Rates {
	return &Rates{buckets: utilcache.NewLRUExpireCache(users), running: map[string]int{}}
}

// enter begins a diff of a user, who calls leave when it has ended. leave is nil if there
// are too many; then it may be tried again after as many seconds as wait says.
func (r *Rates) enter(who user.Info) (leave func(), wait int) {
	name := ""
	if who != nil {
		name = who.GetName()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= atOnce || r.running[name] >= atOncePerUser {
		return nil, 2
	}
	if !r.bucket(name).Allow() {
		return nil, 1
	}
	r.all++
	r.running[name]++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all--
		if r.running[name]--; r.running[name] == 0 {
			delete(r.running, name)
		}
	}), 0
}

func (r *Rates) bucket(name string) *rate.Limiter {
	found, ok := r.buckets.Get(name)
	if !ok {
		found = rate.NewLimiter(perSecond, burst)
	}
	bucket := found.(*rate.Limiter)
	r.buckets.Add(name, bucket, remember)
	return bucket
}
