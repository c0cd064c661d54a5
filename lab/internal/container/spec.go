package container

// InitCommand is the first argument with which the lab binary becomes the container shim.
const InitCommand = "container-init"

// Spec is everything that the shim needs to know of a container.
type Spec struct {
	// Hostname is the pod's host name.
	Hostname string `json:"hostname"`
	// Root is an empty directory of the host on which the shim mounts the root file system. Only
	// the container sees what is mounted there.
	Root string `json:"root"`
	// Mounts are bind mounts of files and directories of the host.
	Mounts []Mount `json:"mounts,omitempty"`
	// Texts are small files of the container, by absolute path.
	Texts map[string]string `json:"texts,omitempty"`
	// Args is the command with its arguments; Args[0] is looked up in PATH of Env.
	Args []string `json:"args"`
	// Env is the whole environment as KEY=value.
	Env []string `json:"env"`
	// Dir is the working directory, "/" when empty.
	Dir string `json:"dir,omitempty"`
	// ReadOnlyRoot makes everything read-only except Mounts that aren't.
	ReadOnlyRoot bool `json:"readOnlyRoot,omitempty"`
}

// Mount is one bind mount.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// File descriptors that the shim inherits.
const (
	specFD  = 3 // JSON of the Spec
	errorFD = 4 // the shim's error; closed without a word when the command runs
	netnsFD = 5 // the pod's network namespace
)

// failedToStart is the exit code of a shim that could not execute the command.
const failedToStart = 127

// defaultPath is the PATH of containers that have none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
