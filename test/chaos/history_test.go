// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/test/fleet"
)

// holding is that a replica got the Lease. acquired is from when on nobody else
// may write.
type holding struct {
	identity string
	acquired time.Time
}

// history is who held a Lease, and from when on, from its beginning.
type history struct {
	host   kubernetes.Interface
	lease  string
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu       sync.Mutex
	holdings []holding // oldest first
	deleted  bool      // the Lease, since the last holding
}

func newHistory(host kubernetes.Interface, lease string) *history {
	return &history{host: host, lease: lease}
}

func (h *history) start(ctx context.Context) {
	ctx, h.cancel = context.WithCancel(ctx)
	h.ended.Go(func() {
		for ctx.Err() == nil {
			h.follow(ctx)
			// The host may be away. Nobody gets the Lease meanwhile.
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
}

func (h *history) stop() {
	h.cancel()
	h.ended.Wait()
}

// follow watches the Lease until the watch breaks.
func (h *history) follow(ctx context.Context) {
	leases := h.host.CoordinationV1().Leases(fleet.Namespace)
	only := metav1.ListOptions{FieldSelector: "metadata.name=" + h.lease}
	list, err := leases.List(ctx, only)
	if err != nil {
		return
	}
	for i := range list.Items {
		h.observe(&list.Items[i])
	}
	only.ResourceVersion = list.ResourceVersion
	watcher, err := leases.Watch(ctx, only)
	if err != nil {
		return
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		lease, ok := event.Object.(*coordinationv1.Lease)
		switch {
		case !ok:
		case event.Type == watch.Deleted:
			h.mu.Lock()
			h.deleted = true
			h.mu.Unlock()
		default:
			h.observe(lease)
		}
	}
}

func (h *history) observe(lease *coordinationv1.Lease) {
	now := holding{identity: ptr.Deref(lease.Spec.HolderIdentity, "")}
	if now.identity == "" || now.identity == nobody || lease.Spec.AcquireTime == nil {
		return // given back, or edited
	}
	now.acquired = lease.Spec.AcquireTime.Time
	h.mu.Lock()
	defer h.mu.Unlock()
	// Who finds no Lease cannot know whether the former holder has noticed that,
	// and lets a lease's duration pass.
	if h.deleted {
		h.deleted = false
		now.acquired = now.acquired.Add(leaseDuration)
		h.holdings = append(h.holdings, now)
		return
	}
	if last := len(h.holdings) - 1; last >= 0 && h.holdings[last].identity == now.identity && !now.acquired.After(h.holdings[last].acquired) {
		return // renewed
	}
	if len(h.holdings) == 0 || h.holdings[len(h.holdings)-1] != now {
		h.holdings = append(h.holdings, now)
	}
}

// all are the holdings so far.
func (h *history) all() []holding {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.holdings)
}

// write is a controller's, as an API server's audit log has it.
type write struct {
	server, identity string
	epoch            int64
	received         time.Time
	what             string
}

var userAgent = regexp.MustCompile(`^muster/(\S+) \(epoch (\d+)\)`)

// writes are all that controllers have written anywhere, in the order in which
// each API server received them. Their user agent has an identity and an epoch.
func (e *environment) writes(t *testing.T, userAgent *regexp.Regexp) map[string][]write {
	t.Helper()
	all := map[string][]write{}
	for _, c := range append(e.fleet.Clusters(), e.fleet.Host) {
		events, err := c.AuditEvents(func(event *auditv1.Event) bool {
			return fleet.IsWrite(event) && userAgent.MatchString(event.UserAgent) &&
				!strings.Contains(event.RequestURI, "dryRun=All") && !isReview(event)
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			match := userAgent.FindStringSubmatch(event.UserAgent)
			epoch, err := strconv.ParseInt(match[2], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			all[c.Name()] = append(all[c.Name()], write{
				server: c.Name(), identity: match[1], epoch: epoch,
				received: event.RequestReceivedTimestamp.Time, what: event.Verb + " " + event.RequestURI,
			})
		}
		slices.SortStableFunc(all[c.Name()], func(a, b write) int { return a.received.Compare(b.received) })
	}
	return all
}

// isReview says whether a request asks a question by creating something.
func isReview(event *auditv1.Event) bool {
	return event.ObjectRef != nil && strings.HasSuffix(event.ObjectRef.Resource, "reviews")
}

// stale says what is wrong about a server's writes: an epoch after a later one,
// or a writer when another one had the Lease.
func stale(writes []write, holdings []holding) []string {
	var found []string
	var latest int64
	for _, w := range writes {
		if w.epoch < latest {
			found = append(found, fmt.Sprintf("%s: %s by %s in epoch %d, after a write of epoch %d", w.server, w.what, w.identity, w.epoch, latest))
		}
		latest = max(latest, w.epoch)
		// The last to get the Lease before the write came.
		i, _ := slices.BinarySearchFunc(holdings, w, func(h holding, w write) int {
			return cmp.Or(h.acquired.Compare(w.received), -1)
		})
		if i > 0 && holdings[i-1].identity != w.identity {
			found = append(found, fmt.Sprintf("%s: %s by %s in epoch %d at %s, but %s had the lease since %s", w.server, w.what, w.identity, w.epoch,
				w.received.Format(time.StampMicro), holdings[i-1].identity, holdings[i-1].acquired.Format(time.StampMicro)))
		}
	}
	return found
}

// expectNothingStale reads all audit logs.
func (e *environment) expectNothingStale(t *testing.T) {
	t.Helper()
	holdings, count := e.history.all(), 0
	for server, writes := range e.writes(t, userAgent) {
		count += len(writes)
		for _, problem := range stale(writes, holdings) {
			t.Errorf("stale: %s", problem)
		}
		if len(writes) == 0 {
			t.Errorf("no write of a controller is in the audit log of %s", server)
		}
	}
	t.Logf("%d writes of controllers, %d times somebody got the lease", count, len(holdings))
}

// hostStarted says whether the host's API server was being started then: until it
// knows its roles, it forbids everything.
func (e *environment) hostStarted(at time.Time) bool {
	return slices.ContainsFunc(e.starts, func(s [2]time.Time) bool { return at.After(s[0]) && at.Before(s[1]) })
}

// expectNothingForbidden reads from the host's audit log whether Muster, or its
// etcd, ever asked for what it may not do.
func (e *environment) expectNothingForbidden(t *testing.T) {
	t.Helper()
	events, err := e.fleet.Host.AuditEvents(func(event *auditv1.Event) bool {
		return strings.HasPrefix(event.User.Username, "system:serviceaccount:"+fleet.Namespace+":") && !e.hostStarted(event.RequestReceivedTimestamp.Time) &&
			event.ResponseStatus != nil && event.ResponseStatus.Code == 403
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		t.Errorf("forbidden: %s %s by %s: %s", event.Verb, event.RequestURI, event.User.Username, event.ResponseStatus.Message)
	}
}

func TestStaleWritesAreFound(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	holdings := []holding{{"a", at(0)}, {"b", at(10)}, {"a", at(20)}}
	for name, tc := range map[string]struct {
		writes []write
		want   int
	}{
		"each in its time": {[]write{
			{identity: "a", epoch: 1, received: at(1)}, {identity: "a", epoch: 1, received: at(9)},
			{identity: "b", epoch: 2, received: at(11)}, {identity: "a", epoch: 3, received: at(21)},
		}, 0},
		"late":                   {[]write{{identity: "a", epoch: 1, received: at(11)}}, 1},
		"of an earlier epoch":    {[]write{{identity: "b", epoch: 2, received: at(12)}, {identity: "b", epoch: 1, received: at(13)}}, 1},
		"late after a later one": {[]write{{identity: "b", epoch: 2, received: at(12)}, {identity: "a", epoch: 1, received: at(13)}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if found := stale(tc.writes, holdings); len(found) != tc.want {
				t.Errorf("found %q, want %d", found, tc.want)
			}
		})
	}
}
