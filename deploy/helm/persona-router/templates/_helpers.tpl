{{- define "persona-router.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "persona-router.selector" -}}
app.kubernetes.io/name: persona-router
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "persona-router.labels" -}}
{{ include "persona-router.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "persona-router.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "persona-router.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}
