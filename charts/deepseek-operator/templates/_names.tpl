{{- /* Names and labels. Every template gets the dict `root` (the chart's context) and `component` (operator or gateway). */ -}}

{{- define "name" -}}
{{ .root.Release.Name | trunc 40 | trimSuffix "-" }}-{{ .component }}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: deepseek-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/part-of: deepseek-operator
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "metadata" -}}
name: {{ include "name" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "labels" . | nindent 2 }}
{{- end }}

{{- /* Of cluster-wide objects: two releases in two namespaces do not meet. */ -}}
{{- define "cluster.name" -}}
{{ .root.Release.Namespace }}-{{ include "name" . }}
{{- end }}

{{- /* `account` names another than the component's own. */ -}}
{{- define "serviceaccount.name" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{ .account | default $account.name | default (include "name" .) }}
{{- end }}

{{- define "image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "gateway.url" -}}
{{- $values := .Values.gateway -}}
{{- if $values.url -}}
{{ $values.url }}
{{- else -}}
http://{{ include "name" (dict "root" . "component" "gateway") }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- if ne (int $values.service.port) 80 }}:{{ $values.service.port }}{{ end -}}
{{- end -}}
{{- end }}
