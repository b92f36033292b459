// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Dial returns a dialer for the clients of the term with this epoch, around one that makes
// connections, such as a net.Dialer's DialContext.
//
// A write passes the gate long before its bytes reach the kernel, and a process may be stopped in
// between for longer than its lease lasts. So the gate is asked again in front of each write system
// call: it fails with ErrClosed when the deadline has passed, also if the lease was won again since,
// and when the term is over, which closes its connections. Reads' requests are bytes too, and fail
// as well: a term has clients of its own. Between Close and either of these, what was let through
// goes on.
//
// What the kernel has taken it sends, again and again if need be, for as long as it likes. So on
// Linux each write also has it give up, and drop the connection, when what is sent is not
// acknowledged before the deadline as it is then: a replica that was cut off sends nothing out of its
// buffers when a rival has the lease, whether its process runs or not.
func (g *Gate) Dial(epoch int64, dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := g.mayGoOn(epoch); err != nil {
			return nil, err
		}
		inner, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, gate: g, epoch: epoch}
		_, c.tcp = inner.(*net.TCPConn)
		if socket, ok := inner.(syscall.Conn); ok && rawWrites {
			if c.raw, err = socket.SyscallConn(); err != nil {
				_ = inner.Close()
				return nil, fmt.Errorf("connection to %s: %w", address, err)
			}
		}
		if err := g.attach(c); err != nil {
			_ = inner.Close()
			return nil, err
		}
		return c, nil
	}
}

// mayGoOn says whether what the term with this epoch has begun may still be sent.
func (g *Gate) mayGoOn(epoch int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mayGoOnLocked(epoch)
}

func (g *Gate) mayGoOnLocked(epoch int64) error {
	g.lapse()
	if g.over || g.epoch != epoch {
		return fmt.Errorf("the term with epoch %d is over: %w", epoch, ErrClosed)
	}
	return nil
}

// timeLeft is mayGoOn, and for how long: 0 is without limit.
func (g *Gate) timeLeft(epoch int64) (time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.mayGoOnLocked(epoch); err != nil || !g.leased {
		return 0, err
	}
	// Not nothing, although it may have run out since: that is no limit.
	return max(g.deadline.remaining(g.clock.Now()), 1), nil
}

func (g *Gate) attach(c *conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.mayGoOnLocked(c.epoch); err != nil {
		return err
	}
	g.conns[c] = struct{}{}
	return nil
}

func (g *Gate) detach(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// conn is a connection of one term.
type conn struct {
	net.Conn
	gate  *Gate
	epoch int64
	raw   syscall.RawConn // nil where the connection is no socket
	tcp   bool
	// patience is for how long the kernel waits for an acknowledgement, 0 for as long as it likes. Who
	// holds the socket for writing has it.
	patience time.Duration
}

// Write asks the gate in front of each system call, so also after a wait for room in the socket's
// buffer, which no check around the whole of it would.
func (c *conn) Write(p []byte) (n int, err error) {
	if c.raw == nil {
		if err := c.gate.mayGoOn(c.epoch); err != nil {
			return 0, err
		}
		return c.Conn.Write(p)
	}
	var failed error
	err = c.raw.Write(func(fd uintptr) (done bool) {
		for n < len(p) {
			left, err := c.gate.timeLeft(c.epoch)
			if err == nil {
				err = c.limit(fd, left)
			}
			if err != nil {
				failed = err
				return true
			}
			sent, err := writeSocket(fd, p[n:])
			switch err {
			case nil:
				n += sent
			case syscall.EINTR:
			case syscall.EAGAIN:
				return false // until there is room, or the connection's write deadline
			default:
				failed = &net.OpError{Op: "write", Net: c.RemoteAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
				return true
			}
		}
		return true
	})
	if failed != nil {
		err = failed
	}
	return n, err
}

// limit has the kernel wait no longer than the time that is left, and not much less than it can: each
// renewal gives more. A lease that is renewed in time costs one system call in a connection's life.
func (c *conn) limit(fd uintptr, left time.Duration) error {
	if !c.tcp || left == 0 || left/2 <= c.patience && c.patience <= left && c.patience > 0 {
		return nil
	}
	patience := left * 3 / 4
	if err := setPatience(fd, patience); err != nil {
		return fmt.Errorf("bound the time that a connection's data may stay unacknowledged: %w", err)
	}
	c.patience = patience
	return nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.gate.detach(c)
	return c.Conn.Close()
}
