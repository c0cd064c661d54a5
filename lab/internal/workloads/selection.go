package workloads

import (
	"fmt"
	"strconv"
	"strings"
)

// Selection says which workloads a cluster gets.
type Selection struct {
	Bookinfo bool `json:"bookinfo,omitempty"`
	GRPC     bool `json:"grpc,omitempty"`
	Gateway  bool `json:"gateway,omitempty"`  // an ingress gateway
	Egress   bool `json:"egress,omitempty"`   // an egress gateway
	Rollouts bool `json:"rollouts,omitempty"` // the controller of Argo Rollouts
	Scale    int  `json:"scale,omitempty"`    // namespaces of fifty Deployments
}

// Parse reads a selection: "bookinfo", "grpc", "gateway", "egress", "rollouts", "scale=N".
func Parse(list []string) (Selection, error) {
	var s Selection
	for _, item := range list {
		name, value, hasValue := strings.Cut(strings.TrimSpace(item), "=")
		if hasValue != (name == "scale") {
			return s, fmt.Errorf("workload %q: only scale takes a value, and it must", item)
		}
		switch name {
		case "bookinfo":
			s.Bookinfo = true
		case "grpc":
			s.GRPC = true
		case "gateway":
			s.Gateway = true
		case "egress":
			s.Egress = true
		case "rollouts":
			s.Rollouts = true
		case "scale":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 1000 {
				return s, fmt.Errorf("workload %q: want a number of namespaces from 1 to 1000", item)
			}
			s.Scale = n
		default:
			return s, fmt.Errorf("unknown workload %q: choose from bookinfo, grpc, gateway, egress, rollouts, scale=N", item)
		}
	}
	return s, nil
}

// NeedsMesh says whether a workload was selected that cannot run without Istio.
func (s Selection) NeedsMesh() bool { return s.GRPC || s.Gateway || s.Egress }
