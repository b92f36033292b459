// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

// ValuesSets are values that the chart is rendered with: by name, as YAML. Every
// test of the chart goes through all of them, those on a host too.
func ValuesSets() map[string]string {
	return map[string]string{
		"defaults":       "",
		"three replicas": "replicaCount: 3",
		"an etcd of one's own": `
etcd: {endpoints: ["https://a.example.org:2379", "https://b.example.org:2379"], certificatesSecret: etcd-client}`,
		"an etcd of one's own, in clear": `
etcd: {endpoints: ["http://localhost:2379"]}
encryption: {enabled: false}`,
		"listed namespaces": `
rbac: {readNamespaces: [fleet-a, fleet-b]}`,
		"somebody else's account and rights": `
serviceAccount: {create: false, name: given}
rbac: {create: false, aggregateToUserRoles: false}
encryption: {existingSecret: my-key}
etcd: {certificatesSecret: from-cert-manager}`,
		"as little as possible": `
priorityClassName: ""
topologySpreadConstraints: []
podDisruptionBudget: {enabled: false}
networkPolicy: {enabled: false}
etcd: {replicas: 1, topologySpreadConstraints: [], podDisruptionBudget: {enabled: false}}`,
		"everything": everything,
	}
}

const everything = `
replicaCount: 3
image: {repository: registry.example.org/team/muster, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", pullPolicy: Always}
imagePullSecrets: [registry]
resources: {requests: {cpu: 2, memory: 4Gi}, limits: {memory: 8Gi}}
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}]
podDisruptionBudget: {maxUnavailable: 50%}
podLabels: {team: fleet}
podAnnotations: {note: "yes"}
securePort: 10250
hostNetwork: true
extraArgs: [--max-requests-inflight=1000, --feature-gates=AllBeta=true]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
extraVolumes: [{name: more, configMap: {name: more}}]
extraVolumeMounts: [{name: more, mountPath: /more}]
logging: {format: json, verbosity: 4}
audit: {policy: {apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}}
mirrors: [{from: "https://charts.example.org", to: "http://mirror.example.org/charts"}, {from: "oci://a.example.org/x", to: "oci://b.example.org/y"}]
sourceAddresses: {allow: [127.0.0.1, "fd00::/8"], forbid: [10.0.0.0/8, 192.0.2.7]}
installation: blue
service: {annotations: {a: b}, labels: {c: d}}
serviceAccount: {annotations: {e: f}}
serviceMonitor: {enabled: true, labels: {release: prometheus}, prometheus: {serviceAccountName: prometheus, namespace: monitoring}}
etcd:
  replicas: 5
  storage: {size: 32Gi, className: fast}
  quotaBytes: 8589934592
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]}}
  nodeSelector: {disk: ssd}
  tolerations: [{operator: Exists}]
  podLabels: {team: fleet}
  podAnnotations: {note: "yes"}
  extraArgs: [--more=x]
backup: {enabled: true, storage: {className: slow}}`
