package box

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"meshlift.dev/meshlift/lab/internal/container"
)

// EchoRepository is the image of the gRPC echo server and client, which is the lab binary itself.
const EchoRepository = "lab.meshlift.dev/echo"

// images returns every image that the lab can run as a process.
func (o *Options) images(lab string) ([]container.Image, error) {
	all := slices.Clone(o.Images)
	for _, version := range slices.Sorted(maps.Keys(o.Istio)) {
		dir := o.Istio[version]
		discovery, err := filepath.EvalSymlinks(filepath.Join(dir, "pilot-discovery"))
		if err != nil {
			return nil, fmt.Errorf("Istio %s: %w", version, err)
		}
		all = append(all, istioImage("pilot", version, "/usr/local/bin/pilot-discovery", discovery))
		agent, err := filepath.EvalSymlinks(filepath.Join(dir, "pilot-agent"))
		if os.IsNotExist(err) {
			continue // then pods of this version can only be simulated
		}
		if err != nil {
			return nil, fmt.Errorf("Istio %s: %w", version, err)
		}
		proxy := istioImage("proxyv2", version, "/usr/local/bin/pilot-agent", agent)
		proxy.Simulated = []string{"istio-iptables"}
		all = append(all, proxy)
	}
	return append(all, container.Image{
		Repository: EchoRepository, Files: map[string]string{"/lab": lab}, Entrypoint: []string{"/lab", "echo"},
	}), nil
}

func istioImage(repository, tag, path, file string) container.Image {
	return container.Image{Repository: repository, Tag: tag, Files: map[string]string{path: file}, Entrypoint: []string{path}}
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file", path)
	}
	return nil
}
