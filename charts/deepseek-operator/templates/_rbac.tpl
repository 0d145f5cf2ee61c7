{{- /* Roles of one component. Arguments as in _names.tpl, and `role`, the name; `rules`, a template of _rules.tpl, which
       is generated; `annotations`, where there are any. */ -}}

{{- define "rbac.labels" -}}
labels:
  {{- include "labels" . | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rbac.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "serviceaccount.name" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{- /* A Role and its binding in `namespace`. */ -}}
{{- define "rbac.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .role }}
  namespace: {{ .namespace }}
  {{- include "rbac.labels" . | nindent 2 }}
rules:
  {{- include .rules . | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .role }}
  namespace: {{ .namespace }}
  {{- include "rbac.labels" . | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .role }}}
{{ include "rbac.subjects" . }}
{{- end }}

{{- /* A ClusterRole and its binding. */ -}}
{{- define "rbac.clusterrole" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .role }}
  {{- include "rbac.labels" . | nindent 2 }}
rules:
  {{- include .rules . | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .role }}
  {{- include "rbac.labels" . | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ .role }}}
{{ include "rbac.subjects" . }}
{{- end }}

{{- /* Where tenants are: everywhere, or in the watched namespaces only. */ -}}
{{- define "rbac.tenants" -}}
{{- if .root.Values.watchNamespaces }}
{{- range $namespace := .root.Values.watchNamespaces }}
---
{{ include "rbac.role" (merge (dict "namespace" $namespace) $) }}
{{- end }}
{{- else }}
---
{{ include "rbac.clusterrole" . }}
{{- end }}
{{- end }}

{{- define "serviceaccount" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "serviceaccount.name" . }}
  namespace: {{ .root.Release.Namespace }}
  {{- include "rbac.labels" (merge (dict "annotations" $account.annotations) .) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}
{{- end }}
