// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// port is a TCP port of 127.0.0.1 that belongs to the fleet from its start to
// its end, whether somebody listens on it or not: a socket that is bound and
// never listens holds it, and whoever serves on it binds the same port with
// SO_REUSEPORT (the API servers' --permit-port-sharing). While nobody serves,
// connections are refused. So two fleets that start at once cannot pick the
// same port, and a killed server finds its own again.
type port struct {
	number int
	fd     int
}

func reservePort() (*port, error) {
	// The read lock keeps a fork by another goroutine from inheriting the
	// socket before it is close-on-exec.
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	number, err := bindShared(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	return &port{number: number, fd: fd}, nil
}

func bindShared(fd int) (int, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, fmt.Errorf("setting SO_REUSEPORT: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("binding: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("reading the bound address: %w", err)
	}
	return name.(*unix.SockaddrInet4).Port, nil
}

// address is host:port.
func (p *port) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number))
}

// listen serves the port from this process.
func (p *port) listen(ctx context.Context) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		if err != nil {
			return err
		}
		return failed
	}}
	listener, err := config.Listen(ctx, "tcp4", p.address())
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", p.address(), err)
	}
	return listener, nil
}

// open lets a program listen on the port that knows nothing of sharing:
// SO_REUSEADDR, which Go sets on all listeners, is enough then. A second
// listener is refused as ever.
func (p *port) open() error {
	if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("setting SO_REUSEADDR: %w", err)
	}
	return nil
}

func (p *port) release() {
	_ = unix.Close(p.fd)
}
