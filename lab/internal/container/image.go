// Package container runs a container of a lab pod as an ordinary local process.
//
// Start re-executes the lab binary as a short-lived shim (Main) in new mount, PID and UTS
// namespaces. The shim joins the pod's network namespace, builds a root file system out of a tmpfs
// and bind mounts, pivots into it and executes the container's command as process 1 of its PID
// namespace. So when that process ends, or the lab does, nothing of the container survives.
package container

import (
	"strings"
)

// Image says how the lab runs a container image as a local process.
type Image struct {
	// Repository is the image without its tag. A repository of one word ("pilot", "proxyv2") also
	// matches the last element of a longer one ("docker.io/istio/pilot").
	Repository string
	// Tag restricts the image to one tag ("1.31.0") or to the tags that begin with it at a
	// boundary ("1.31" matches "1.31.0-distroless" but not "1.310"). Empty matches every tag.
	Tag string
	// Files maps paths in the container to files of this machine, mounted read-only.
	Files map[string]string
	// Entrypoint is the command of a container that has none.
	Entrypoint []string
	// Env is the image's environment.
	Env map[string]string
	// Simulated lists first arguments for which a container ends with success at once instead of
	// running ("istio-iptables").
	Simulated []string
}

// Quality of a match between an image and a reference's tag, from worst to best.
const (
	noMatch    = -1
	anyTag     = 0
	exactTag   = 1 << 20
	defaultTag = "latest"
)

// Find returns the image that fits a reference such as "docker.io/istio/pilot:1.31.0" best: the one
// with exactly this tag, else with the longest leading part of it, else without a tag.
func Find(images []Image, ref string) (Image, bool) {
	repository, tag := splitReference(ref)
	var found Image
	best := noMatch
	for _, image := range images {
		if !image.hasRepository(repository) {
			continue
		}
		if q := image.tagQuality(tag); q > best {
			found, best = image, q
		}
	}
	return found, best != noMatch
}

// IsSimulated says whether a container with these arguments ends at once without running.
func (i Image) IsSimulated(args []string) bool {
	if len(args) == 0 {
		return false
	}
	for _, s := range i.Simulated {
		if s == args[0] {
			return true
		}
	}
	return false
}

func (i Image) hasRepository(repository string) bool {
	if i.Repository == repository {
		return true
	}
	return !strings.Contains(i.Repository, "/") && strings.HasSuffix(repository, "/"+i.Repository)
}

func (i Image) tagQuality(tag string) int {
	switch {
	case i.Tag == "":
		return anyTag
	case i.Tag == tag:
		return exactTag
	case strings.HasPrefix(tag, i.Tag) && strings.ContainsRune(".-_", rune(tag[len(i.Tag)])):
		return len(i.Tag)
	}
	return noMatch
}

// splitReference parts repository and tag; a digest is dropped.
func splitReference(ref string) (repository, tag string) {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i], ref[i+1:]
	}
	return ref, defaultTag
}
