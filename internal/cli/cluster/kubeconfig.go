package cluster

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"meshlift.dev/meshlift/internal/cli/exit"
)

// source is the kubeconfig of the cluster that is registered.
type source struct {
	file, context, server string
}

func (s *source) addFlags(f *pflag.FlagSet, m Member) {
	f.StringVar(&s.file, "kubeconfig", "", "Kubeconfig of the cluster, with the rights of its administrator; it stays on this machine")
	f.StringVar(&s.context, "context", "", "Context of that kubeconfig (default: its current one)")
	f.StringVar(&s.server, "server", "", "Address of the API server as the hub reaches it (default: the one of the kubeconfig)")
	f.StringVar(m.HubKubeconfig, "hub-kubeconfig", "", "Kubeconfig of the hub (default: KUBECONFIG, else ~/.kube/config)")
	f.StringVar(m.HubContext, "hub-context", "", "Context of the hub (default: the current one)")
}

// load reads the kubeconfig. Programs and files that it names are used here, with the rights of the user.
func (s *source) load() (*rest.Config, error) {
	if s.file == "" {
		return nil, exit.Usagef("--kubeconfig FILE says which cluster it is; the hub is chosen by KUBECONFIG, --hub-kubeconfig and --hub-context")
	}
	config, err := s.client().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", s.file, err)
	}
	config.QPS, config.Burst = 50, 100
	config.UserAgent = rest.DefaultKubernetesUserAgent() + " meshlift-cli"
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

func (s *source) client() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: s.file}, &clientcmd.ConfigOverrides{CurrentContext: s.context})
}

// keep is the kubeconfig as the hub would store it: the one context, with the files that it names.
func (s *source) keep() ([]byte, error) {
	raw, err := s.client().RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", s.file, err)
	}
	if s.context != "" {
		raw.CurrentContext = s.context
	}
	if err := clientcmdapi.MinifyConfig(&raw); err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", s.file, err)
	}
	if err := clientcmdapi.FlattenConfig(&raw); err != nil {
		return nil, fmt.Errorf("read the files that the kubeconfig %s names: %w", s.file, err)
	}
	for _, c := range raw.Clusters {
		if s.server != "" {
			c.Server = s.server
		}
	}
	return clientcmd.Write(raw)
}

// withToken is a kubeconfig for the account of the hub.
func (s *source) withToken(admin *rest.Config, name string, authority []byte, token string) ([]byte, error) {
	if err := rest.LoadTLSFiles(admin); err != nil {
		return nil, fmt.Errorf("read the files that the kubeconfig %s names: %w", s.file, err)
	}
	if len(admin.CAData) > 0 {
		authority = admin.CAData
	}
	raw, err := s.client().RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", s.file, err)
	}
	cluster := &clientcmdapi.Cluster{Server: s.address(admin), CertificateAuthorityData: authority, TLSServerName: admin.ServerName}
	current := s.context
	if current == "" {
		current = raw.CurrentContext
	}
	if c := raw.Contexts[current]; c != nil && raw.Clusters[c.Cluster] != nil {
		cluster.ProxyURL = raw.Clusters[c.Cluster].ProxyURL
	}
	out := clientcmdapi.NewConfig()
	out.Clusters[name], out.AuthInfos[name] = cluster, &clientcmdapi.AuthInfo{Token: token}
	out.Contexts[name], out.CurrentContext = &clientcmdapi.Context{Cluster: name, AuthInfo: name}, name
	return clientcmd.Write(*out)
}

// address of the API server as the hub reaches it.
func (s *source) address(admin *rest.Config) string {
	if s.server != "" {
		return s.server
	}
	return admin.Host
}
