// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import "sync"

// ledger keeps the state file in step with the processes. Every process is
// launched through it, so that Down finds all of them whatever happens to the
// owner.
type ledger struct {
	dir string

	mu    sync.Mutex
	state State
}

// launch starts a command and records it, in place of an earlier run of the
// same command.
func (l *ledger) launch(c command) (*process, error) {
	p, err := launch(c)
	if err != nil {
		return nil, err
	}
	err = l.update(func(state *State) {
		entry := ProcessState{Name: c.name, ProcessID: p.id, Log: c.logFile()}
		for i := range state.Processes {
			if state.Processes[i].Name == c.name {
				state.Processes[i] = entry
				return
			}
		}
		state.Processes = append(state.Processes, entry)
	})
	if err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// update changes the state and writes it.
func (l *ledger) update(change func(*State)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
	return l.state.write(l.dir)
}
