{{/* knap.labels COMPONENT - of every object. The same by every way of deploying. */}}
{{- define "knap.labels" -}}
{{ include "knap.selector" . }}
app.kubernetes.io/part-of: knap
{{- end }}

{{/* knap.selector COMPONENT - what pods are found by; never changes. */}}
{{- define "knap.selector" -}}
app.kubernetes.io/name: {{ . }}
{{- end }}

{{/* knap.image ROOT NAME */}}
{{- define "knap.image" -}}
{{- $root := index . 0 -}}
{{ printf "%s/%s:%s" $root.Values.image.registry (index . 1) (default $root.Chart.AppVersion $root.Values.image.tag) }}
{{- end }}
