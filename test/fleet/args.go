// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"net"
	"path/filepath"
)

// frontProxyName is the one client certificate whose bearer may say who its
// callers are.
const frontProxyName = "front-proxy-client"

// serviceIP is the first address of --service-cluster-ip-range, that of the
// Service "kubernetes".
var serviceIP = net.IPv4(10, 0, 0, 1)

// auditPolicy logs who did what, without bodies. What the control plane reads
// for itself is left out: it is most of the volume and proves nothing.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  verbs: [get, list, watch]
  users: ["system:apiserver", "system:kube-controller-manager", "system:anonymous"]
- level: None
  verbs: [get, list, watch]
  userGroups: ["system:serviceaccounts:kube-system"]
- level: None
  nonResourceURLs: ["/livez*", "/readyz*", "/healthz*", "/openapi*"]
- level: Metadata
`

// prefix is where this generation of the control plane keeps its objects in
// the shared etcd.
func (c *ControlPlane) prefix() string {
	return fmt.Sprintf("/%s-%d", c.name, c.generation)
}

func (c *ControlPlane) apiserverCommand() command {
	return command{
		name: c.name + "-kube-apiserver",
		path: filepath.Join(c.bin, "kube-apiserver"),
		dir:  c.dir,
		args: []string{
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", c.api.number),
			"--permit-port-sharing=true",
			"--tls-cert-file=" + c.file("serving.crt"),
			"--tls-private-key-file=" + c.file("serving.key"),
			"--etcd-servers=" + c.etcd,
			"--etcd-prefix=" + c.prefix(),
			"--client-ca-file=" + c.file("client-ca.crt"),
			"--authorization-mode=RBAC",
			// Aggregation needs all of these; with one missing the API server
			// starts and the aggregator stays silent.
			"--requestheader-client-ca-file=" + c.file("front-proxy-ca.crt"),
			"--requestheader-allowed-names=" + frontProxyName,
			"--requestheader-username-headers=X-Remote-User",
			"--requestheader-uid-headers=X-Remote-Uid",
			"--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=" + c.file("front-proxy.crt"),
			"--proxy-client-key-file=" + c.file("front-proxy.key"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + c.file("service-account.key"),
			"--service-account-signing-key-file=" + c.file("service-account.key"),
			"--service-cluster-ip-range=10.0.0.0/24",
			// The endpoints of Service "kubernetes" may not be loopback.
			"--endpoint-reconciler-type=none",
			"--audit-policy-file=" + c.file("audit-policy.yaml"),
			"--audit-log-path=" + c.AuditLog(),
			"--audit-log-maxsize=200",
			"--audit-log-maxbackup=1",
			"--profiling=false",
		},
	}
}

func (c *ControlPlane) managerCommand() command {
	return command{
		name: c.name + "-kube-controller-manager",
		path: filepath.Join(c.bin, "kube-controller-manager"),
		dir:  c.dir,
		args: []string{
			"--kubeconfig=" + c.file("manager.kubeconfig"),
			// There are no nodes; these two would only complain.
			"--controllers=*,-nodeipam,-nodelifecycle",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + c.file("service-account.key"),
			"--root-ca-file=" + c.file("serving-ca.crt"),
			"--leader-elect=false",
			"--secure-port=0",
			"--profiling=false",
		},
	}
}
