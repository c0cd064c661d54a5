package echo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

const (
	bootstrapEnv  = "GRPC_XDS_BOOTSTRAP" // set by injection; pilot-agent writes the file it names
	bootstrapPoll = 50 * time.Millisecond
)

// Identity says which pod a process is, as the mesh sees it.
type Identity struct {
	Pod       string `json:"pod"`
	Namespace string `json:"namespace,omitempty"`
	App       string `json:"app,omitempty"`
	Version   string `json:"version,omitempty"`  // label version
	Revision  string `json:"revision,omitempty"` // of the control plane
	Proxy     string `json:"proxy,omitempty"`    // version of the agent
	Mesh      bool   `json:"mesh"`               // configured by xDS
}

// bootstrap is what is read of gRPC's xDS bootstrap file.
type bootstrap struct {
	Node struct {
		ID       string `json:"id"`
		Metadata struct {
			Name        string            `json:"NAME"`
			Namespace   string            `json:"NAMESPACE"`
			Version     string            `json:"ISTIO_VERSION"`
			Labels      map[string]string `json:"LABELS"`
			Annotations map[string]string `json:"ANNOTATIONS"`
		} `json:"metadata"`
	} `json:"node"`
	CertificateProviders map[string]struct {
		Config struct {
			Certificate string `json:"certificate_file"`
			Key         string `json:"private_key_file"`
			Roots       string `json:"ca_certificate_file"`
		} `json:"config"`
	} `json:"certificate_providers"`
}

// files lists the certificates and keys that the agent writes.
func (b *bootstrap) files() []string {
	var list []string
	for _, p := range b.CertificateProviders {
		for _, f := range []string{p.Config.Certificate, p.Config.Key, p.Config.Roots} {
			if f != "" {
				list = append(list, f)
			}
		}
	}
	return list
}

// identify waits for what the agent writes, if there is an agent, and reads from it who this process is. The
// application may well start before its agent is done, and gRPC must not: it reads the bootstrap file once, and looks
// for certificates that were missing only after their refresh interval, a quarter of an hour.
func identify(ctx context.Context) (Identity, error) {
	path := os.Getenv(bootstrapEnv)
	if path == "" {
		return fromEnvironment(), nil
	}
	if err := awaitFile(ctx, path); err != nil {
		return Identity{}, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("xDS bootstrap: %w", err)
	}
	var file bootstrap
	if err := json.Unmarshal(b, &file); err != nil {
		return Identity{}, fmt.Errorf("xDS bootstrap: %w", err)
	}
	for _, f := range file.files() {
		if err := awaitFile(ctx, f); err != nil {
			return Identity{}, err
		}
	}
	return file.identity(), nil
}

// awaitFile waits until a file exists and is not empty.
func awaitFile(ctx context.Context, path string) error {
	ticker := time.NewTicker(bootstrapPoll)
	defer ticker.Stop()
	for {
		info, err := os.Stat(path)
		if err == nil && info.Size() > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("wait for the agent: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("stopped while waiting for %s: %w", path, ctx.Err())
		}
	}
}

// identity reads the node of a bootstrap file; variables of the environment fill gaps.
func (b *bootstrap) identity() Identity {
	m, id := b.Node.Metadata, fromEnvironment()
	id.Mesh = true
	id.Proxy = m.Version
	id.Revision = m.Annotations["istio.io/rev"]
	if v := m.Labels["app"]; v != "" {
		id.App = v
	}
	if v := m.Labels["version"]; v != "" {
		id.Version = v
	}
	if m.Name != "" {
		id.Pod, id.Namespace = m.Name, m.Namespace
	} else if parts := strings.Split(b.Node.ID, "~"); len(parts) == 4 {
		if name, namespace, ok := strings.Cut(parts[2], "."); ok {
			id.Pod, id.Namespace = name, namespace
		}
	}
	return id
}

func fromEnvironment() Identity {
	id := Identity{Pod: os.Getenv("POD_NAME"), Namespace: os.Getenv("POD_NAMESPACE"), App: os.Getenv("APP"), Version: os.Getenv("VERSION")}
	if id.Pod == "" {
		if host, err := os.Hostname(); err == nil {
			id.Pod = host
		}
	}
	return id
}
