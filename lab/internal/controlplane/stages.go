package controlplane

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// Annotations of a pod (usually set on a Deployment's pod template) that say how its simulated self behaves.
const (
	// ModeAnnotation makes a pod misbehave: never-ready, crashloop or imagepull; with a revision behind it ("crashloop@1-31")
	// only where that revision has injected the pod.
	ModeAnnotation = "lab.meshlift.dev/mode"
	// ReadyDelayAnnotation is how long a pod runs before it is ready, as a Go duration ("3s").
	ReadyDelayAnnotation = "lab.meshlift.dev/ready-delay"
	// StopDelayAnnotation is how long a pod stays Terminating, as a Go duration. It is not a stage of kwok: see lab/kube/ending.go.
	StopDelayAnnotation = "lab.meshlift.dev/stop-delay"
)

// Values of ModeAnnotation.
const (
	ModeNeverReady = "never-ready" // runs, its readiness probe fails for ever
	ModeCrashLoop  = "crashloop"   // its application container exits with code 1 again and again
	ModeImagePull  = "imagepull"   // its application image cannot be pulled
)

// simNodeAnnotation marks the nodes that kwok simulates.
const simNodeAnnotation = "kwok.x-k8s.io/node"

// crashBackOff grows with the restarts of a crashing container, faster than a kubelet's, so that tests need not wait.
const crashBackOff = `(.status.containerStatuses // [] | map(.restartCount // 0) | max // 0) as $n | ` +
	`if $n < 3 then "1s" elif $n < 6 then "5s" else "20s" end`

type object = map[string]any

// stage is one transition of kwok's state machine of an object.
type stage struct {
	name   string
	kind   string
	when   []object
	delay  object
	event  object
	status string
}

// stages returns kwok's configuration: how simulated nodes and pods behave.
func stages() ([]byte, error) {
	var documents []string
	for _, s := range append(nodeStages(), podStages()...) {
		b, err := yaml.Marshal(s.manifest())
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.name, err)
		}
		documents = append(documents, string(b))
	}
	return []byte(strings.Join(documents, "---\n")), nil
}

func (s stage) manifest() object {
	next := object{}
	if s.status != "" {
		next["statusTemplate"] = s.status
	}
	if s.event != nil {
		next["event"] = s.event
	}
	spec := object{
		"resourceRef": object{"apiGroup": "v1", "kind": s.kind},
		"selector":    object{"matchExpressions": s.when},
		"next":        next,
	}
	if s.delay != nil {
		spec["delay"] = s.delay
	}
	return object{"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": object{"name": s.name}, "spec": spec}
}

func in(key string, values ...string) object {
	return object{"key": key, "operator": "In", "values": values}
}

func notIn(key string, values ...string) object {
	return object{"key": key, "operator": "NotIn", "values": values}
}

func exists(key string) object  { return object{"key": key, "operator": "Exists"} }
func missing(key string) object { return object{"key": key, "operator": "DoesNotExist"} }

func warning(reason, message string) object {
	return object{"type": "Warning", "reason": reason, "message": message}
}

func after(milliseconds int) object { return object{"durationMilliseconds": milliseconds} }

func afterExpression(query string) object {
	return object{"durationMilliseconds": 0, "durationFrom": object{"expressionFrom": query}}
}

// mode of a pod, or nothing.
var mode = fmt.Sprintf(`(.metadata.annotations // {}) as $a | ($a[%q] // "") | split("@") | `+
	`select(length == 1 or .[1] == ($a["sidecar.istio.io/status"] // "{}" | fromjson | .revision)) | .[0] | select(. != "")`, ModeAnnotation)

func annotation(name string) string { return fmt.Sprintf(`.metadata.annotations[%q]`, name) }

const (
	deleted   = `.metadata.deletionTimestamp`
	phase     = `.status.phase`
	readiness = `.status.conditions.[] | select( .type == "Ready" ) | .status`
	// appState selects the state of the containers that are not the sidecar.
	appState = `.status.containerStatuses.[] | select( .name != "istio-proxy" ) | .state`
)

func nodeStages() []stage {
	return []stage{{
		name: "node-initialize", kind: "Node",
		when:   []object{notIn(readiness, "True")},
		status: nodeStatus,
	}, {
		name: "node-heartbeat", kind: "Node",
		when:   []object{in(readiness, "True"), in(phase, "Running")},
		delay:  after(600_000),
		status: nodeStatus,
	}}
}

func podStages() []stage {
	readyDelay := annotation(ReadyDelayAnnotation)
	pod := func(name string, s stage, when ...object) stage {
		s.name, s.kind, s.when = name, "Pod", append([]object{missing(deleted)}, when...)
		return s
	}
	return []stage{
		pod("pod-ready", stage{status: podStatus("Running", "True", runningReady)},
			in(phase, "Pending"), missing(mode), missing(readyDelay)),
		pod("pod-start", stage{status: podStatus("Running", "False", runningNotReady)},
			in(phase, "Pending"), missing(mode), exists(readyDelay)),
		pod("pod-ready-later", stage{delay: afterExpression(readyDelay), status: podStatus("Running", "True", runningReady)},
			in(phase, "Running"), missing(mode), exists(readyDelay), notIn(readiness, "True")),
		pod("pod-never-ready", stage{
			status: podStatus("Running", "False", runningNotReady),
			event:  warning("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
		}, in(phase, "Pending"), in(mode, ModeNeverReady)),
		pod("pod-image-pull-error", stage{
			status: podStatus("Pending", "False", waiting("ErrImagePull", "failed to pull image: not found")),
			event:  warning("Failed", `Failed to pull image: rpc error: code = NotFound desc = failed to pull and unpack image: not found`),
		}, in(phase, "Pending"), in(mode, ModeImagePull), notIn(appState+".waiting.reason", "ErrImagePull", "ImagePullBackOff")),
		pod("pod-image-pull-backoff", stage{
			delay:  after(1000),
			status: podStatus("Pending", "False", waiting("ImagePullBackOff", "Back-off pulling image")),
			event:  warning("Failed", "Error: ImagePullBackOff"),
		}, in(phase, "Pending"), in(mode, ModeImagePull), in(appState+".waiting.reason", "ErrImagePull")),
		pod("pod-crash-start", stage{status: podStatus("Running", "False", runningNotReady)},
			in(phase, "Pending"), in(mode, ModeCrashLoop)),
		pod("pod-crash", stage{delay: after(500), status: podStatus("Running", "False", crashed)},
			in(phase, "Running"), in(mode, ModeCrashLoop), exists(appState+".running")),
		pod("pod-crash-backoff", stage{
			delay:  after(200),
			status: podStatus("Running", "False", crashLoopBackOff),
			event:  warning("BackOff", "Back-off restarting failed container"),
		}, in(phase, "Running"), in(mode, ModeCrashLoop), exists(appState+".terminated")),
		pod("pod-crash-restart", stage{delay: afterExpression(crashBackOff), status: podStatus("Running", "False", restarted)},
			in(phase, "Running"), in(mode, ModeCrashLoop), in(appState+".waiting.reason", "CrashLoopBackOff")),
		pod("pod-complete", stage{delay: after(200), status: podStatus("Succeeded", "False", completed)},
			in(phase, "Running"), in(".metadata.ownerReferences.[].kind", "Job"), missing(mode)),
	}
}
