// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processAt finds the one of these processes, of this user's, that has the local
// end of a connection to remote, both on this machine; 0 if none of them has.
func processAt(local, remote *net.TCPAddr, pids []int) (int, error) {
	socket, err := socketOf(local, remote)
	if err != nil || socket == "" {
		return 0, err
	}
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		files, err := os.ReadDir(dir)
		if os.IsNotExist(err) {
			continue // it has ended, and its connections with it
		}
		if err != nil {
			return 0, fmt.Errorf("reading the files of process %d: %w", pid, err)
		}
		for _, file := range files {
			// One that was closed meanwhile is none of the connection.
			if target, err := os.Readlink(filepath.Join(dir, file.Name())); err == nil && target == socket {
				return pid, nil
			}
		}
	}
	return 0, nil
}

// socketOf is the name that a process' file has if it is the local end of a
// connection to remote. It is empty if nobody has that end any more.
func socketOf(local, remote *net.TCPAddr) (string, error) {
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", fmt.Errorf("reading the connections of this machine: %w", err)
	}
	defer table.Close()
	from, to := inTable(local), inTable(remote)
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		// sl local_address rem_address st queues tr:when retrnsmt uid timeout inode
		const localField, remoteField, inodeField = 1, 2, 9
		fields := strings.Fields(lines.Text())
		if len(fields) > inodeField && fields[localField] == from && fields[remoteField] == to {
			if fields[inodeField] == "0" {
				return "", nil
			}
			return "socket:[" + fields[inodeField] + "]", nil
		}
	}
	return "", lines.Err()
}

// inTable writes an address as /proc/net/tcp does: the bytes as one number in
// the machine's order, and the port, both in hexadecimal.
func inTable(addr *net.TCPAddr) string {
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(addr.IP.To4()), addr.Port)
}
