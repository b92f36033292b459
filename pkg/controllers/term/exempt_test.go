// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

const leasePath = "/apis/coordination.k8s.io/v1/namespaces/projectsveltos/leases/muster"

func TestWhatPassesAClosedGate(t *testing.T) {
	const (
		authz = "/apis/authorization.k8s.io/v1"
		authn = "/apis/authentication.k8s.io/v1"
	)
	for _, tc := range []struct {
		request string // "METHOD target", and a header
		passes  bool
	}{
		{"GET " + configMaps, true},
		{"HEAD " + configMaps, true},
		{"OPTIONS " + configMaps, true},
		{"GET " + configMaps + "?watch=true", true},
		{"POST " + configMaps, false},
		{"PUT " + configMaps + "/x", false},
		{"PATCH " + configMaps + "/x", false},
		{"DELETE " + configMaps + "/x", false},
		{"PURGE " + configMaps + "/x", false},
		{"GET /api/v1/namespaces/ns/pods/p/exec?command=rm Upgrade", false},

		{"POST " + authz + "/subjectaccessreviews", true},
		{"POST " + authz + "/selfsubjectaccessreviews", true},
		{"POST " + authz + "/selfsubjectrulesreviews", true},
		{"POST " + authz + "/namespaces/ns/localsubjectaccessreviews", true},
		{"POST " + authn + "/tokenreviews", true},
		{"POST " + authn + "/selfsubjectreviews", true},
		{"POST /k8s/clusters/c-1" + authz + "/subjectaccessreviews", true},
		{"POST /api/proxy/c-1" + authz + "/subjectaccessreviews", true},
		{"PUT " + authz + "/subjectaccessreviews", false},
		{"POST " + authz + "/subjectaccessreviews/x", false},
		{"POST /apis/other.io/v1/subjectaccessreviews", false},
		{"POST " + authn + "/subjectaccessreviews", false},
		{"POST /api/v1/subjectaccessreviews", false},

		{"POST " + configMaps + "?dryRun=All", true},
		{"PUT " + configMaps + "/x?dryRun=All", true},
		{"PATCH " + configMaps + "/x?dryRun=All&fieldManager=m", true},
		{"PATCH /k8s/clusters/c-1" + configMaps + "/x?dryRun=All", true},
		{"PATCH /apis/apps/v1/namespaces/proxy/deployments/exec?dryRun=All", true},
		{"PATCH /api/v1/namespaces/ns?dryRun=All", true},
		{"PATCH /api/v1/nodes/n?dryRun=All", true},
		{"POST " + configMaps + "?dryRun=", false},
		{"POST " + configMaps + "?dryRun=None", false},
		{"POST " + configMaps + "?dryRun=All&dryRun=x", false},
		{"POST " + configMaps + "?dryrun=All", false},
		// Options in a DELETE's body make an API server ignore its query.
		{"DELETE " + configMaps + "/x?dryRun=All", false},
		// Nothing that connects to something else knows a dry run.
		{"POST /api/v1/namespaces/ns/pods/p/exec?dryRun=All", false},
		{"POST /api/v1/namespaces/ns/pods/p/attach?dryRun=All", false},
		{"POST /api/v1/namespaces/ns/pods/p/portforward?dryRun=All", false},
		{"POST /api/v1/namespaces/ns/services/s/proxy/admin/delete?dryRun=All", false},
		{"POST /k8s/clusters/c-1/api/v1/nodes/n/proxy/run?dryRun=All", false},
		{"POST /api/clusters/c-1/api/v1/namespaces/ns/pods/p/exec?dryRun=All", false},
		{"POST /somewhere/else?dryRun=All", false},

		{"PUT " + leasePath, true},
		{"PATCH " + leasePath, true},
		{"POST " + strings.TrimSuffix(leasePath, "/muster"), true},
		{"DELETE " + leasePath, false},
		{"PUT " + leasePath + "-other", false},
		{"PUT " + leasePath + "/status", false},
		{"POST " + leasePath, false},
		{"POST /apis/coordination.k8s.io/v1/namespaces/other/leases", false},
	} {
		t.Run(tc.request, func(t *testing.T) {
			fields := strings.Fields(tc.request)
			req := newRequest(t, fields[0], fields[1])
			for _, header := range fields[2:] {
				req.Header.Set(header, "websocket")
			}
			behind := &server{}
			gate := NewGate(GateOptions{LeasePaths: []string{leasePath}})
			_, err := gate.Wrap(behind).RoundTrip(req)
			if passed := len(behind.requests()) == 1; passed != tc.passes {
				t.Errorf("passed: %v (%v), want %v", passed, err, tc.passes)
			}
			if !tc.passes && !errors.Is(err, ErrClosed) {
				t.Errorf("error %v, want ErrClosed", err)
			}
		})
	}
}

// closing is a request's body that notes whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

func TestARefusedRequestsBodyIsClosed(t *testing.T) {
	req := newRequest(t, http.MethodPost, configMaps)
	body := &closing{Reader: strings.NewReader("{}")}
	req.Body = body
	if _, err := NewGate(GateOptions{}).Wrap(&server{}).RoundTrip(req); !errors.Is(err, ErrClosed) {
		t.Fatalf("error %v, want ErrClosed", err)
	}
	if !body.closed {
		t.Error("the body was left open")
	}
	req.Body = nil
	if _, err := NewGate(GateOptions{}).Wrap(&server{}).RoundTrip(req); !errors.Is(err, ErrClosed) {
		t.Fatalf("without a body: error %v, want ErrClosed", err)
	}
}
