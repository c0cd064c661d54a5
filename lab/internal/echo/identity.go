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
}

// identify waits for the agent's bootstrap file, if there is to be one, and reads from it who this process is. The
// container of the application may well start before the agent has written it.
func identify(ctx context.Context) (Identity, error) {
	path := os.Getenv(bootstrapEnv)
	if path == "" {
		return fromEnvironment(), nil
	}
	ticker := time.NewTicker(bootstrapPoll)
	defer ticker.Stop()
	for {
		b, err := os.ReadFile(path)
		if err == nil {
			return fromBootstrap(b)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Identity{}, fmt.Errorf("xDS bootstrap: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return Identity{}, fmt.Errorf("stopped while waiting for the xDS bootstrap %s: %w", path, ctx.Err())
		}
	}
}

// fromBootstrap reads the node of a bootstrap file; variables of the environment fill gaps.
func fromBootstrap(b []byte) (Identity, error) {
	var file bootstrap
	if err := json.Unmarshal(b, &file); err != nil {
		return Identity{}, fmt.Errorf("xDS bootstrap: %w", err)
	}
	m, id := file.Node.Metadata, fromEnvironment()
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
	} else if parts := strings.Split(file.Node.ID, "~"); len(parts) == 4 {
		if name, namespace, ok := strings.Cut(parts[2], "."); ok {
			id.Pod, id.Namespace = name, namespace
		}
	}
	return id, nil
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
