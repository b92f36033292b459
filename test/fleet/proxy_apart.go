// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import "fmt"

// SetFor treats the connections of one process on this machine otherwise than
// all others, those that exist and those that come, until SetFor with Forward.
// It is for a replica that shares its way with others: whose connection it is
// can't be told by address, and is read from the kernel's tables. Refuse resets,
// since the port itself is everybody's. What the proxy's own mode holds back, it
// holds back from everybody.
func (p *Proxy) SetFor(pid int, mode Mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch mode {
	case Forward:
		delete(p.apart, pid)
	case Refuse, BlackHole:
		if p.apart == nil {
			p.apart = map[int]Mode{}
		}
		p.apart[pid] = mode
	default:
		return fmt.Errorf("proxy mode %q: want one of %q", mode, Modes())
	}
	for l := range p.links {
		if err := p.tellLocked(l); err != nil {
			return err
		}
	}
	p.wakeLocked()
	return nil
}

// tellLocked finds out whose a connection is, while anybody is treated
// otherwise than all, and resets it if that is how.
func (p *Proxy) tellLocked(l *link) error {
	if len(p.apart) == 0 {
		return nil
	}
	pids := make([]int, 0, len(p.apart))
	for pid := range p.apart {
		pids = append(pids, pid)
	}
	var err error
	if l.pid, err = processAt(l.peer, l.front, pids); err != nil {
		return fmt.Errorf("finding out whose a connection is: %w", err)
	}
	if p.modeLocked(l) == Refuse {
		l.reset()
	}
	return nil
}

// modeLocked is how a connection is treated.
func (p *Proxy) modeLocked(l *link) Mode {
	if mode, ok := p.apart[l.pid]; ok && p.mode == Forward {
		return mode
	}
	return p.mode
}

// rejoin treats everybody alike again.
func (p *Proxy) rejoin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.apart)
	p.wakeLocked()
}

// SetManagedFor sets the mode of one replica's ways to all managed clusters, and
// of nobody else's. It ends with the process: a replica that was started again
// has all of its ways.
func (f *Fleet) SetManagedFor(replica *Server, mode Mode) error {
	pid := replica.PID()
	if pid == 0 {
		return fmt.Errorf("%s does not run", replica.Name())
	}
	for _, c := range f.managed {
		if err := c.Proxy.SetFor(pid, mode); err != nil {
			return fmt.Errorf("%s of %s: %w", c.name, replica.Name(), err)
		}
	}
	return nil
}
