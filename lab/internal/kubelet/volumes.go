package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	corev1 "k8s.io/api/core/v1"
)

// volume is one volume of a pod: a directory that is bound into its containers.
type volume struct {
	spec   corev1.Volume
	dir    string
	writer *payloadDir // of volumes whose content comes from the API server
	tokens map[string]*token
}

// rendered says whether the kubelet writes the content of the volume.
func (v *volume) rendered() bool { return v.writer != nil }

// source is what to bind into a container: the volume or a path within it.
func (v *volume) source(subPath string) (string, error) {
	if subPath == "" {
		return v.dir, nil
	}
	p, err := securejoin.SecureJoin(v.dir, subPath)
	if err != nil {
		return "", fmt.Errorf("subPath %q: %w", subPath, err)
	}
	if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) && !v.rendered() {
		if err := os.MkdirAll(p, 0o777); err != nil {
			return "", fmt.Errorf("subPath %q: %w", subPath, err)
		}
	} else if err != nil {
		return "", fmt.Errorf("subPath %q: %w", subPath, err)
	}
	return p, nil
}

// mountVolumes makes the pod's volumes; an error names what is missing so far.
func (p *pod) mountVolumes(ctx context.Context) error {
	all := map[string]*volume{}
	for _, spec := range p.latest().Spec.Volumes {
		v := &volume{spec: spec, dir: p.volumeDir(spec), tokens: map[string]*token{}}
		if err := os.MkdirAll(v.dir, 0o777); err != nil {
			return err
		}
		if err := os.Chmod(v.dir, 0o777); err != nil { // whatever the umask says
			return err
		}
		if spec.ConfigMap != nil || spec.Secret != nil || spec.DownwardAPI != nil || spec.Projected != nil {
			v.writer = &payloadDir{dir: v.dir}
		}
		if _, err := p.renderVolume(ctx, v); err != nil {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q: %w", spec.Name, err)
		}
		all[spec.Name] = v
	}
	p.volumes = all
	return nil
}

// hostPathRoot is the part of the node's file system that hostPath volumes share; any other hostPath is an empty
// directory of the pod.
const hostPathRoot = "/var/lib/lab/"

// volumeDir is the directory behind a volume. That of a shared hostPath outlives the pod.
func (p *pod) volumeDir(spec corev1.Volume) string {
	if spec.HostPath != nil {
		if path := filepath.Clean(spec.HostPath.Path); strings.HasPrefix(path, hostPathRoot) {
			return filepath.Join(p.k.StateDir, "hostpath", path)
		}
	}
	return filepath.Join(p.dir, "volumes", spec.Name)
}

