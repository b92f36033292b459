// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Mode is what a Proxy does with connections.
type Mode string

// The modes of a Proxy.
const (
	// Forward passes bytes both ways.
	Forward Mode = "forward"
	// Refuse is a dead process: the port refuses connections, and those that
	// existed are reset.
	Refuse Mode = "refuse"
	// BlackHole is a dead network: connections are accepted and nothing ever
	// comes back, on existing ones neither. What was on its way goes on when
	// the mode changes, as TCP would have it.
	BlackHole Mode = "blackhole"
)

// Modes lists all modes.
func Modes() []Mode { return []Mode{Forward, Refuse, BlackHole} }

// dialTimeout bounds the proxy's own connection to a server on loopback.
const dialTimeout = 5 * time.Second

// Proxy forwards a TCP port of loopback to another address and misbehaves on
// request. It is safe for concurrent use. A change of mode is in force when
// Set returns.
type Proxy struct {
	front *port
	// backend is asked for each connection where it leads to; false resets it.
	backend func() (address string, ok bool)

	// running counts the accept loop and the connections.
	running sync.WaitGroup

	mu       sync.Mutex
	mode     Mode
	delay    time.Duration
	changed  chan struct{} // closed, and replaced, when mode or delay change
	listener net.Listener  // nil while connections are refused
	links    map[*link]struct{}
	apart    map[int]Mode // of the processes that are treated otherwise than all
	closed   bool
}

// newProxy makes a proxy that serves once Set was called.
func newProxy(front *port, backend string) *Proxy {
	return newProxyTo(front, func() (string, bool) { return backend, true })
}

// newProxyTo is newProxy with a backend for each connection.
func newProxyTo(front *port, backend func() (string, bool)) *Proxy {
	return &Proxy{
		front:   front,
		backend: backend,
		changed: make(chan struct{}),
		links:   map[*link]struct{}{},
	}
}

// Address is host:port that clients connect to.
func (p *Proxy) Address() string { return p.front.address() }

// Mode is the current mode.
func (p *Proxy) Mode() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

// Connections counts the connections that are open, stalled ones among them.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Set changes the mode.
func (p *Proxy) Set(ctx context.Context, mode Mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	switch mode {
	case Forward, BlackHole:
		if err := p.openLocked(ctx); err != nil {
			return err
		}
	case Refuse:
		p.closeLocked()
		p.cutLocked()
	default:
		return fmt.Errorf("proxy mode %q: want one of %q", mode, Modes())
	}
	p.mode = mode
	p.wakeLocked()
	return nil
}

// Delay holds every piece of data back for d in each direction, and every new
// connection too; zero ends that. Pieces are not sent side by side, so the
// bandwidth of a connection drops as well.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
	p.wakeLocked()
}

// Cut resets all connections that exist. New ones are treated by the mode.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

// close ends the proxy and waits for its goroutines.
func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.closeLocked()
	p.cutLocked()
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) wakeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) openLocked(ctx context.Context) error {
	if p.listener != nil {
		return nil
	}
	listener, err := p.front.listen(ctx)
	if err != nil {
		return fmt.Errorf("opening the proxy: %w", err)
	}
	p.listener = listener
	p.running.Go(func() { p.accept(listener) })
	return nil
}

func (p *Proxy) closeLocked() {
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

func (p *Proxy) cutLocked() {
	for l := range p.links {
		l.reset()
	}
	clear(p.links)
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the peer gave up before it was accepted
		}
		p.running.Go(func() { p.serve(listener, conn.(*net.TCPConn)) })
	}
}

// serve connects one client to the backend and returns when that is over.
func (p *Proxy) serve(listener net.Listener, client *net.TCPConn) {
	l := newLink(client)
	defer p.drop(l)
	if !p.admit(listener, l) || !p.pass(l) {
		return
	}
	address, ok := p.backend()
	if !ok {
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return
	}
	backend := conn.(*net.TCPConn)
	if !l.connect(backend) {
		return
	}
	var upstream sync.WaitGroup
	upstream.Go(func() { p.copy(l, backend, client) })
	p.copy(l, client, backend)
	upstream.Wait()
}

// admit registers a connection, unless the listener that accepted it was
// closed meanwhile: it is reset then, as those still in the kernel's queue are.
func (p *Proxy) admit(listener net.Listener, l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != listener {
		return false
	}
	p.links[l] = struct{}{}
	return p.tellLocked(l) == nil
}

func (p *Proxy) drop(l *link) {
	l.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// copy moves bytes one way until the source ends or fails. An end is passed
// on as an end, since the other direction may live on; a failure as a reset.
func (p *Proxy) copy(l *link, to, from *net.TCPConn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.pass(l) {
			return
		}
		if n > 0 {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				l.reset()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		case err != nil:
			l.reset()
			return
		}
	}
}

// pass waits for as long as the mode and the delay hold data back. It is
// false when the connection was reset meanwhile.
func (p *Proxy) pass(l *link) bool {
	var delayed <-chan time.Time
	started := time.Now()
	for {
		p.mu.Lock()
		mode, delay, changed := p.modeLocked(l), p.delay, p.changed
		p.mu.Unlock()
		rest := delay - time.Since(started)
		if mode != BlackHole && rest <= 0 {
			return !l.isReset()
		}
		delayed = nil
		if mode != BlackHole {
			delayed = time.After(rest)
		}
		select {
		case <-changed:
		case <-delayed:
		case <-l.done:
			return false
		}
	}
}

// link is one client's connection and, once it was dialled, its continuation
// to the backend.
type link struct {
	done        chan struct{} // closed by reset
	peer, front *net.TCPAddr  // the client's end, and ours

	pid int // the client, where it had to be known; the proxy's lock guards it

	mu      sync.Mutex
	client  *net.TCPConn
	backend *net.TCPConn
}

func newLink(client *net.TCPConn) *link {
	return &link{
		client: client, done: make(chan struct{}),
		peer: client.RemoteAddr().(*net.TCPAddr), front: client.LocalAddr().(*net.TCPAddr),
	}
}

func (l *link) isReset() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// connect adds the backend's connection, or closes it where the link was
// reset while it was dialled.
func (l *link) connect(backend *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isReset() {
		abort(backend)
		return false
	}
	l.backend = backend
	return true
}

func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isReset() {
		return
	}
	close(l.done)
	abort(l.client)
	if l.backend != nil {
		abort(l.backend)
	}
}

// abort closes with a reset instead of an orderly end.
func abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
