// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// AuditEvents reads the API server's audit log and returns the finished
// requests that keep accepts, oldest first. The API server writes an entry
// before it answers, so a request that a client has seen the end of is there.
func (c *ControlPlane) AuditEvents(keep func(*auditv1.Event) bool) ([]auditv1.Event, error) {
	file, err := os.Open(c.AuditLog())
	if err != nil {
		return nil, fmt.Errorf("reading the audit log of %s: %w", c.name, err)
	}
	defer file.Close()
	var events []auditv1.Event
	reader := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return events, nil // what follows the last newline is still being written
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log of %s: %w", c.name, err)
		}
		var event auditv1.Event
		if err := json.Unmarshal(bytes.TrimSpace(line), &event); err != nil {
			// A killed server leaves half a line, and its successor appends to it.
			continue
		}
		if event.Stage == auditv1.StageResponseComplete && keep(&event) {
			events = append(events, event)
		}
	}
}

// IsWrite is a filter for AuditEvents: requests that change something.
func IsWrite(event *auditv1.Event) bool {
	switch event.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return event.ResponseStatus != nil && event.ResponseStatus.Code < 300
	default:
		return false
	}
}