// refreshVolumes keeps the content of the volumes up to date until ctx ends.
func (p *pod) refreshVolumes(ctx context.Context) {
	for {
		next := time.Now().Add(time.Hour)
		for _, v := range p.volumes {
			due, err := p.renderVolume(ctx, v)
			if err != nil && ctx.Err() == nil {
				p.event(corev1.EventTypeWarning, "FailedMount", "update of volume %q: %v", v.spec.Name, err)
				due = time.Now().Add(10 * time.Second)
			}
			if !due.IsZero() && due.Before(next) {
				next = due
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.refresh:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// renderVolume writes the content of a volume if it has changed; it returns when that must be done
// again at the latest because of a token, or zero.
func (p *pod) renderVolume(ctx context.Context, v *volume) (time.Time, error) {
	if !v.rendered() {
		return time.Time{}, nil
	}
	r := &rendering{ctx: ctx, p: p, v: v, files: payload{}}
	var err error
	switch s := v.spec; {
	case s.ConfigMap != nil:
		err = r.configMap(s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, s.ConfigMap.DefaultMode)
	case s.Secret != nil:
		err = r.secret(s.Secret.SecretName, s.Secret.Items, s.Secret.Optional, s.Secret.DefaultMode)
	case s.DownwardAPI != nil:
		err = r.downward(s.DownwardAPI.Items, s.DownwardAPI.DefaultMode)
	case s.Projected != nil:
		err = r.projected(s.Projected)
	}
	if err != nil {
		return time.Time{}, err
	}
	return r.due, v.writer.write(r.files)
}

// rendering collects the files of one volume.
type rendering struct {
	ctx   context.Context
	p     *pod
	v     *volume
	files payload
	due   time.Time
}

func (r *rendering) projected(s *corev1.ProjectedVolumeSource) error {
	for _, source := range s.Sources {
		var err error
		switch {
		case source.ConfigMap != nil:
			err = r.configMap(source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional, s.DefaultMode)
		case source.Secret != nil:
			err = r.secret(source.Secret.Name, source.Secret.Items, source.Secret.Optional, s.DefaultMode)
		case source.DownwardAPI != nil:
			err = r.downward(source.DownwardAPI.Items, s.DefaultMode)
		case source.ServiceAccountToken != nil:
			err = r.token(source.ServiceAccountToken)
		default:
			err = errors.New("unsupported source of a projected volume")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rendering) configMap(name string, items []corev1.KeyToPath, optional *bool, mode *int32) error {
	m, ok := r.p.objects.configMap(r.p.latest().Namespace, name)
	if !ok {
		return missing(optional, "configmap %q not found", name)
	}
	data := map[string][]byte{}
	for key, text := range m.Data {
		data[key] = []byte(text)
	}
	for key, bytes := range m.BinaryData {
		data[key] = bytes
	}
	return r.keys("configmap "+name, data, items, optional, mode)
}

func (r *rendering) secret(name string, items []corev1.KeyToPath, optional *bool, mode *int32) error {
	s, ok := r.p.objects.secret(r.p.latest().Namespace, name)
	if !ok {
		return missing(optional, "secret %q not found", name)
	}
	return r.keys("secret "+name, s.Data, items, optional, mode)
}

func (r *rendering) keys(what string, data map[string][]byte, items []corev1.KeyToPath, optional *bool, mode *int32) error {
	if items == nil {
		for key, bytes := range data {
			r.add(key, bytes, mode)
		}
		return nil
	}
	for _, item := range items {
		bytes, ok := data[item.Key]
		if !ok {
			if err := missing(optional, "%s has no key %q", what, item.Key); err != nil {
				return err
			}
			continue
		}
		if item.Mode != nil {
			r.add(item.Path, bytes, item.Mode)
		} else {
			r.add(item.Path, bytes, mode)
		}
	}
	return nil
}

func (r *rendering) downward(items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	for _, item := range items {
		var text string
		var err error
		switch {
		case item.FieldRef != nil:
			text, err = r.p.field(item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			text, err = r.p.resourceField(item.ResourceFieldRef.ContainerName, item.ResourceFieldRef)
		}
		if err != nil {
			return err
		}
		if item.Mode != nil {
			mode = item.Mode
		}
		r.add(item.Path, []byte(text), mode)
	}
	return nil
}

func (r *rendering) token(s *corev1.ServiceAccountTokenProjection) error {
	t := r.v.tokens[s.Path]
	if t == nil {
		t = &token{}
		r.v.tokens[s.Path] = t
	}
	text, due, err := t.get(r.ctx, r.p, s)
	if err != nil {
		return err
	}
	if r.due.IsZero() || due.Before(r.due) {
		r.due = due
	}
	mode := int32(0o644)
	r.add(s.Path, []byte(text), &mode)
	return nil
}

func (r *rendering) add(path string, bytes []byte, mode *int32) {
	m := os.FileMode(0o644)
	if mode != nil {
		m = os.FileMode(*mode)
	}
	r.files[strings.TrimPrefix(filepath.Clean("/"+path), "/")] = file{bytes: bytes, mode: m}
}

// referencedObjects are the ConfigMaps and Secrets that a pod's volumes and environment need.
func referencedObjects(object *corev1.Pod) map[objectKey]bool {
	keys := map[objectKey]bool{}
	configMap := func(name string) { keys[objectKey{"configmaps", object.Namespace, name}] = true }
	secret := func(name string) { keys[objectKey{"secrets", object.Namespace, name}] = true }
	for _, v := range object.Spec.Volumes {
		if v.ConfigMap != nil {
			configMap(v.ConfigMap.Name)
		}
		if v.Secret != nil {
			secret(v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				configMap(s.ConfigMap.Name)
			}
			if s.Secret != nil {
				secret(s.Secret.Name)
			}
		}
	}
	for _, list := range [][]corev1.Container{object.Spec.InitContainers, object.Spec.Containers} {
		for _, c := range list {
			environmentObjects(c, configMap, secret)
		}
	}
	return keys
}

func environmentObjects(c corev1.Container, configMap, secret func(name string)) {
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil {
			configMap(from.ConfigMapRef.Name)
		}
		if from.SecretRef != nil {
			secret(from.SecretRef.Name)
		}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			continue
		}
		if r := v.ValueFrom.ConfigMapKeyRef; r != nil {
			configMap(r.Name)
		}
		if r := v.ValueFrom.SecretKeyRef; r != nil {
			secret(r.Name)
		}
	}
}
