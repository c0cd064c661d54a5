// Package install is the commands "meshlift install" and "meshlift uninstall": they put the agent into a cluster, or take
// it away, with the chart that is built into the binary.
package install
