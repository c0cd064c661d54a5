{{/* The names are fixed, because `kubectl -n cpaas-system exec deploy/asm-controller -- …` is how people reach the agent,
     and because there is one agent in a cluster. */}}
{{- define "meshlift.name" -}}asm-controller{{- end }}

{{- define "meshlift.selector" -}}
app.kubernetes.io/name: meshlift
app.kubernetes.io/component: agent
{{- end }}

{{- define "meshlift.labels" -}}
{{ include "meshlift.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Names of the roles that the istiod chart makes, for the revisions that are listed; see values.yaml, rbac.revisions. */}}
{{- define "meshlift.istioRoles" -}}
{{- $ns := .Values.istioNamespace -}}
{{- range .Values.rbac.revisions }}
- istiod-clusterrole-{{ . }}-{{ $ns }}
- istiod-gateway-controller-{{ . }}-{{ $ns }}
- istio-reader-clusterrole-{{ . }}-{{ $ns }}
{{- end }}
{{- end }}
