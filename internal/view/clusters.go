package view

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

// ClustersText lists the clusters of a hub, one in a row.
func ClustersText(program string, all []hub.MemberCluster, o Options) string {
	p := newPage(o)
	if len(all) == 0 {
		p.line("", "There are no clusters: register one with `"+program+" cluster add NAME --kubeconfig FILE`.")
		return p.String()
	}
	rows := [][]string{{"NAME", "MESH", "CONNECTED", "AGENT", "KUBERNETES", "ISTIO", "STATUS"}}
	for _, m := range all {
		connected, message := "unknown", ""
		if c := meta.FindStatusCondition(m.Status.Conditions, hub.ConditionConnected); c != nil {
			switch c.Status {
			case metav1.ConditionTrue:
				connected = "yes"
			case metav1.ConditionFalse:
				connected = "no"
			}
		}
		if c := meta.FindStatusCondition(m.Status.Conditions, hub.ConditionReady); c != nil {
			message = c.Message
		}
		rows = append(rows, []string{m.Name, dash(m.Spec.Mesh), connected, dash(m.Status.AgentVersion), dash(m.Status.KubernetesVersion), dash(m.Status.IstioVersions), dash(message)})
	}
	p.table("", rows)
	return p.String()
}
