package health

import (
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Proxy is what istiod says of one proxy.
type Proxy struct {
	Namespace, Pod string
	// Synced is true when it has acknowledged everything that was sent.
	Synced bool
	// Rejected is the proxy's own error about what it was sent; "" when it rejected nothing.
	Rejected string
}

// Answer is what the istiods of the target said.
type Answer struct {
	// At is when they were asked; zero when they were not.
	At time.Time
	// Proxies that are connected, see [Answer.Add].
	Proxies map[string]Proxy
	// Unknown says which istiod did not answer; "" when all did. Who is not in the answer may be connected then.
	Unknown string
}

// Add adds one connection. A proxy that is connected anew may be seen twice for a moment: the better one counts.
func (a *Answer) Add(p Proxy) {
	if a.Proxies == nil {
		a.Proxies = map[string]Proxy{}
	}
	key := p.Namespace + "/" + p.Pod
	if known, ok := a.Proxies[key]; !ok || rank(p) > rank(known) {
		a.Proxies[key] = p
	}
}

func rank(p Proxy) int {
	switch {
	case p.Rejected != "":
		return 0
	case !p.Synced:
		return 1
	}
	return 2
}

// Sync judges a workload by the connections of its proxies. settled is when all of its pods were first seen ready on the target;
// from then on counts the deadline. Only an answer to a question that was asked later can let it pass, or fail it for being late.
func Sync(s Subject, a Answer, settled, now time.Time, deadline time.Duration) Verdict {
	v := Verdict{Key: s.Key, State: Wait, Gate: GateSync, At: now}
	if s.Refused != "" && !s.Settled && now.Sub(s.Started) >= deadline {
		v.State, v.Gate, v.Reason = Fail, GateInjection, v1alpha1.FailureInjection
		v.Message = fmt.Sprintf("pods of %s could not be injected for %s: %s", s.Ref, deadline, s.Refused)
		v.Seen = []string{s.Refused}
		return v
	}
	if s.Settled && len(s.Pods) == 0 {
		v.State = Pass
		return v
	}
	synced, rejected := 0, ""
	for _, pod := range s.Pods {
		p, connected := a.Proxies[s.Ref.Namespace+"/"+pod]
		line := ""
		switch {
		case !connected:
			line = fmt.Sprintf("%s is not connected to istiod %s", pod, s.Target)
		case p.Rejected != "":
			line = fmt.Sprintf("%s rejected what istiod %s sent: %s", pod, s.Target, p.Rejected)
			if rejected == "" {
				rejected = line
			}
		case !p.Synced:
			line = fmt.Sprintf("%s is connected to istiod %s and has not acknowledged all that was sent", pod, s.Target)
		default:
			synced++
			continue
		}
		if len(v.Seen) < maxSeen {
			v.Seen = append(v.Seen, line)
		}
	}
	late := s.Settled && now.Sub(settled) >= deadline && a.At.Sub(settled) >= deadline
	switch {
	case rejected != "":
		v.State, v.Reason, v.At = Fail, v1alpha1.FailureRejected, a.At
		v.Message = fmt.Sprintf("the configuration of %s was rejected: %s", s.Ref, rejected)
	case s.Settled && synced == len(s.Pods) && !a.At.Before(settled):
		v.State, v.At = Pass, a.At
	case late && a.Unknown == "":
		v.State, v.Reason, v.At = Fail, v1alpha1.FailureNotSynced, a.At
		v.Message = fmt.Sprintf("%d of %d proxies of %s were in sync with istiod %s %s after its pods were ready: %s", synced, len(s.Pods), s.Ref, s.Target, deadline, v.Seen[0])
	case a.Unknown != "":
		v.Message = a.Unknown
	case a.At.IsZero():
		v.Message = fmt.Sprintf("istiod %s is asked whether its proxies are in sync", s.Target)
	default:
		v.Message = fmt.Sprintf("%d of %d proxies in sync with istiod %s", synced, len(s.Pods), s.Target)
	}
	return v
}
