package member

import (
	"strings"
	"testing"
)

func kubeconfig(cluster, user string) string {
	return `
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {` + cluster + `}}]
users: [{name: u, user: {` + user + `}}]
`
}

const server6443 = `server: "https://10.0.0.1:6443"`

func TestAKubeconfigMustHoldItsCredentials(t *testing.T) {
	for name, c := range map[string]struct{ text, refusal string }{
		"a token":                    {kubeconfig(server6443, "token: abc"), ""},
		"a password":                 {kubeconfig(server6443, "username: a, password: b"), ""},
		"a token beside a file":      {kubeconfig(server6443, "token: abc, tokenFile: /x"), ""},
		"nothing":                    {"", "is empty"},
		"no YAML":                    {"{", "cannot be read"},
		"no context":                 {strings.Replace(kubeconfig(server6443, "token: abc"), "current-context: x", "", 1), "no current-context"},
		"a missing context":          {strings.Replace(kubeconfig(server6443, "token: abc"), "current-context: x", "current-context: other", 1), `no context "other"`},
		"a missing user":             {strings.Replace(kubeconfig(server6443, "token: abc"), "{name: u, user", "{name: v, user", 1), `no user "u"`},
		"a missing cluster":          {strings.Replace(kubeconfig(server6443, "token: abc"), "{name: c, cluster: {server", "{name: d, cluster: {server", 1), `no cluster "c"`},
		"no server":                  {kubeconfig("", "token: abc"), "is not a URL"},
		"plain http":                 {kubeconfig(`server: "http://10.0.0.1"`, "token: abc"), "not an https URL"},
		"an unchecked server":        {kubeconfig(server6443+", insecure-skip-tls-verify: true", "token: abc"), "insecure-skip-tls-verify"},
		"the file of a CA":           {kubeconfig(server6443+", certificate-authority: /etc/ca.crt", "token: abc"), `"/etc/ca.crt" as certificate-authority`},
		"the file of a key":          {kubeconfig(server6443, "client-key: /etc/key, client-certificate-data: YQ=="), `"/etc/key" as client-key`},
		"the file of a token":        {kubeconfig(server6443, "tokenFile: /etc/shadow"), `"/etc/shadow" as tokenFile`},
		"a program":                  {kubeconfig(server6443, "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}"), `from the program "aws"`},
		"a provider":                 {kubeconfig(server6443, "auth-provider: {name: gcp}"), `the auth-provider "gcp"`},
		"nobody":                     {kubeconfig(server6443, ""), "holds no credentials"},
		"a certificate that is none": {kubeconfig(server6443, "client-certificate-data: YQ==, client-key-data: YQ=="), ""},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := Parse([]byte(c.text))
			switch {
			case c.refusal == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refusal == "" && (config.Host != "https://10.0.0.1:6443" || config.BearerTokenFile != "" || config.ExecProvider != nil):
				t.Errorf("%+v", config)
			case c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)):
				t.Errorf("got %v, want %q", err, c.refusal)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(kubeconfig(server6443, "token: abc")))
	f.Add([]byte(kubeconfig(server6443, "exec: {command: sh}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := Parse(data)
		if err != nil {
			return
		}
		if config.ExecProvider != nil || config.AuthProvider != nil || config.BearerTokenFile != "" || config.CAFile != "" || config.CertFile != "" || config.KeyFile != "" || config.Insecure {
			t.Errorf("%+v", config)
		}
	})
}
