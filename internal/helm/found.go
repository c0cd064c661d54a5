package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	v1 "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"helm.sh/helm/v4/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"

	"meshlift.dev/meshlift/internal/release"
)

// Found is a release of any namespace.
type Found struct {
	// Last is the newest revision. Deployed is the one that is deployed, else the newest that was once; nil when there is none.
	Last     release.Release
	Deployed *release.Release
}

// known keeps what revisions say, by the identity of their Secret: a release of istiod has hundreds of kilobytes.
type known struct {
	mu   sync.Mutex
	seen map[string]*release.Release
}

// page is how many Secrets are listed at once.
const page = 500

// Releases finds the releases of all namespaces that are stored in Secrets, as Helm does by default. The metadata of the Secrets is
// listed; only revisions that matter and were not read before are read whole.
func (c *Client) Releases(ctx context.Context) ([]Found, error) {
	secrets, err := c.revisions(ctx)
	if err != nil {
		return nil, err
	}
	clients, err := kubernetes.NewForConfig(c.options.REST)
	if err != nil {
		return nil, fmt.Errorf("connect helm to the cluster: %w", err)
	}
	keep := map[string]*release.Release{}
	var out []Found
	for _, history := range group(secrets) {
		last, good := pick(history)
		f := Found{}
		r, err := c.revision(ctx, clients, last, keep)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue // it went away, or is none of Helm 3 or 4
		}
		f.Last = *r
		if good != nil {
			if f.Deployed, err = c.revision(ctx, clients, good, keep); err != nil {
				return nil, err
			}
		}
		out = append(out, f)
	}
	c.known.mu.Lock()
	c.known.seen = keep
	c.known.mu.Unlock()
	return out, nil
}

// revisions lists the metadata of the Secrets of all releases.
func (c *Client) revisions(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	m, err := metadata.NewForConfig(c.options.REST)
	if err != nil {
		return nil, fmt.Errorf("connect helm to the cluster: %w", err)
	}
	var out []metav1.PartialObjectMetadata
	for next := ""; ; {
		list, err := m.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm", Limit: page, Continue: next})
		if err != nil {
			return nil, fmt.Errorf("list the Helm releases: %w", err)
		}
		out = append(out, list.Items...)
		if next = list.Continue; next == "" {
			return out, nil
		}
	}
}

// group sorts revisions by release, the newest last.
func group(secrets []metav1.PartialObjectMetadata) [][]*metav1.PartialObjectMetadata {
	byName := map[string][]*metav1.PartialObjectMetadata{}
	var names []string
	for n := range secrets {
		s := &secrets[n]
		if s.Labels["name"] == "" {
			continue
		}
		name := s.Namespace + "/" + s.Labels["name"]
		if byName[name] == nil {
			names = append(names, name)
		}
		byName[name] = append(byName[name], s)
	}
	slices.Sort(names)
	out := make([][]*metav1.PartialObjectMetadata, 0, len(names))
	for _, name := range names {
		slices.SortFunc(byName[name], func(a, b *metav1.PartialObjectMetadata) int { return number(a) - number(b) })
		out = append(out, byName[name])
	}
	return out
}

// number of a revision; 0 when it has none.
func number(s *metav1.PartialObjectMetadata) int {
	n, err := strconv.Atoi(s.Labels["version"])
	if err != nil {
		return 0
	}
	return n
}

// pick returns the newest revision, and the one that is deployed or was.
func pick(history []*metav1.PartialObjectMetadata) (last, good *metav1.PartialObjectMetadata) {
	for _, status := range []string{"superseded", "deployed"} {
		for _, s := range history {
			if s.Labels["status"] == status {
				good = s
			}
		}
	}
	return history[len(history)-1], good
}

// revision reads one revision, without its chart and manifest; nil when it is gone or cannot be read as one.
func (c *Client) revision(ctx context.Context, clients kubernetes.Interface, s *metav1.PartialObjectMetadata, keep map[string]*release.Release) (*release.Release, error) {
	id := string(s.UID) + "/" + s.ResourceVersion
	c.known.mu.Lock()
	r, ok := c.known.seen[id]
	c.known.mu.Unlock()
	if !ok {
		store := driver.NewSecrets(clients.CoreV1().Secrets(s.Namespace))
		found, err := store.Get(s.Name)
		switch {
		case errors.Is(err, driver.ErrReleaseNotFound):
			return nil, nil
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("read release %s/%s: %w", s.Namespace, s.Labels["name"], err)
		}
		if v, is := found.(*v1.Release); is {
			r = convert(v)
		}
	}
	keep[id] = r
	return r, nil
}

// Objects returns what the newest revision of a release consists of, without hooks.
func (c *Client) Objects(_ context.Context, namespace, name string) ([]*unstructured.Unstructured, error) {
	cfg, err := c.configuration(namespace)
	if err != nil {
		return nil, err
	}
	r, err := last(cfg, name)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, doc := range releaseutil.SplitManifests(r.Manifest) {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			return nil, fmt.Errorf("read the manifest of release %q: %w", name, err)
		}
		if o.GetKind() == "" {
			continue
		}
		if o.GetNamespace() == "" {
			o.SetNamespace(namespace) // objects without a namespace of their own ignore it
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return compareKeys(a, b) })
	return out, nil
}

func compareKeys(a, b *unstructured.Unstructured) int {
	switch ka, kb := key(a), key(b); {
	case ka < kb:
		return -1
	case ka > kb:
		return 1
	}
	return 0
}
