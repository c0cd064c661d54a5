package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

const (
	// simNodes begin with this (lab/internal/controlplane).
	simNodes = "sim-"
	// stopDelay is controlplane.StopDelayAnnotation.
	stopDelay = "lab.meshlift.dev/stop-delay"
	// enders is how many pods end at the same time.
	enders = 16
)

// ending is one pod that ends. Its name alone would not do: a StatefulSet gives it to the next pod at once.
type ending struct {
	pod types.NamespacedName
	uid types.UID
}

// endPods completes the deletion of the pods of simulated nodes, as the kubelet of a real node does, until ctx ends. kwok
// 0.8.0 can do that too, by a request that names no UID and is made again when in doubt; it then deletes the pod that has
// the name by now, and again the one after that, without end.
func endPods(ctx context.Context, args []string) error {
	var kubeconfig string
	for _, a := range args {
		if file, ok := strings.CutPrefix(a, "--kubeconfig="); ok {
			kubeconfig = file
		}
	}
	if kubeconfig == "" {
		return errors.New("kwok needs --kubeconfig=FILE")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS, config.UserAgent = -1, "meshlift-lab-kwok"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[ending](100*time.Millisecond, 5*time.Second))
	defer queue.ShutDown()
	seen := func(o any) {
		p, ok := o.(*corev1.Pod)
		if !ok || p.DeletionTimestamp == nil || !strings.HasPrefix(p.Spec.NodeName, simNodes) {
			return
		}
		delay, _ := time.ParseDuration(p.Annotations[stopDelay]) // 0 for none
		queue.AddAfter(ending{types.NamespacedName{Namespace: p.Namespace, Name: p.Name}, p.UID}, delay)
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.Everything()),
		ObjectType:    &corev1.Pod{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: seen, UpdateFunc: func(_, o any) { seen(o) }},
		Transform:     slim,
	})
	for range enders {
		go func() {
			for end(ctx, client, queue) {
			}
		}()
	}
	informer.RunWithContext(ctx)
	return nil
}

// slim keeps of a pod what its end needs.
func slim(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion,
			DeletionTimestamp: p.DeletionTimestamp, Annotations: map[string]string{stopDelay: p.Annotations[stopDelay]},
		},
		Spec: corev1.PodSpec{NodeName: p.Spec.NodeName},
	}, nil
}

// end ends the next pod; false when there is none any more. A pod that is gone, or whose name another one has, has ended.
func end(ctx context.Context, client kubernetes.Interface, queue workqueue.TypedRateLimitingInterface[ending]) bool {
	e, down := queue.Get()
	if down {
		return false
	}
	defer queue.Done(e)
	now := int64(0)
	err := client.CoreV1().Pods(e.pod.Namespace).Delete(ctx, e.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(e.uid)),
	})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		queue.Forget(e)
	} else {
		queue.AddRateLimited(e)
	}
	return true
}
