package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"meshlift.dev/meshlift/internal/mesh"
)

func TestStrategiesAreResolvedToPods(t *testing.T) {
	percent, one, none := intstr.FromString("25%"), intstr.FromInt32(1), intstr.FromInt32(0)
	rolling := func(replicas int32, surge, unavailable intstr.IntOrString) mesh.Strategy {
		d := appsv1.Deployment{}
		d.Spec.Replicas = &replicas
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable}
		return deploymentStrategy(&d)
	}
	three := int32(3)
	set := appsv1.StatefulSet{}
	set.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: &three}
	daemon := appsv1.DaemonSet{}
	daemon.Status.DesiredNumberScheduled = 10
	daemon.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &percent, MaxSurge: &none}}
	broken := intstr.FromString("many")
	for name, c := range map[string]struct{ got, want mesh.Strategy }{
		"the default of four replicas": {rolling(4, percent, percent), mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1, MaxUnavailable: 1, RawMaxSurge: "25%", RawMaxUnavailable: "25%"}},
		"the default of one replica":   {rolling(1, percent, percent), mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1, RawMaxSurge: "25%", RawMaxUnavailable: "25%"}},
		"no surge":                     {rolling(1, none, one), mesh.Strategy{Type: "RollingUpdate", MaxUnavailable: 1, RawMaxSurge: "0", RawMaxUnavailable: "1"}},
		"both round to nothing":        {rolling(1, none, percent), mesh.Strategy{Type: "RollingUpdate", MaxUnavailable: 1, RawMaxSurge: "0", RawMaxUnavailable: "25%"}},
		"unreadable":                   {rolling(4, broken, one), mesh.Strategy{Type: "RollingUpdate", MaxUnavailable: 1, RawMaxSurge: "many", RawMaxUnavailable: "1"}},
		"recreate":                     {deploymentStrategy(&appsv1.Deployment{Spec: appsv1.DeploymentSpec{Strategy: appsv1.DeploymentStrategy{Type: "Recreate"}}}), mesh.Strategy{Type: "Recreate"}},
		"a partition":                  {statefulSetStrategy(&set), mesh.Strategy{Type: "RollingUpdate", MaxUnavailable: 1, Partition: 3}},
		"on delete":                    {statefulSetStrategy(&appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: "OnDelete"}}}), mesh.Strategy{Type: "OnDelete"}},
		"a daemon set rounds up":       {daemonSetStrategy(&daemon), mesh.Strategy{Type: "RollingUpdate", MaxUnavailable: 3, RawMaxSurge: "0", RawMaxUnavailable: "25%"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestProgressIsWhatTheControllersReport(t *testing.T) {
	d := decoded[appsv1.Deployment](t, `
metadata: {generation: 3}
spec: {paused: true}
status: {observedGeneration: 2, replicas: 5, updatedReplicas: 2, readyReplicas: 4, availableReplicas: 3, unavailableReplicas: 2, conditions: [
	{type: Progressing, status: "False", reason: ProgressDeadlineExceeded}, {type: ReplicaFailure, status: "True", reason: FailedCreate, message: exceeded quota}]}`)
	set := decoded[appsv1.StatefulSet](t, `{metadata: {generation: 1}, spec: {replicas: 3}, status: {observedGeneration: 1, replicas: 3, updatedReplicas: 1, readyReplicas: 2, availableReplicas: 2}}`)
	daemon := decoded[appsv1.DaemonSet](t, `{metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 4, currentNumberScheduled: 4, updatedNumberScheduled: 1, numberReady: 3, numberAvailable: 3, numberUnavailable: 1, numberMisscheduled: 0}}`)
	for name, c := range map[string]struct{ got, want mesh.Progress }{
		"Deployment": {deploymentProgress(&d), mesh.Progress{
			Generation: 3, ObservedGeneration: 2, Replicas: 5, Updated: 2, Ready: 4, Available: 3, Unavailable: 2,
			Paused: true, DeadlineExceeded: true, Failure: "exceeded quota",
		}},
		"StatefulSet": {statefulSetProgress(&set), mesh.Progress{Generation: 1, ObservedGeneration: 1, Replicas: 3, Updated: 1, Ready: 2, Available: 2, Unavailable: 1}},
		"DaemonSet":   {daemonSetProgress(&daemon), mesh.Progress{Generation: 1, ObservedGeneration: 1, Replicas: 4, Updated: 1, Ready: 3, Available: 3, Unavailable: 1, Behind: true}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
