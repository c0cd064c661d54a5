// Package health says whether a workload that was moved is well on its new revision. It is pure: what was seen of its proxies
// goes in, a verdict with its evidence comes out. What nobody could say is no verdict: it waits.
package health

import (
	"slices"
	"strings"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Gates, as they are named in evidence.
const (
	// GateSync looks at the connections of the proxies with istiod.
	GateSync = "Sync"
	// GateInjection looks at pods that could not be created.
	GateInjection = "Injection"
)

// Interval is how long a gate that waits is left alone at least.
const Interval = 2 * time.Second

// maxSeen bounds the evidence.
const maxSeen = 10

// Key names one attempt to move one workload.
type Key struct {
	Ref     mesh.Ref
	Attempt int32
}

// Subject is a workload on its way that the gates look at.
type Subject struct {
	Key
	// Target revision.
	Target string
	// Pods that live and were injected by the target.
	Pods []string
	// Settled is true when every pod runs on the target and is ready.
	Settled bool
	// Started is when the move began.
	Started time.Time
	// Gateway tells that it is a gateway.
	Gateway bool
	// Refused is why pods could not be created, in the words of the API server, when injection is to blame; "" when it is not.
	Refused string
}

// State of a verdict.
type State string

// States.
const (
	// Pass is for good: the gates do not look at this attempt again.
	Pass State = "Pass"
	// Wait is for more to be seen.
	Wait State = "Wait"
	// Fail is for good too.
	Fail State = "Fail"
)

// Verdict is what the gates say of one attempt.
type Verdict struct {
	Key
	State State
	// Gate that speaks, its reason in one word, and one sentence.
	Gate, Reason, Message string
	// Seen is the evidence, one line for each pod or number.
	Seen []string
	// Unproved tells of one that passes that there were too few requests to show that they are as good as before.
	Unproved bool
	// At is when it was seen.
	At time.Time
}

// Applies tells whether the workload has proxies that keep a connection with istiod. A CronJob has no pods of its own; with the
// templates of gRPC it is the application that connects, and when it likes
// (https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/); and an owner may leave a workload out.
func Applies(w mesh.Workload) bool {
	grpc := func(template string) bool { return strings.HasPrefix(strings.TrimSpace(template), "grpc-") }
	return w.Kind != mesh.KindCronJob && w.Annotations[v1alpha1.HealthAnnotation] != v1alpha1.HealthOff &&
		!slices.ContainsFunc(strings.Split(w.TemplateAnnotations[mesh.AnnotationTemplates], ","), grpc)
}

// InjectionFailure returns the message of the API server about pods that could not be created when injection, or a guard of the
// handover, is to blame; "" for others, such as a quota.
func InjectionFailure(message string) string {
	for _, word := range []string{"sidecar-injector.istio.io", "handover.meshlift.dev", "Meshlift refused this pod"} {
		if strings.Contains(message, word) {
			return message
		}
	}
	return ""
}
