{{- /* Generated from operator/deepseek_operator/api by `python -m deepseek_operator.api.generate`. */ -}}

{{- define "rules.operator.tenants" -}}
# the three resources
- apiGroups: [deepseek-operator.io]
  resources: [deepseekmodels, trainingruns, inferenceservices]
  verbs: [get, list, watch]
# what is, never what is wanted
- apiGroups: [deepseek-operator.io]
  resources: [deepseekmodels/status, trainingruns/status, inferenceservices/status]
  verbs: [patch]
# owner references that block deletion, where OwnerReferencesPermissionEnforcement is on
- apiGroups: [deepseek-operator.io]
  resources: [deepseekmodels/finalizers, trainingruns/finalizers, inferenceservices/finalizers]
  verbs: [update]
# publishing, and the in-use finalizer
- apiGroups: [deepseek-operator.io]
  resources: [deepseekmodels]
  verbs: [create, patch]
# work; what is no longer wanted is stopped
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# artifacts and checkpoints, until newer ones are sealed
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
# engines
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# copies on nodes; gone when no longer wanted
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [get, list, watch, create, patch, delete]
# engines' addresses, and host names for training pods
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
# who may talk to the pods; gone when the chart's value says so
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# why a child is in trouble, and where progress is read
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# warnings about children: what a pod's status does not show
- apiGroups: [""]
  resources: [events]
  verbs: [list]
# events about the three resources
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# nothing is made in a namespace that is terminating
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{- define "rules.operator.namespace" -}}
# the gateway's routes
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# leader election
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, patch]
# the master key, made at the first start
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# the master key, at every later start
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [deepseek-operator-master]
  verbs: [get]
{{- end }}

{{- define "rules.operator.uninstall" -}}
# letting go of models that are in use
- apiGroups: [deepseek-operator.io]
  resources: [deepseekmodels]
  verbs: [list, patch]
{{- end }}

{{- define "rules.gateway.tenants" -}}
# an API key's hash, by the name that the key carries
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end }}

{{- define "rules.gateway.cluster" -}}
# callers with a Kubernetes token
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
# whether a caller may use a service
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}

{{- define "rules.gateway.namespace" -}}
# the operator's routes
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch]
{{- end }}

{{- define "rules.user.view" -}}
# reading
- apiGroups: [deepseek-operator.io]
  resources: [deepseekmodels, trainingruns, inferenceservices]
  verbs: [get, list, watch]
{{- end }}

{{- define "rules.user.edit" -}}
# changing
- apiGroups: [deepseek-operator.io]
  resources: [deepseekmodels, trainingruns, inferenceservices]
  verbs: [create, update, patch, delete, deletecollection]
# kubectl scale and autoscalers
- apiGroups: [deepseek-operator.io]
  resources: [inferenceservices/scale]
  verbs: [get, update, patch]
{{- end }}

{{- define "rules.user.infer" -}}
# using services through the gateway
- apiGroups: [deepseek-operator.io]
  resources: [inferenceservices]
  verbs: [infer]
{{- end }}
