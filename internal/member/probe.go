package member

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

// answer is what one probe found.
type answer struct {
	ok              bool
	reason, message string
	kubernetes      string
}

// probe asks the API server whether it is ready, and for its version. Nothing of it needs a right
// (https://kubernetes.io/docs/reference/using-api/health-checks/).
func probe(ctx context.Context, w *wire, cluster string, limit time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	config := rest.CopyConfig(w.probe)
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	c, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return answer{reason: hub.ReasonCredentials, message: fmt.Sprintf("cluster %q cannot be reached with its kubeconfig: %v", cluster, err)}
	}
	_, err = c.Get().AbsPath("/readyz").MaxRetries(0).DoRaw(ctx)
	// A server that knows the hub and does not let it look is there.
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		return failure(err, cluster, w.probe.Host, limit)
	}
	data, err := c.Get().AbsPath("/version").MaxRetries(0).DoRaw(ctx)
	if err != nil && !apierrors.IsForbidden(err) {
		return failure(err, cluster, w.probe.Host, limit)
	}
	var v version.Info
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		v.GitVersion = "" // it is only shown
	}
	return answer{ok: true, kubernetes: v.GitVersion}
}

// failure says in one sentence why a cluster is not connected.
func failure(err error, cluster, server string, limit time.Duration) answer {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		where   *url.Error
	)
	rotate := fmt.Sprintf("give the hub a new kubeconfig with `meshlift cluster rotate %s`", cluster)
	switch {
	case apierrors.IsUnauthorized(err):
		return answer{reason: hub.ReasonCredentials, message: fmt.Sprintf("the API server of cluster %q refuses the credentials of the hub: %s", cluster, rotate)}
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid):
		return answer{reason: hub.ReasonCredentials, message: fmt.Sprintf("the certificate of the API server of cluster %q is not the one of its kubeconfig (%v): %s", cluster, reason(err), rotate)}
	case errors.Is(err, context.DeadlineExceeded):
		return answer{reason: hub.ReasonNotConnected, message: fmt.Sprintf("the API server of cluster %q (%s) does not answer within %s", cluster, server, limit)}
	case apierrors.ReasonForError(err) != "" && !errors.As(err, &where):
		return answer{reason: hub.ReasonNotConnected, message: fmt.Sprintf("the API server of cluster %q (%s) is not ready", cluster, server)}
	}
	return answer{reason: hub.ReasonNotConnected, message: fmt.Sprintf("the API server of cluster %q (%s) cannot be reached: %v", cluster, server, reason(err))}
}

// reason is an error without the URL around it.
func reason(err error) error {
	var where *url.Error
	if errors.As(err, &where) {
		return where.Err
	}
	return err
}
