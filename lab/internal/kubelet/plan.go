package kubelet

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"meshlift.dev/meshlift/lab/internal/container"
)

// plan is everything that is needed for one run of a container.
type plan struct {
	spec        container.Spec
	output      *logFile
	messageFile string
}

// pull finds the container's image. It returns false if work ended before there was one.
func (c *ctr) pull(work context.Context) (container.Image, bool) {
	for first := true; ; first = false {
		ref := c.spec().Image
		image, ok := container.Find(c.p.k.Images, ref)
		if ok {
			c.p.change(func() { c.image = "lab://" + ref })
			if !first || c.restarts == 0 {
				c.p.event(corev1.EventTypeNormal, "Pulled", "Container image %q already present on machine", ref)
			}
			return image, true
		}
		message := fmt.Sprintf("the lab has no local program for image %q", ref)
		c.p.event(corev1.EventTypeWarning, "Failed", "Failed to pull image %q: %s", ref, message)
		c.setWaiting("ErrImagePull", message)
		c.begin()
		if sleep(work, time.Second); work.Err() == nil {
			c.p.event(corev1.EventTypeNormal, "BackOff", "Back-off pulling image %q", ref)
			c.setWaiting("ImagePullBackOff", "Back-off pulling image: "+message)
			sleep(work, imageBackOff)
		}
		if work.Err() != nil {
			return container.Image{}, false
		}
	}
}

// plan works out a run of the container. It returns false if work ended before every object that
// the container needs was there.
func (c *ctr) plan(work context.Context, image container.Image) (*plan, bool) {
	for {
		plan, err := c.tryPlan(image)
		if err == nil {
			c.p.event(corev1.EventTypeNormal, "Created", "Container created: %s", c.name)
			return plan, true
		}
		c.setWaiting("CreateContainerConfigError", err.Error())
		c.begin()
		c.p.event(corev1.EventTypeWarning, "Failed", "Error: %v", err)
		if sleep(work, time.Second); work.Err() != nil {
			return nil, false
		}
	}
}

func (c *ctr) tryPlan(image container.Image) (*plan, error) {
	spec, object := c.spec(), c.p.latest()
	env, err := c.environment(image)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.p.dir, "containers", c.name)
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	plan := &plan{messageFile: filepath.Join(dir, "termination-log")}
	if err := os.WriteFile(plan.messageFile, nil, 0o666); err != nil {
		return nil, err
	}
	mounts, err := c.mounts(image, env, plan.messageFile)
	if err != nil {
		return nil, err
	}
	plan.spec = container.Spec{
		Hostname: hostname(object), Root: root, Mounts: mounts, Texts: c.p.texts(), Args: command(spec, image, env),
		Env: env.list(), Dir: spec.WorkingDir,
		ReadOnlyRoot: spec.SecurityContext != nil && isTrue(spec.SecurityContext.ReadOnlyRootFilesystem),
	}
	c.p.mu.Lock()
	restarts := c.restarts
	c.p.mu.Unlock()
	plan.output, err = createLog(filepath.Join(c.p.logDir, c.name, fmt.Sprintf("%d.log", restarts)))
	return plan, err
}

// command is what the container executes: its own command or the image's, and its arguments.
func command(spec *corev1.Container, image container.Image, env *environment) []string {
	var args []string
	if len(spec.Command) == 0 {
		args = append(args, image.Entrypoint...)
	}
	for _, a := range append(append([]string{}, spec.Command...), spec.Args...) {
		args = append(args, expand(a, env.get))
	}
	return args
}

// mounts are the image's files and the container's volumes.
func (c *ctr) mounts(image container.Image, env *environment, messageFile string) ([]container.Mount, error) {
	var all []container.Mount
	for target, source := range image.Files {
		all = append(all, container.Mount{Source: source, Target: target, ReadOnly: true})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Target < all[j].Target })
	spec := c.spec()
	if target := spec.TerminationMessagePath; target != "" {
		all = append(all, container.Mount{Source: messageFile, Target: target})
	}
	for _, m := range spec.VolumeMounts {
		v := c.p.volumes[m.Name]
		if v == nil {
			return nil, fmt.Errorf("volume %q of mount %s doesn't exist", m.Name, m.MountPath)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, env.get)
		}
		source, err := v.source(sub)
		if err != nil {
			return nil, err
		}
		all = append(all, container.Mount{Source: source, Target: m.MountPath, ReadOnly: m.ReadOnly || v.rendered()})
	}
	return all, nil
}

// texts are the files of /etc that make the pod's names work.
func (p *pod) texts() map[string]string {
	object, ip := p.latest(), p.address()
	name := hostname(object)
	hosts := fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n%s\t", ip)
	if object.Spec.Subdomain != "" {
		hosts += fmt.Sprintf("%s.%s.%s.svc.%s ", name, object.Spec.Subdomain, object.Namespace, p.k.ClusterDomain)
	}
	hosts += name + "\n"
	for _, a := range object.Spec.HostAliases {
		hosts += a.IP + "\t" + strings.Join(a.Hostnames, " ") + "\n"
	}
	return map[string]string{
		"/etc/hosts":         hosts,
		"/etc/hostname":      name + "\n",
		"/etc/resolv.conf":   p.resolvConf(object),
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1337:1337::/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
		"/etc/group":         "root:x:0:\ntty:x:5:\nistio-proxy:x:1337:\nnogroup:x:65534:\n",
	}
}

func (p *pod) resolvConf(object *corev1.Pod) string {
	var servers, search, options []string
	if object.Spec.DNSPolicy != corev1.DNSNone {
		servers = []string{p.k.DNS.String()}
		domain := "svc." + p.k.ClusterDomain
		search = []string{object.Namespace + "." + domain, domain, p.k.ClusterDomain}
		options = []string{"ndots:5"}
	}
	if d := object.Spec.DNSConfig; d != nil {
		servers = append(servers, d.Nameservers...)
		search = append(search, d.Searches...)
		for _, o := range d.Options {
			if o.Value != nil {
				options = append(options, o.Name+":"+*o.Value)
			} else {
				options = append(options, o.Name)
			}
		}
	}
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.String()
}

func (p *pod) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ip.IsValid() {
		return ""
	}
	return p.ip.String()
}

func hostname(object *corev1.Pod) string {
	name := object.Name
	if object.Spec.Hostname != "" {
		name = object.Spec.Hostname
	}
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-.")
	}
	return path.Base(name)
}

func isTrue(b *bool) bool { return b != nil && *b }
