{{/* The names are fixed, because there is one hub in a cluster. */}}
{{- define "meshlift.name" -}}meshlift-hub{{- end }}

{{- define "meshlift.selector" -}}
app.kubernetes.io/name: meshlift
app.kubernetes.io/component: hub
{{- end }}

{{- define "meshlift.labels" -}}
{{ include "meshlift.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
