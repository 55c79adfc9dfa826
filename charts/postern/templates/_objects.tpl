{{/* The text of a file of deploy/base for this release's namespace. */}}
{{- define "postern.file" -}}
{{- $path := printf "files/base/%s" .file -}}
{{- $text := .root.Files.Get $path -}}
{{- if not $text -}}{{- fail (printf "the chart has no file %s" $path) -}}{{- end -}}
{{- /* In quotes, because a namespace may look like a number: 123, 1e3. */ -}}
{{- $quoted := printf "namespace: %q" .root.Release.Namespace -}}
{{- $text | replace "namespace: postern-system" $quoted | replace "postern-system" .root.Release.Namespace -}}
{{- end -}}

{{/* Labels that every object of the release has, besides its own. */}}
{{- define "postern.labels" -}}
app.kubernetes.io/name: postern
app.kubernetes.io/part-of: postern
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An object with the release's labels. */}}
{{- define "postern.object" -}}
{{- $labels := fromYaml (include "postern.labels" .root) -}}
{{- $_ := set .object.metadata "labels" (merge (default dict .object.metadata.labels) $labels) }}
---
{{ toYaml .object }}
{{- end -}}

{{/* Every object of a file of deploy/base, as it is there. */}}
{{- define "postern.objects" -}}
{{- $root := .root -}}
{{- range regexSplit "(?m)^---$" (include "postern.file" .) -1 -}}
{{- $object := fromYaml . -}}
{{- if $object -}}
{{- if hasKey $object "Error" -}}{{- fail (printf "a document is no YAML: %s" $object.Error) -}}{{- end -}}
{{- include "postern.object" (dict "root" $root "object" $object) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The reference of an image. */}}
{{- define "postern.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.imageRegistry -}}{{- $repository = printf "%s/%s" . $repository -}}{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What the values of a component change in its pods; `pod` is the pod template of deploy/base. */}}
{{- define "postern.pod" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $pod := .pod -}}
{{- $identity := dict "app.kubernetes.io/name" "postern" "app.kubernetes.io/part-of" "postern" -}}
{{- $_ := set $pod.metadata "labels" (merge $pod.metadata.labels $identity $values.podLabels) -}}
{{- with $values.podAnnotations -}}{{- $_ := set $pod.metadata "annotations" . -}}{{- end -}}
{{- with $values.nodeSelector -}}{{- $_ := set $pod.spec "nodeSelector" . -}}{{- end -}}
{{- with $values.tolerations -}}{{- $_ := set $pod.spec "tolerations" (concat $pod.spec.tolerations .) -}}{{- end -}}
{{- with $root.Values.imagePullSecrets -}}
{{- $secrets := list -}}
{{- range . -}}{{- $secrets = append $secrets (dict "name" .) -}}{{- end -}}
{{- $_ := set $pod.spec "imagePullSecrets" $secrets -}}
{{- end -}}
{{- range $pod.spec.containers -}}
{{- $_ := set . "image" (include "postern.image" (dict "root" $root "image" $values.image)) -}}
{{- $_ := set . "imagePullPolicy" $root.Values.imagePullPolicy -}}
{{- end -}}
{{- with $values.resources -}}{{- $_ := set (first $pod.spec.containers) "resources" . -}}{{- end -}}
{{- end -}}

{{/* The address of its node in the variable HOST_IP of a container, for its arguments. */}}
{{- define "postern.hostAddress" -}}
{{- $names := list -}}
{{- range .env -}}{{- $names = append $names .name -}}{{- end -}}
{{- if not (has "HOST_IP" $names) -}}
{{- $address := dict "name" "HOST_IP" "valueFrom" (dict "fieldRef" (dict "fieldPath" "status.hostIP")) -}}
{{- $_ := set . "env" (append .env $address) -}}
{{- end -}}
{{- end -}}

{{/* Lets a program serve its metrics at the address of its node. */}}
{{- define "postern.scrape" -}}
{{- $args := list "--scrape-address=$(HOST_IP)" (printf "--scrape-port=%v" .port) -}}
{{- $_ := set .container "args" (concat .container.args $args) -}}
{{- include "postern.hostAddress" .container -}}
{{- end -}}
