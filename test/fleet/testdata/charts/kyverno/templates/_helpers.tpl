{{- define "kyverno.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "kyverno.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ include "kyverno.name" . }}
app.kubernetes.io/version: {{ .Chart.Version }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* Arguments: a list of the context and the component. */}}
{{- define "kyverno.component" -}}
{{ include "kyverno.name" (index . 0) }}-{{ index . 1 }}
{{- end -}}

{{- define "kyverno.matchLabels" -}}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/part-of: {{ include "kyverno.name" (index . 0) }}
{{- end -}}
