{{/*
Names do not carry the release's: a host has one Muster, because an API group
has one owner. Helm itself refuses a second release, whose objects exist.
*/}}

{{- define "muster.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end -}}
{{- end -}}
{{- end }}

{{/* Labels of everything. The component tells Pods apart. */}}
{{- define "muster.labels" -}}
app.kubernetes.io/name: muster
app.kubernetes.io/part-of: muster
{{- end }}

{{- define "muster.serverSelector" -}}
app.kubernetes.io/name: muster
app.kubernetes.io/component: server
{{- end }}

{{- define "muster.etcdSelector" -}}
app.kubernetes.io/name: muster
app.kubernetes.io/component: etcd
{{- end }}

{{/* Whether the chart runs etcd itself: "true" or nothing. */}}
{{- define "muster.ownEtcd" -}}
{{- if not .Values.etcd.endpoints }}true{{ end -}}
{{- end }}

{{- define "muster.etcdServers" -}}
{{- if .Values.etcd.endpoints -}}
{{- join "," .Values.etcd.endpoints -}}
{{- else -}}
{{- $servers := list -}}
{{- range $i := until (int .Values.etcd.replicas) -}}
{{- $servers = append $servers (printf "https://muster-etcd-%d.muster-etcd.%s.svc:2379" $i $.Release.Namespace) -}}
{{- end -}}
{{- join "," $servers -}}
{{- end -}}
{{- end }}

{{- define "muster.etcdPeers" -}}
{{- $peers := list -}}
{{- range $i := until (int .Values.etcd.replicas) -}}
{{- $peers = append $peers (printf "muster-etcd-%d=https://muster-etcd-%d.muster-etcd.%s.svc:2380" $i $i $.Release.Namespace) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end }}

{{/*
What the certificate for etcd names: every member there may ever be, so that
more members need no new one. Members look each other's names up and compare
addresses, for which a wildcard would need reverse look-ups.
*/}}
{{- define "muster.etcdNames" -}}
{{- $names := list (printf "muster-etcd.%s.svc" .Release.Namespace) -}}
{{- range $i := until 5 -}}
{{- $names = append $names (printf "muster-etcd-%d.muster-etcd.%s.svc" $i $.Release.Namespace) -}}
{{- end -}}
{{- join "," (concat $names (list "localhost" "127.0.0.1" "::1")) -}}
{{- end }}

{{/* The Secret with the certificates for etcd; nothing where etcd needs none. */}}
{{- define "muster.etcdSecret" -}}
{{- if .Values.etcd.certificatesSecret -}}
{{- .Values.etcd.certificatesSecret -}}
{{- else if include "muster.ownEtcd" . -}}
muster-etcd-certificates
{{- end -}}
{{- end }}

{{- define "muster.etcdClientArgs" -}}
- --etcd-servers={{ include "muster.etcdServers" . }}
{{- if include "muster.etcdSecret" . }}
- --etcd-cafile=/etc/muster/etcd/ca.crt
- --etcd-certfile=/etc/muster/etcd/tls.crt
- --etcd-keyfile=/etc/muster/etcd/tls.key
{{- end }}
{{- end }}

{{/* The Secret with the EncryptionConfiguration; nothing without encryption. */}}
{{- define "muster.encryptionSecret" -}}
{{- if .Values.encryption.enabled -}}
{{- .Values.encryption.existingSecret | default "muster-encryption" -}}
{{- end -}}
{{- end }}

{{/* Arguments of the prepare Job but for its name: nothing where it has nothing to make. */}}
{{- define "muster.prepareArgs" -}}
{{- if and (include "muster.ownEtcd" .) (not .Values.etcd.certificatesSecret) }}
- --etcd-secret={{ include "muster.etcdSecret" . }}
- --etcd-authority-secret=muster-etcd-authority
- --etcd-names={{ include "muster.etcdNames" . }}
{{- end }}
{{- if and .Values.encryption.enabled (not .Values.encryption.existingSecret) }}
- --encryption-secret={{ include "muster.encryptionSecret" . }}
{{- end }}
{{- end }}

{{- define "muster.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
What all Pods of the chart have in common. Takes root, and in .at the values
that say where they may run; constraints without a labelSelector get .selector,
because they would count no Pods.
*/}}
{{- define "muster.podSpec" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with .at.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
{{- $constraint := deepCopy . }}
{{- if not $constraint.labelSelector }}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" (fromYaml $.selector)) }}
{{- end }}
- {{ toYaml $constraint | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- with .at.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* Where short-lived Pods run: wherever Muster may. */}}
{{- define "muster.jobPodSpec" -}}
{{- include "muster.podSpec" (dict "root" . "at" (pick .Values "nodeSelector" "tolerations")) -}}
{{- end }}

{{/*
What the schema cannot say, because it takes two values together. Each sentence
says what to do.
*/}}
{{- define "muster.validate" -}}
{{- with .Values -}}
{{- range .etcd.endpoints }}
{{- if and (hasPrefix "https://" .) (not $.Values.etcd.certificatesSecret) }}
{{- fail (printf "etcd.endpoints has %s, for which etcd.certificatesSecret has to name a Secret with ca.crt, tls.crt and tls.key" .) }}
{{- end }}
{{- end }}
{{- if and .etcd.certificatesSecret .etcd.endpoints }}
{{- range .etcd.endpoints }}
{{- if not (hasPrefix "https://" .) }}
{{- fail (printf "etcd.certificatesSecret is set, but %s in etcd.endpoints is not https: give all members as https, or none" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .encryption.enabled) .encryption.existingSecret }}
{{- fail "encryption.existingSecret is set, but encryption.enabled is false: set one or the other" }}
{{- end }}
{{- if include "muster.ownEtcd" $ }}
{{- /* Nothing is found, and nothing refused, where no cluster is asked. */}}
{{- $present := lookup "apps/v1" "StatefulSet" $.Release.Namespace "muster-etcd" }}
{{- if $present }}
{{- $members := int $present.spec.replicas }}
{{- if lt (int .etcd.replicas) $members }}
{{- fail (printf "etcd.replicas is %d, and etcd has %d members: members do not leave by themselves, and fewer of them would have no majority; keep %d, or restore a backup into fewer members as docs/operations.md says" (int .etcd.replicas) $members $members) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .hostNetwork (lt (int .securePort) 1024) }}
{{- fail (printf "securePort %v needs privileges in the node's network, which Muster does not have: choose one above 1023" .securePort) }}
{{- end }}
{{- $values := dict
  "namespace" "the release's namespace" "service-name" "the chart" "secure-port" "securePort"
  "installation" "installation" "etcd-prefix" "installation" "etcd-servers" "etcd.endpoints"
  "etcd-cafile" "etcd.certificatesSecret" "etcd-certfile" "etcd.certificatesSecret" "etcd-keyfile" "etcd.certificatesSecret"
  "encryption-provider-config" "encryption" "audit-policy-file" "audit.policy" "source-namespaces" "rbac.readNamespaces" "data-dir" "the chart, which runs etcd beside Muster" -}}
{{- range .extraArgs }}
{{- $flag := . | trimPrefix "--" | splitList "=" | first }}
{{- with get $values $flag }}
{{- fail (printf "extraArgs must not have --%s: it follows from %s" $flag .) }}
{{- end }}
{{- end }}
{{- end -}}
{{- end }}
