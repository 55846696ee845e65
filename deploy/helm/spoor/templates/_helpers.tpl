{{- define "spoor.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "spoor.selector" -}}
app.kubernetes.io/name: spoor
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spoor.labels" -}}
{{ include "spoor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "spoor.secret" -}}
{{- .Values.secrets.existingSecret | default (printf "%s-spoor" (include "spoor.name" .)) }}
{{- end }}

{{/* The sidecar, for the containers of a pod that has the tablet server's volume as "data". */}}
{{- define "spoor.container" -}}
- name: spoor
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: ['run']
  env:
    - name: POD_NAME
      valueFrom: { fieldRef: { fieldPath: metadata.name } }
    - { name: SPOOR_KUDU_MASTERS, value: {{ join "," .Values.kudu.masters | quote }} }
    - { name: SPOOR_TSERVER, value: '$(POD_NAME).{{ include "spoor.name" . }}:7050' }
    - { name: SPOOR_WAL_DIR, value: {{ .Values.tserver.walDir | quote }} }
    - { name: SPOOR_KUDU_USER, value: {{ .Values.kudu.user | quote }} }
    - { name: SPOOR_HTTP_LISTEN, value: '0.0.0.0:{{ .Values.httpPort }}' }
    - { name: SPOOR_HTTP_ADVERTISE, value: '$(POD_NAME).{{ include "spoor.name" . }}:{{ .Values.httpPort }}' }
    {{- range $name, $key := .Values.secrets.files }}
    {{- if $key }}
    - { name: {{ $name }}, value: /run/secrets/spoor/{{ $key }} }
    {{- end }}
    {{- end }}
    {{- if .Values.tls.secretName }}
    - { name: SPOOR_HTTP_TLS_CERT_FILE, value: /run/secrets/spoor-tls/tls.crt }
    - { name: SPOOR_HTTP_TLS_KEY_FILE, value: /run/secrets/spoor-tls/tls.key }
    {{- if .Values.tls.clientCa }}
    - { name: SPOOR_HTTP_TLS_CLIENT_CA_FILE, value: /run/secrets/spoor-tls/ca.crt }
    {{- end }}
    {{- end }}
    {{- range $name, $value := .Values.env }}
    - { name: {{ $name }}, value: {{ $value | toString | quote }} }
    {{- end }}
    {{- with .Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - { name: spoor, containerPort: {{ .Values.httpPort }} }
  livenessProbe:
    httpGet: { path: /healthz, port: spoor, scheme: {{ ternary "HTTPS" "HTTP" (ne .Values.tls.secretName "") }} }
    {{- toYaml .Values.livenessProbe | nindent 4 }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  volumeMounts:
    # The same mount as the tablet server's: hard links do not cross mounts.
    - { name: data, mountPath: {{ .Values.tserver.dataPath }} }
    - { name: spoor-secrets, mountPath: /run/secrets/spoor, readOnly: true }
    {{- if .Values.tls.secretName }}
    - { name: spoor-tls, mountPath: /run/secrets/spoor-tls, readOnly: true }
    {{- end }}
{{- end }}

{{/* What the sidecar mounts besides the tablet server's volume. */}}
{{- define "spoor.volumes" -}}
- name: spoor-secrets
  secret: { secretName: {{ include "spoor.secret" . }} }
{{- if .Values.tls.secretName }}
- name: spoor-tls
  secret: { secretName: {{ .Values.tls.secretName }} }
{{- end }}
{{- end }}

{{/* How Prometheus reads a sidecar: with the token for reading, or the one for all where that is the only one. */}}
{{- define "spoor.endpoint" -}}
port: spoor
interval: {{ .Values.monitor.interval }}
authorization:
  credentials:
    name: {{ include "spoor.secret" . }}
    key: {{ .Values.secrets.files.SPOOR_HTTP_TOKEN_READ_FILE | default .Values.secrets.files.SPOOR_HTTP_TOKEN_FILE }}
{{- if .Values.tls.secretName }}
scheme: https
tlsConfig:
  ca: { secret: { name: {{ .Values.tls.secretName }}, key: ca.crt } }
  {{- if .Values.tls.clientCa }}
  cert: { secret: { name: {{ .Values.tls.secretName }}, key: tls.crt } }
  keySecret: { name: {{ .Values.tls.secretName }}, key: tls.key }
  {{- end }}
{{- end }}
{{- end }}
