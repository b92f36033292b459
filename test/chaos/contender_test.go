// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/controllers/term"
	"github.com/muster-project/muster/test/fleet"
)

// writePeriod is the time between two writes of a leader: short beside the margin
// of a lease.
const writePeriod = 100 * time.Millisecond

// contender is what makes a replica lead, with clocks that are its own: the
// shipped elector, gate and terms, and controllers that write all the time.
type contender struct {
	contest, identity string
	machine           *machine
	gate              *term.Gate
	way               *leaseWay
	servers           map[string]*rest.Config
	end               context.CancelFunc

	mu   sync.Mutex
	last int64         // epoch that it has written in
	held chan struct{} // writes wait until it is closed; nil if they need not
}

// contend starts two contenders for a new Lease of that name.
func (e *environment) contend(t *testing.T, name string) *contest {
	t.Helper()
	c := &contest{name: name, history: newHistory(e.host, name)}
	c.history.start(context.WithoutCancel(t.Context()))
	t.Cleanup(func() { c.stop(t) }) // a test that failed in between has not stopped it
	servers := map[string]*rest.Config{}
	for _, s := range append(e.fleet.Clusters(), e.fleet.Host) {
		config, err := s.RESTConfig()
		if err != nil {
			t.Fatal(err)
		}
		servers[s.Name()] = config
	}
	target := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, client := range []kubernetes.Interface{e.host, e.managed["cluster1"]} {
		if _, err := client.CoreV1().ConfigMaps(contentNamespace).Create(t.Context(), target, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var epochs epochCounter
	for i := range 2 {
		contender := &contender{contest: name, identity: fmt.Sprintf("contender-%d", i), machine: newMachine(), servers: servers}
		elector, err := contender.elector(&epochs)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(klog.NewContext(context.WithoutCancel(t.Context()), klog.Logger{}))
		contender.end = cancel
		c.contenders = append(c.contenders, contender)
		c.running.Go(func() error {
			err := elector.Run(ctx)
			if err == nil && ctx.Err() == nil {
				err = fmt.Errorf("%s: the elector ended by itself", contender.identity)
			}
			return err
		})
	}
	return c
}

// epochCounter stands for the one in etcd, which has tests of its own.
type epochCounter struct {
	mu   sync.Mutex
	last int64
}

func (c *epochCounter) raise(context.Context) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	return c.last, nil
}

// elector assembles a contender as a server does it.
func (c *contender) elector(epochs *epochCounter) (*term.Elector, error) {
	lease := "/apis/coordination.k8s.io/v1/namespaces/" + fleet.Namespace + "/leases/" + c.contest
	c.gate = term.NewGate(term.GateOptions{Leased: true, LeasePaths: []string{lease}, Clock: c.machine})
	config := rest.CopyConfig(c.servers["host"])
	config.NextProtos = []string{"http/1.1"}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		c.way = &leaseWay{next: next}
		return c.way
	})
	config.Wrap(c.gate.Wrap)
	leases, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return term.NewElector(term.ElectorOptions{
		Leases: leases.CoordinationV1(), Namespace: fleet.Namespace, Name: c.contest, Identity: c.identity, Gate: c.gate,
		Runner: term.NewRunner(term.RunnerOptions{Gate: c.gate, RaiseEpoch: epochs.raise, NewTerm: c.newTerm}),
		Timing: term.DefaultTiming(),
	})
}

// starter is a term's controllers.
type starter func(context.Context) error

func (s starter) Start(ctx context.Context) error { return s(ctx) }

// newTerm makes the clients of a term as controllers do: what they send passes the
// gate as a request, and again as bytes on a connection.
func (c *contender) newTerm(_ context.Context, t term.Term) (term.Starter, error) {
	clients := map[string]kubernetes.Interface{}
	for name, server := range c.servers {
		config := rest.CopyConfig(server)
		config.UserAgent = fmt.Sprintf("%s/%s (epoch %d)", c.contest, c.identity, t.Epoch)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &holdable{contender: c, next: next} })
		config.Wrap(c.gate.Wrap)
		config.Dial = c.gate.Dial(t.Epoch, (&net.Dialer{}).DialContext)
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		clients[name] = client
	}
	return starter(func(ctx context.Context) error {
		var writing sync.WaitGroup
		for _, server := range []string{"host", "cluster1"} {
			writing.Go(func() { c.work(ctx, clients[server], t.Epoch) })
		}
		writing.Wait()
		return nil
	}), nil
}

// work writes until the term ends, and notices nothing else of its end.
func (c *contender) work(ctx context.Context, client kubernetes.Interface, epoch int64) {
	for ctx.Err() == nil {
		patch := []byte(fmt.Sprintf(`{"data":{"at":%q}}`, time.Now().Format(time.StampMicro)))
		_, err := client.CoreV1().ConfigMaps(contentNamespace).Patch(context.WithoutCancel(ctx), c.contest, types.MergePatchType, patch, metav1.PatchOptions{})
		if err == nil {
			c.mu.Lock()
			c.last = max(c.last, epoch)
			c.mu.Unlock()
		}
		select {
		case <-time.After(writePeriod):
		case <-ctx.Done():
		}
	}
}

// lastEpoch is the epoch of the last term that it wrote in, 0 if there is none.
func (c *contender) lastEpoch() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// hold keeps writes that have passed the gate from being sent, until release.
func (c *contender) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = make(chan struct{})
}

func (c *contender) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		close(c.held)
		c.held = nil
	}
}

func (c *contender) heldUntil() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// holdable is where writes wait. It does not look at their context: nothing runs
// on a machine that is suspended.
type holdable struct {
	contender *contender
	next      http.RoundTripper
}

func (h *holdable) RoundTrip(request *http.Request) (*http.Response, error) {
	if held := h.contender.heldUntil(); held != nil {
		<-held
	}
	return h.next.RoundTrip(request)
}
