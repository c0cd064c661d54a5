package controlplane

import "fmt"

// The templates below are kwok's: Go templates over the object, that render a patch of its status.

// A sidecar that runs beside a misbehaving application does its own job: only the application's containers are in the
// state under test. The state of an application container can refer to the container's last status as $was.
const (
	runningReady = `
  ready: true
  started: true
  restartCount: {{ $restarts }}
  state: {running: {startedAt: {{ $now | Quote }}}}`
	runningNotReady = `
  ready: false
  started: true
  restartCount: {{ $restarts }}
  state: {running: {startedAt: {{ $now | Quote }}}}`
	crashed = `
  ready: false
  started: false
  restartCount: {{ $restarts }}
  state: {terminated: {exitCode: 1, reason: Error, startedAt: {{ $startedAt | Quote }}, finishedAt: {{ $now | Quote }}}}`
	crashLoopBackOff = `
  ready: false
  started: false
  restartCount: {{ $restarts }}
  state: {waiting: {reason: CrashLoopBackOff, message: {{ printf "back-off restarting failed container=%s pod=%s_%s" .name $root.metadata.name $root.metadata.namespace | Quote }}}}
  lastState: {terminated: {exitCode: 1, reason: Error, startedAt: {{ $startedAt | Quote }}, finishedAt: {{ $now | Quote }}}}`
	restarted = `
  ready: false
  started: true
  restartCount: {{ add 1 $restarts }}
  state: {running: {startedAt: {{ $now | Quote }}}}
  lastState: {terminated: {exitCode: 1, reason: Error, startedAt: {{ $startedAt | Quote }}, finishedAt: {{ $now | Quote }}}}`
	completed = `
  ready: false
  started: false
  restartCount: {{ $restarts }}
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $startedAt | Quote }}, finishedAt: {{ $now | Quote }}}}`
)

// waiting is the state of a container that was not started yet.
func waiting(reason, message string) string {
	return fmt.Sprintf(`
  ready: false
  started: false
  restartCount: 0
  state: {waiting: {reason: %s, message: {{ printf "%s: %%s" .image | Quote }}}}`, reason, message)
}

// podStatus renders the status of a pod in the given phase whose application containers are in state.
func podStatus(phase, ready, state string) string {
	reason := ""
	switch {
	case phase == "Succeeded":
		reason = "PodCompleted"
	case ready != "True":
		reason = "ContainersNotReady"
	}
	sidecar := runningReady
	if phase == "Succeeded" {
		sidecar = completed
	}
	return fmt.Sprintf(podTemplate, phase, ready, reason, sidecar, state)
}

// podTemplate takes: phase, readiness, its reason, the state of sidecars, the state of application containers.
const podTemplate = `{{ $now := Now }}
{{ $root := . }}
{{ $startTime := or .status.startTime $now }}
phase: %[1]s
startTime: {{ $startTime | Quote }}
conditions:
- {type: PodReadyToStartContainers, status: "True", lastTransitionTime: {{ $startTime | Quote }}}
- {type: Initialized, status: "True", lastTransitionTime: {{ $startTime | Quote }}}
- {type: Ready, status: %[2]q, reason: %[3]q, lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: %[2]q, reason: %[3]q, lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range $index, $container := .spec.containers }}
{{ $restarts := 0 }}{{ $startedAt := $startTime }}
{{ with $root.status.containerStatuses }}{{ with index . $index }}
  {{ $restarts = .restartCount }}
  {{ with .state.running }}{{ $startedAt = .startedAt }}{{ end }}
  {{ with .lastState.terminated }}{{ $startedAt = .startedAt }}{{ end }}
{{ end }}{{ end }}
{{ with $container }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: {{ printf "sim://%%s" .image | Quote }}
  containerID: {{ printf "sim://%%s/%%s" $root.metadata.uid .name | Quote }}
{{ if eq .name "istio-proxy" }}%[4]s
{{ else }}%[5]s
{{ end }}
{{ end }}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: {{ printf "sim://%%s" .image | Quote }}
  containerID: {{ printf "sim://%%s/%%s" $root.metadata.uid .name | Quote }}
  ready: true
  restartCount: 0
{{ if eq (or .restartPolicy "") "Always" }}
  started: true
  state: {running: {startedAt: {{ $startTime | Quote }}}}
{{ else }}
  started: false
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $startTime | Quote }}, finishedAt: {{ $startTime | Quote }}}}
{{ end }}
{{ end }}
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs: [{ip: {{ index . 0 | Quote }}}]
{{ end }}
{{ if not .status.podIP }}
{{ with PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ end }}
`

const nodeStatus = `{{ $now := Now }}
{{ $since := or .metadata.creationTimestamp $now }}
phase: Running
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $since | Quote }}
{{ end }}
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ NodeName | Quote }}}
{{ with NodePort }}
daemonEndpoints:
  kubeletEndpoint: {Port: {{ . }}}
{{ end }}
`
