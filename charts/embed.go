// Package charts holds the Helm chart of the agent, so that `meshlift install` needs nothing but the binary.
package charts

import (
	"embed"
	"fmt"
	"io/fs"
)

// all: takes _helpers.tpl and .helmignore along, whose names start with characters that go:embed leaves out.
//
//go:embed all:meshlift-agent
var files embed.FS

// Agent returns the files of the chart meshlift-agent; its root is the chart's directory.
func Agent() (fs.FS, error) {
	chart, err := fs.Sub(files, "meshlift-agent")
	if err != nil {
		return nil, fmt.Errorf("open embedded chart: %w", err)
	}
	return chart, nil
}
