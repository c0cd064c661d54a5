package chartrepo

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

//go:embed standin
var standinFiles embed.FS

// StandIn annotates the charts that are none of the projects whose names they have.
const StandIn = "lab.meshlift.dev/stand-in"

// standIn is one version of a chart of the lab's own, in the place of one that cannot be had as a Go module.
type standIn struct {
	name, version string
	// mode of its pods: "imagepull" never becomes ready.
	mode string
}

// standIns are the operators that a platform has besides Istio. Each has a version to come from and one to go to; the newest
// flagger is broken: its image cannot be pulled.
var standIns = []standIn{
	{name: "flagger", version: "1.0.0"},
	{name: "flagger", version: "1.1.0"},
	{name: "flagger", version: "1.2.0", mode: "imagepull"},
	{name: "asm-operator", version: "4.0.0"},
	{name: "asm-operator", version: "4.1.0"},
	{name: "jaeger-operator", version: "2.0.0"},
	{name: "jaeger-operator", version: "2.1.0"},
}

// chart makes the chart.
func (s standIn) chart() (*chartv2.Chart, error) {
	about := fmt.Sprintf("apiVersion: v2\nname: %[1]s\nversion: %[2]s\nappVersion: %[2]s\ndescription: A stand-in of Meshlift's lab for %[1]s, with one simulated pod.\nannotations: {%[3]s: \"true\"}\n",
		s.name, s.version, StandIn)
	files := []*archive.BufferedFile{{Name: "Chart.yaml", Data: []byte(about)}}
	err := fs.WalkDir(standinFiles, "standin", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := standinFiles.ReadFile(path)
		text := string(data)
		switch name := strings.TrimPrefix(path, "standin/"); {
		case strings.HasPrefix(name, "crds/"):
			text = strings.NewReplacer("KIND", strings.ReplaceAll(s.name, "-", ""), "VERSION", s.version).Replace(text)
		case name == "values.yaml":
			text = strings.Replace(text, `mode: ""`, `mode: "`+s.mode+`"`, 1)
		}
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(path, "standin/"), Data: []byte(text)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stand-in %s %s: %w", s.name, s.version, err)
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("stand-in %s %s: %w", s.name, s.version, err)
	}
	return c, nil
}
