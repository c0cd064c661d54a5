// Package charts holds the Helm charts of the agent and of the hub, so that `meshlift install` and `meshlift bundle` need
// nothing but the binary.
package charts

import (
	"embed"
	"fmt"
	"io/fs"
)

// all: takes _helpers.tpl and .helmignore along, whose names start with characters that go:embed leaves out.
//
//go:embed all:meshlift-agent all:meshlift
var files embed.FS

// Agent returns the files of the chart meshlift-agent; its root is the chart's directory.
func Agent() (fs.FS, error) {
	return chart("meshlift-agent")
}

// Hub returns the files of the chart meshlift; its root is the chart's directory.
func Hub() (fs.FS, error) { return chart("meshlift") }

func chart(name string) (fs.FS, error) {
	chart, err := fs.Sub(files, name)
	if err != nil {
		return nil, fmt.Errorf("open embedded chart %s: %w", name, err)
	}
	return chart, nil
}
