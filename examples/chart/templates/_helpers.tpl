{{/* The name of a component: "web" with the prefix. Takes (list $ "web"). */}}
{{- define "coracle-demo.name" -}}
{{- $root := index . 0 -}}
{{- printf "%s%s" $root.Values.prefix (index . 1) | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* What selectors select by. Takes (list $ "web"). */}}
{{- define "coracle-demo.selector" -}}
app: {{ include "coracle-demo.name" . }}
{{- end -}}

{{/* The labels (indented for metadata) of an object's metadata, if there are labels to set. */}}
{{- define "coracle-demo.labels" -}}
{{- with .Values.commonLabels }}
  labels:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{/* Image and pull policy of a container. Takes (list $ .Values.web). */}}
{{- define "coracle-demo.image" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
image: {{ printf "%s:%s" $root.Values.image.repository ($component.tag | default $root.Values.image.tag | default $root.Chart.AppVersion) }}
{{- with $root.Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end -}}
