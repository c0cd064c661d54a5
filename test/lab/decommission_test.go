package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

func zero() *resource.Quantity { return resource.NewQuantity(0, resource.DecimalSI) }

// users are objects that keep the old revision in use, each seen by one source of truth alone.
func users() map[v1alpha1.BlockerSource]client.Object {
	return map[v1alpha1.BlockerSource]client.Object{
		// A pod that was injected by the old revision and has no connection to it.
		v1alpha1.BlockerPod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "lonely-pod", Annotations: map[string]string{"lab.meshlift.dev/xds": "off"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app:1"}}},
		},
		// A program without a sidecar that speaks xDS with the old istiod, as one outside the cluster could.
		v1alpha1.BlockerConnection: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "outsider", Labels: map[string]string{"sidecar.istio.io/inject": "false"}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "app", Image: "lab.meshlift.dev/echo:v1", Args: []string{"client", "--target=xds:///echo.default.svc.cluster.local:7070", "--interval=1s"},
				Env: []corev1.EnvVar{{Name: "GRPC_XDS_BOOTSTRAP_CONFIG", Value: `{"xds_servers":[{"server_uri":"istiod-1-30.istio-system.svc:15010","channel_creds":[{"type":"insecure"}],"server_features":["xds_v3"]}],` +
					`"node":{"id":"sidecar~10.0.0.9~outsider.default~default.svc.cluster.local","metadata":{"GENERATOR":"grpc","NAMESPACE":"default","CLUSTER_ID":"Kubernetes"}}}`}},
			}}},
		},
		// A pod template that asks for the old revision again when its time has come.
		v1alpha1.BlockerReference: &batchv1.CronJob{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly"},
			Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"istio.io/rev": oldRev}},
				Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "app", Image: "example.com/app:1"}}},
			}}}},
		},
	}
}

// decommissionIsRefused tries it with each single remaining user: the command line refuses, and so does the controller
// when the request is written past the command line. Then the user goes and the request is withdrawn.
func (c *cluster) decommissionIsRefused(t *testing.T) {
	for source, user := range users() {
		t.Run("decommission is refused because of one "+string(source), func(t *testing.T) {
			c.create(t, user)
			c.request(t, nil)
			labtest.Eventually(t, "the user is seen", func(context.Context) string {
				for _, b := range c.upgrade(t, upgrade).Status.Blockers {
					if b.Source == source {
						return ""
					}
				}
				return "not yet"
			})
			r := c.CLI(t, "decommission", "--soak", "0s", "--yes")
			if r.Code != 3 || !strings.Contains(r.Stdout+r.Stderr, user.GetName()) {
				t.Errorf("decommission with %s: exit code %d\n%s%s", user.GetName(), r.Code, r.Stdout, r.Stderr)
			}
			c.request(t, &v1alpha1.DecommissionRequest{By: "test", At: metav1.Now()})
			c.blockedBy(t, source, user.GetName())
			c.request(t, nil)
			if err := c.Client.Delete(t.Context(), user, client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
			labtest.Eventually(t, "nothing blocks any more", func(context.Context) string {
				if u := c.upgrade(t, upgrade); len(u.Status.Blockers) > 0 {
					return u.Status.Blockers[0].Message
				}
				return ""
			})
		})
	}
}

// request writes or withdraws the decommission past the command line.
func (c *cluster) request(t *testing.T, r *v1alpha1.DecommissionRequest) {
	t.Helper()
	labtest.Eventually(t, fmt.Sprintf("request %v", r), func(ctx context.Context) string {
		u := c.upgrade(t, upgrade)
		u.Spec.Decommission = r
		if err := c.Client.Update(ctx, u); err != nil {
			return err.Error()
		}
		return ""
	})
}
