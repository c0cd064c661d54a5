package xds

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/xdsdiff"
)

const (
	// maxAnswer bounds one message; a mesh of 1,000 services makes some 3 MiB of clusters.
	maxAnswer = 256 << 20
	// answerTimeout bounds all messages of one answer.
	answerTimeout = time.Minute

	rootConfigMap = "istio-ca-root-cert"
	rootKey       = "root-cert.pem"
)

// Questions asks istiods what they send to proxies, by streams of the discovery protocol in the place of these. The plain port 15010
// is asked, which wants no identity; where an istiod does not have it, the port 15012 with a short-lived token of the proxy's service
// account, so that the user needs to create serviceaccounts/token in the namespace of the proxy. Secrets are never asked for.
// It is safe for concurrent use; Close ends its connections.
type Questions struct {
	client *Client
	mu     sync.Mutex
	links  map[string]*link // by revision
}

// link is the connection with one replica of a revision.
type link struct {
	plain, secure *grpc.ClientConn
	refused       error // of the plain port; the secure one is asked from then on
}

// Questions begins to ask.
func (c *Client) Questions() *Questions { return &Questions{client: c, links: map[string]*link{}} }

// Close ends all connections.
func (q *Questions) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.links {
		_ = l.plain.Close()
		_ = l.secure.Close()
	}
	q.links = map[string]*link{}
}

// Ask returns what a ready replica of the revision sends to the proxy when it says that it is of that version; "" leaves it as it is.
func (q *Questions) Ask(ctx context.Context, rev mesh.Revision, p xdsdiff.Proxy, version string) (xdsdiff.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := q.ask(ctx, rev, p, version)
	if err != nil {
		return nil, fmt.Errorf("ask istiod %s what it sends to %s/%s: %w", rev.Name, p.Namespace, p.Pod, err)
	}
	return answer, nil
}

func (q *Questions) ask(ctx context.Context, rev mesh.Revision, p xdsdiff.Proxy, version string) (xdsdiff.Answer, error) {
	l, err := q.link(ctx, rev)
	if err != nil {
		return nil, err
	}
	node, err := nodeOf(p.Node.As(version))
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	refused := l.refused
	q.mu.Unlock()
	if refused == nil {
		answer, err := converse(ctx, l.plain, node)
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			return answer, err
		}
		refused = err
		q.mu.Lock()
		l.refused = err
		q.mu.Unlock()
	}
	token, err := q.client.tokenOf(ctx, p)
	if err != nil {
		return nil, errors.Join(refused, err)
	}
	answer, err := converse(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), l.secure, node)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("on port %s: %w", plainPort, refused), fmt.Errorf("on port %s: %w", securePort, err))
	}
	return answer, nil
}

// link is the connection with the first ready replica, which is kept.
func (q *Questions) link(ctx context.Context, rev mesh.Revision) (*link, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.links[rev.Name]; l != nil {
		return l, nil
	}
	pods, err := q.client.replicas(ctx, rev)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(pods, func(p corev1.Pod) bool { return ready(&p) && p.Status.PodIP != "" })
	if n < 0 {
		return nil, fmt.Errorf("no replica of it is ready: look at the pods of Deployment %s/%s", q.client.namespace, rev.Deployment)
	}
	roots, err := q.client.roots(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{}
	trust := credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: rev.Deployment + "." + q.client.namespace + ".svc", MinVersion: tls.VersionTLS12})
	if l.plain, err = q.client.grpc(&pods[n], plainPort, insecure.NewCredentials()); err == nil {
		l.secure, err = q.client.grpc(&pods[n], securePort, trust)
	}
	if err != nil {
		return nil, err
	}
	q.links[rev.Name] = l
	return l, nil
}

func (c *Client) grpc(pod *corev1.Pod, port string, security credentials.TransportCredentials) (*grpc.ClientConn, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return c.reach(ctx, pod, port) }
	return grpc.NewClient("passthrough:///"+pod.Name+":"+port, grpc.WithTransportCredentials(security), grpc.WithContextDialer(dial), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
}

// roots are the certificates that proxies trust for istiod. Without them the secure port is trusted by nobody.
func (c *Client) roots(ctx context.Context) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	cm, err := c.kube.CoreV1().ConfigMaps(c.namespace).Get(ctx, rootConfigMap, metav1.GetOptions{})
	if err != nil {
		return pool, nil //nolint:nilerr // the plain port needs none, and the secure one says what is missing
	}
	pool.AppendCertsFromPEM([]byte(cm.Data[rootKey]))
	return pool, nil
}

// tokenOf asks for a token of the proxy's own service account: istiod tells a proxy nothing of other namespaces' proxies.
func (c *Client) tokenOf(ctx context.Context, p xdsdiff.Proxy) (string, error) {
	t := tokens{kube: c.kube, namespace: p.Namespace, account: p.ServiceAccount, audience: c.tokens.audience, now: c.tokens.now, seconds: shortTokenSeconds}
	return t.get(ctx, "")
}

func nodeOf(n xdsdiff.Node) (*core.Node, error) {
	fields, err := structpb.NewStruct(n.Metadata)
	if err != nil {
		return nil, fmt.Errorf("its metadata cannot be sent: %w", err)
	}
	return &core.Node{Id: n.ID, Cluster: n.Cluster, Metadata: fields, ClientFeatures: []string{"envoy.lb.does_not_support_overprovisioning"}}, nil
}

// converse is one stream: it asks for one kind after the other, accepts what comes, and names what the next kind needs.
func converse(ctx context.Context, conn *grpc.ClientConn, node *core.Node) (xdsdiff.Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	answer := xdsdiff.Answer{}
	for _, kind := range []xdsdiff.Kind{xdsdiff.Clusters, xdsdiff.Endpoints, xdsdiff.Listeners, xdsdiff.Routes, xdsdiff.Extensions} {
		names := answer.Names(kind)
		if len(names) == 0 && !kind.All() {
			continue
		}
		request := &discovery.DiscoveryRequest{Node: node, TypeUrl: kind.TypeURL(), ResourceNames: names}
		node = nil // it is said once
		response, err := exchange(stream, request)
		if err != nil {
			return nil, err
		}
		for _, r := range response.Resources {
			answer.Add(kind, r.Value)
		}
	}
	return answer, nil
}

// exchange sends a request and waits for its answer, which it accepts. What istiod pushes meanwhile of other kinds is not waited for.
func exchange(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient, request *discovery.DiscoveryRequest) (*discovery.DiscoveryResponse, error) {
	if err := stream.Send(request); err != nil {
		if _, told := stream.Recv(); told != nil {
			return nil, told // the stream knows why it ended
		}
		return nil, err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if response.TypeUrl != request.TypeUrl {
			continue
		}
		err = stream.Send(&discovery.DiscoveryRequest{
			TypeUrl: response.TypeUrl, ResourceNames: request.ResourceNames, VersionInfo: response.VersionInfo, ResponseNonce: response.Nonce,
		})
		return response, err
	}
}
