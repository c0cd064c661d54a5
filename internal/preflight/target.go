package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/version"
)

// path shows what the gates say.
func path(f *Facts) []Finding {
	if f.Verdict.Passed() {
		return nil
	}
	explanation, remedy := f.Verdict.Message, ""
	if n := strings.LastIndex(explanation, ": "); n > 0 {
		explanation, remedy = explanation[:n]+".", sentence(explanation[n+2:])
	}
	return []Finding{general(Error, sentence(explanation), remedy)}
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

func nodeVersions(f *Facts) []Finding {
	if len(f.Kubernetes) == 0 {
		return nil
	}
	byVersion := map[string][]string{}
	for _, n := range f.Nodes {
		m, err := version.ParseMinor(n.Kubelet)
		if err == nil && !slices.Contains(f.Kubernetes, m.String()) {
			byVersion[m.String()] = append(byVersion[m.String()], n.Name)
		}
	}
	var out []Finding
	for v, names := range byVersion {
		out = append(out, general(Warning, fmt.Sprintf("%s Kubernetes %s, with which Istio %s is not tested (%s).", runOn(names), v, f.To.Version, strings.Join(f.Kubernetes, ", ")),
			"Upgrade the nodes first, or make sure that you have tested it."))
	}
	return out
}

// runOn names some nodes.
func runOn(names []string) string {
	slices.Sort(names)
	if len(names) == 1 {
		return "Node " + names[0] + " runs"
	}
	return fmt.Sprintf("%d nodes (%s) run", len(names), gate.List(names))
}

// gatewayAPINeeds are the versions of the Gateway API whose CRDs an Istio version reads
// (https://istio.io/latest/news/releases/1.30.x/announcing-1.30/upgrade-notes/).
var gatewayAPINeeds = []struct{ istio, gateway string }{{"1.30", "1.5.0"}}

func gatewayAPI(f *Facts) []Finding {
	to, err := version.ParseMinor(f.To.Version)
	if err != nil {
		return nil
	}
	needs := ""
	for _, n := range gatewayAPINeeds {
		if since, err := version.ParseMinor(n.istio); err == nil && to.Compare(since) >= 0 {
			needs = n.gateway
		}
	}
	if needs == "" {
		return nil
	}
	minimum := semver.MustParse(needs)
	var out []Finding
	for _, c := range f.CRDs {
		have, err := semver.NewVersion(c.Bundle)
		if !strings.HasSuffix(c.Name, ".gateway.networking.k8s.io") || err != nil || !have.LessThan(minimum) {
			continue
		}
		severity := Warning
		if strings.HasPrefix(c.Name, "tlsroutes.") {
			severity = Error // the kind that is read from another version: its objects become invisible
		}
		out = append(out, about(severity, Object{Kind: "CustomResourceDefinition", Name: c.Name},
			fmt.Sprintf("It is of the Gateway API %s, and Istio %s reads %s or later: objects of kinds or versions that it does not find are ignored without a word.", c.Bundle, to, needs),
			fmt.Sprintf("Install the CRDs of the Gateway API v%s or later before the upgrade.", needs)))
	}
	return out
}

// skew compares each proxy with the istiod that it belongs to: the data plane may be one minor version behind, and never ahead.
func skew(f *Facts) []Finding {
	var out []Finding
	seen := map[string]bool{}
	look := func(o Object, p mesh.Pod) {
		r, ok := f.Inventory.Revision(p.Revision)
		istiod, err := version.ParseMinor(r.Version)
		proxy, perr := version.ParseMinor(p.ProxyVersion)
		if !ok || err != nil || perr != nil || istiod.Major != proxy.Major || seen[o.String()] {
			return
		}
		switch behind := istiod.Minor - proxy.Minor; {
		case behind > 1:
			seen[o.String()] = true
			out = append(out, about(Warning, o, fmt.Sprintf("Pod %s has the proxy of Istio %s and its istiod is %s: more than one minor version apart is not supported.", p.Name, proxy, istiod),
				"Restart it before the upgrade; if it pins its image, see the check proxy-image."))
		case behind < 0:
			seen[o.String()] = true
			out = append(out, about(Warning, o, fmt.Sprintf("Pod %s has the proxy of Istio %s, which is newer than its istiod %s: that is never supported.", p.Name, proxy, istiod),
				"Restart it so that its istiod injects it anew, or take the pin of its image away."))
		}
	}
	for _, w := range f.Inventory.Workloads {
		for _, p := range w.Pods {
			look(objectOf(w.Ref), p)
		}
	}
	for _, p := range f.Inventory.LoosePods {
		look(Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}, p.Pod)
	}
	return out
}

// newer tells whether minor version a is newer than b; false when either cannot be read.
func newer(a, b string) bool {
	va, err := version.ParseMinor(a)
	vb, berr := version.ParseMinor(b)
	return cmp.Or(err, berr) == nil && va.Compare(vb) > 0
}
