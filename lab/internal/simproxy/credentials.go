package simproxy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	rootConfigMap = "istio-ca-root-cert" // in every namespace, written by istiod
	rootKey       = "root-cert.pem"
	tokenAudience = "istio-ca"
	tokenLifetime = 12 * time.Hour  // as the projected volume of the injection template asks for
	lookupTTL     = 5 * time.Second // of roots and addresses: a wave of reconnects asks the API server once
)

// lookup finds what a proxy needs to reach its control plane. It is safe for concurrent use.
type lookup struct {
	client    kubernetes.Interface
	roots     ttlCache[*x509.CertPool]
	addresses ttlCache[string]
}

func newLookup(client kubernetes.Interface) *lookup {
	return &lookup{client: client}
}

// root returns the root certificates that pods of a namespace trust for istiod.
func (l *lookup) root(ctx context.Context, namespace string) (*x509.CertPool, error) {
	return l.roots.get(namespace, func() (*x509.CertPool, error) {
		cm, err := l.client.CoreV1().ConfigMaps(namespace).Get(ctx, rootConfigMap, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("root certificate: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(cm.Data[rootKey])) {
			return nil, fmt.Errorf("root certificate: ConfigMap %s/%s has no certificate in %s", namespace, rootConfigMap, rootKey)
		}
		return pool, nil
	})
}

// address resolves a control plane to address:port by the API: DNS answers only inside pods.
func (l *lookup) address(ctx context.Context, t target) (string, error) {
	if t.Address.IsValid() {
		return net.JoinHostPort(t.Address.String(), t.Port), nil
	}
	return l.addresses.get(t.Namespace+"/"+t.Service+":"+t.Port, func() (string, error) {
		svc, err := l.client.CoreV1().Services(t.Namespace).Get(ctx, t.Service, metav1.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("istiod %s: %w", t.Host, err)
		}
		switch svc.Spec.ClusterIP {
		case "":
			return "", fmt.Errorf("istiod %s: Service of type %s has no address", t.Host, svc.Spec.Type)
		case corev1.ClusterIPNone:
			return l.endpoint(ctx, svc, t)
		}
		return net.JoinHostPort(svc.Spec.ClusterIP, t.Port), nil
	})
}

// endpoint picks a ready endpoint of a headless Service.
func (l *lookup) endpoint(ctx context.Context, svc *corev1.Service, t target) (string, error) {
	portName := ""
	for _, p := range svc.Spec.Ports {
		if strconv.Itoa(int(p.Port)) == t.Port {
			portName = p.Name
		}
	}
	slices, err := l.client.DiscoveryV1().EndpointSlices(t.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + t.Service,
	})
	if err != nil {
		return "", fmt.Errorf("istiod %s: %w", t.Host, err)
	}
	var found []string
	for _, slice := range slices.Items {
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name == nil || *p.Name != portName {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready == nil || *e.Conditions.Ready {
					found = append(found, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
				}
			}
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("istiod %s: headless Service has no ready endpoint for port %s", t.Host, t.Port)
	}
	return found[rand.IntN(len(found))], nil
}

// forget drops what was found for a control plane, after a failure: it may have changed.
func (l *lookup) forget(namespace string, t target) {
	l.roots.drop(namespace)
	l.addresses.drop(t.Namespace + "/" + t.Service + ":" + t.Port)
}

// token is a token of a pod's own ServiceAccount, bound to the pod.
type token struct {
	value string
	renew time.Time // from here on a new connection needs a new token
}

// token asks for a token, bound to the pod so that it dies with it.
func (l *lookup) token(ctx context.Context, pod *corev1.Pod, now time.Time) (token, error) {
	seconds := int64(tokenLifetime / time.Second)
	tr, err := l.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, serviceAccountOf(pod),
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences:         []string{tokenAudience},
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
		}}, metav1.CreateOptions{})
	if err != nil {
		return token{}, fmt.Errorf("token: %w", err)
	}
	if tr.Status.Token == "" {
		return token{}, errors.New("token: the API server returned none")
	}
	life := tr.Status.ExpirationTimestamp.Sub(now)
	return token{value: tr.Status.Token, renew: now.Add(life * 8 / 10)}, nil
}

// ttlCache keeps values for lookupTTL. The zero value is ready for use.
type ttlCache[V any] struct {
	mu      sync.Mutex
	entries map[string]cached[V]
}

type cached[V any] struct {
	value   V
	expires time.Time
}

// get returns the cached value or fetches it; errors are not cached.
func (c *ttlCache[V]) get(key string, fetch func() (V, error)) (V, error) {
	c.mu.Lock()
	e, ok := c.entries[key]
	c.mu.Unlock()
	if ok && time.Now().Before(e.expires) {
		return e.value, nil
	}
	v, err := fetch()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[string]cached[V]{}
	}
	c.entries[key] = cached[V]{value: v, expires: time.Now().Add(lookupTTL)}
	return v, nil
}

func (c *ttlCache[V]) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
}
