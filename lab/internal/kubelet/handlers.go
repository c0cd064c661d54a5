package kubelet

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"meshlift.dev/meshlift/lab/internal/container"
)

// longestAnswer is how much of a probe's answer is reported.
const longestAnswer = 1024

// httpClient asks pods as a kubelet does: a new connection each time, any certificate.
var httpClient = &http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	Proxy:             nil,
}}

// runHook runs a lifecycle hook of a running container.
func (c *ctr) runHook(ctx context.Context, process *container.Process, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		return c.runExec(ctx, process, h.Exec)
	case h.HTTPGet != nil:
		return c.runHTTP(ctx, h.HTTPGet)
	case h.TCPSocket != nil:
		return c.runTCP(ctx, h.TCPSocket)
	case h.Sleep != nil:
		sleep(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
	}
	return nil
}

// runProbe asks a container once.
func (c *ctr) runProbe(ctx context.Context, process *container.Process, probe *corev1.Probe) error {
	timeout := time.Second
	if probe.TimeoutSeconds > 0 {
		timeout = time.Duration(probe.TimeoutSeconds) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case probe.Exec != nil:
		return c.runExec(ctx, process, probe.Exec)
	case probe.HTTPGet != nil:
		return c.runHTTP(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		return c.runTCP(ctx, probe.TCPSocket)
	case probe.GRPC != nil:
		return c.runGRPC(ctx, probe.GRPC)
	}
	return nil
}

func (c *ctr) runExec(ctx context.Context, process *container.Process, a *corev1.ExecAction) error {
	var out bytes.Buffer
	code, err := process.Exec(ctx, container.ExecOptions{Args: a.Command, Stdout: &out, Stderr: &out})
	if err != nil {
		return fmt.Errorf("command %q: %w", a.Command, err)
	}
	if code != 0 {
		text := out.String()
		return errors.New(text[:min(len(text), longestAnswer)])
	}
	return nil
}

func (c *ctr) runHTTP(ctx context.Context, a *corev1.HTTPGetAction) error {
	address, err := c.target(a.Host, a.Port)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(string(a.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(a.Path)
	if err != nil {
		return fmt.Errorf("path %q: %w", a.Path, err)
	}
	u.Scheme, u.Host = scheme, address
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/"+strings.TrimPrefix(kubeletVersion, "v"))
	request.Header.Set("Accept", "*/*")
	for _, h := range a.HTTPHeaders {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			request.Host = h.Value
			continue
		}
		request.Header.Add(h.Name, h.Value)
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 10<<10)) // the answer's content is of no interest
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

func (c *ctr) runTCP(ctx context.Context, a *corev1.TCPSocketAction) error {
	address, err := c.target(a.Host, a.Port)
	if err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (c *ctr) runGRPC(ctx context.Context, a *corev1.GRPCAction) error {
	address, err := c.target("", intstr.FromInt32(a.Port))
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	request := &healthv1.HealthCheckRequest{}
	if a.Service != nil {
		request.Service = *a.Service
	}
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, request)
	if err != nil {
		return err
	}
	if answer.Status != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("service unhealthy (responded with %q)", answer.Status)
	}
	return nil
}

// target is the address of a port, given by number or by the name of a container port.
func (c *ctr) target(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = c.p.address()
	}
	number := port.IntValue()
	if port.Type == intstr.String {
		for _, p := range c.spec().Ports {
			if p.Name == port.StrVal {
				number = int(p.ContainerPort)
			}
		}
	}
	if number <= 0 || number > 65535 {
		return "", fmt.Errorf("container %s has no port %q", c.name, port.String())
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}
