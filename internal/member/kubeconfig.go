package member

import (
	"errors"
	"fmt"
	"net/url"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// KubeconfigKey is the key of a Secret under which the kubeconfig of a cluster is.
const KubeconfigKey = "kubeconfig"

// Parse reads a kubeconfig that somebody handed to the hub. It must hold its credentials itself: programs to run and files of
// another machine are refused, and so is a server whose identity would not be checked. The error is one sentence
// (https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/).
func Parse(kubeconfig []byte) (*rest.Config, error) {
	if len(kubeconfig) == 0 {
		return nil, errors.New("the kubeconfig is empty")
	}
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be read: %w", err)
	}
	if config.CurrentContext == "" {
		return nil, errors.New("the kubeconfig has no current-context: set one")
	}
	context := config.Contexts[config.CurrentContext]
	if context == nil {
		return nil, fmt.Errorf("the kubeconfig has no context %q, which is its current-context", config.CurrentContext)
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster == nil {
		return nil, fmt.Errorf("the kubeconfig has no cluster %q, which its context %q names", context.Cluster, config.CurrentContext)
	}
	if user == nil {
		return nil, fmt.Errorf("the kubeconfig has no user %q, which its context %q names", context.AuthInfo, config.CurrentContext)
	}
	if err := checkCluster(cluster); err != nil {
		return nil, err
	}
	if err := checkUser(user); err != nil {
		return nil, err
	}
	out, err := clientcmd.NewDefaultClientConfig(*config, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	return out, nil
}

func checkCluster(c *clientcmdapi.Cluster) error {
	server, err := url.Parse(c.Server)
	switch {
	case err != nil || server.Host == "":
		return fmt.Errorf("the server %q of the kubeconfig is not a URL", c.Server)
	case server.Scheme != "https":
		return fmt.Errorf("the server %q of the kubeconfig is not an https URL: credentials are sent only over TLS", c.Server)
	case c.InsecureSkipTLSVerify:
		return errors.New("the kubeconfig has insecure-skip-tls-verify, with which the hub would give its credentials to anybody: put the authority into certificate-authority-data instead")
	case c.CertificateAuthority != "":
		return fmt.Errorf("the kubeconfig names the file %q as certificate-authority: embed it as certificate-authority-data (kubectl config view --raw --flatten)", c.CertificateAuthority)
	}
	return nil
}

func checkUser(u *clientcmdapi.AuthInfo) error {
	for _, file := range []struct{ field, name string }{
		{"client-certificate", u.ClientCertificate}, {"client-key", u.ClientKey}, {"tokenFile", u.TokenFile},
	} {
		if file.name != "" && !(file.field == "tokenFile" && u.Token != "") {
			return fmt.Errorf("the kubeconfig names the file %q as %s: embed it (kubectl config view --raw --flatten)", file.name, file.field)
		}
	}
	switch {
	case u.Exec != nil:
		return fmt.Errorf("the kubeconfig gets its credentials from the program %q, which the hub does not run: use the token of a ServiceAccount", u.Exec.Command)
	case u.AuthProvider != nil:
		return fmt.Errorf("the kubeconfig gets its credentials from the auth-provider %q, which the hub does not have: use the token of a ServiceAccount", u.AuthProvider.Name)
	case u.Token == "" && len(u.ClientCertificateData) == 0 && u.Username == "":
		return errors.New("the kubeconfig holds no credentials: it needs a token or a client certificate")
	}
	u.TokenFile = "" // beside a token it would win
	return nil
}
