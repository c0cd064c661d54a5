// Package internal holds only this test: the rules of docs/architecture.md, checked.
package internal

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "meshlift.dev/meshlift/"

// layer says what a package may import.
type layer struct {
	// packages of the layer; "x/*" stands for every package below x.
	packages []string
	// imports of this module that are allowed, as packages or layers' names.
	imports []string
	// pure packages import of others only libraries of values, and know no context, clock, file, network or log.
	pure bool
}

// layers is the whole architecture: a package that is in none of them fails the test.
func layers() map[string]layer {
	return map[string]layer{
		"api": {packages: []string{"api/*"}, imports: []string{"api"}},
		"domain": {
			packages: []string{
				"internal/version", "internal/window", "internal/mesh", "internal/catalog", "internal/values", "internal/release", "internal/handover",
				"internal/rollout", "internal/upgrade", "internal/gate", "internal/status", "internal/view", "internal/fleet", "internal/component", "internal/sidecar", "internal/bundle", "internal/preflight", "internal/envoyapi", "internal/envoyfilter",
				"internal/intent", "internal/proposal", "internal/xdsdiff", "internal/health", "internal/report",
			},
			imports: []string{"api", "domain"}, pure: true,
		},
		"adapters": {
			packages: []string{
				"internal/observe", "internal/xds", "internal/helm", "internal/routing", "internal/restart", "internal/certs",
				"internal/member", "internal/olm", "internal/survey", "internal/prom",
			},
			imports: []string{"api", "domain", "retry"},
		},
		"retry":       {packages: []string{"internal/retry"}},
		"services":    {packages: []string{"internal/controlplane"}, imports: []string{"api", "domain"}},
		"controllers": {packages: []string{"internal/controller/*"}, imports: []string{"api", "domain", "adapters", "retry"}},
		"webhook":     {packages: []string{"internal/webhook", "internal/hubwebhook"}, imports: []string{"api", "domain"}},
		"login":       {packages: []string{"internal/login"}},
		"httpapi":     {packages: []string{"internal/httpapi"}, imports: []string{"api", "domain", "login"}},
		"commands":    {packages: []string{"internal/cli/*"}, imports: []string{"api", "domain", "commands", "charts"}},
		"charts":      {packages: []string{"charts"}},
		"web":         {packages: []string{"web"}},
		// Wiring knows the concrete adapters. The command line never runs a controller.
		"cli":   {packages: []string{"internal/cli"}, imports: []string{"api", "domain", "adapters", "commands", "charts"}},
		"agent": {packages: []string{"internal/agent"}, imports: []string{"api", "domain", "adapters", "services", "controllers", "webhook"}},
		"hub":   {packages: []string{"internal/hub"}, imports: []string{"api", "domain", "adapters", "services", "controllers", "webhook", "login", "httpapi", "charts", "web"}},
		"main":  {packages: []string{"cmd/*"}, imports: []string{"agent", "hub", "cli", "commands"}},
	}
}

// valueLibraries are what pure packages may import of others: they hold types and text, and do nothing.
func valueLibraries() []string {
	return []string{"k8s.io/apimachinery/", "k8s.io/api/", "sigs.k8s.io/yaml", "github.com/charmbracelet/x/ansi", "github.com/Masterminds/semver/", "github.com/robfig/cron/", "google.golang.org/protobuf/", strvals}
}

// strvals is Helm's parser of "--set", the one package of Helm that is pure.
const strvals = "helm.sh/helm/v4/pkg/strvals"

// outsideWorld are the packages of the standard library that pure packages do not know.
func outsideWorld() []string {
	return []string{"context", "os", "net", "log", "math/rand", "crypto/rand", "io/fs", "syscall", "testing"}
}

// tooLong lists files and functions ("file.go" or "file.go:Function") that may be longer, with the reason.
func tooLong() map[string]string {
	return map[string]string{}
}

// Limits of what a reader can hold in mind.
const (
	maxFile     = 400
	maxFunction = 80
)

type listed struct {
	ImportPath, Dir                             string
	Imports, TestImports, XTestImports, GoFiles []string
}

// name is the import path below the module.
func (p listed) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// goList runs once: it takes a second.
var goList = sync.OnceValues(func() ([]byte, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,GoFiles", "./api/...", "./charts/...", "./cmd/...", "./internal/...", "./web")
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	return cmd.Output()
})

func list(t *testing.T) []listed {
	t.Helper()
	out, err := goList()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if p.name() != "internal" { // this test
			packages = append(packages, p)
		}
	}
}

// layerOf returns the layer of a package: the one that names it, else the one with its parent.
func layerOf(name string) string {
	for at := name; ; at = path.Dir(at) {
		for l, def := range layers() {
			if at == name && slices.Contains(def.packages, name) || at != name && slices.Contains(def.packages, at+"/*") {
				return l
			}
		}
		if at == "." {
			return ""
		}
	}
}

func TestEveryPackageImportsOnlyWhatItsLayerMay(t *testing.T) {
	for _, p := range list(t) {
		l := layerOf(p.name())
		if l == "" {
			t.Errorf("%s is in no layer: add it to layers() and to docs/architecture.md", p.name())
			continue
		}
		for _, i := range p.Imports {
			own, ok := strings.CutPrefix(i, module)
			if ok && !slices.Contains(layers()[l].imports, layerOf(own)) {
				t.Errorf("%s (%s) imports %s (%s)", p.name(), l, own, layerOf(own))
			}
		}
	}
}

func TestTheAPIImportsOnlyApimachinery(t *testing.T) {
	for _, p := range list(t) {
		for _, i := range p.Imports {
			if layerOf(p.name()) == "api" && strings.Contains(i, ".") && !strings.HasPrefix(i, "k8s.io/apimachinery/") && !strings.HasPrefix(i, module+"api/") {
				t.Errorf("%s imports %s", p.name(), i)
			}
		}
	}
}

func TestPurePackagesKnowNoOutsideWorld(t *testing.T) {
	for _, p := range list(t) {
		if !layers()[layerOf(p.name())].pure {
			continue
		}
		for _, i := range p.Imports {
			first, _, _ := strings.Cut(i, "/")
			switch {
			case strings.HasPrefix(i, module):
			case strings.Contains(first, "."):
				if !slices.ContainsFunc(valueLibraries(), func(l string) bool { return strings.HasPrefix(i+"/", l) || i == l }) {
					t.Errorf("%s imports %s, which is no library of values", p.name(), i)
				}
			default:
				if i != "net/netip" && slices.ContainsFunc(outsideWorld(), func(o string) bool { return i == o || strings.HasPrefix(i, o+"/") }) {
					t.Errorf("%s is pure and imports %q", p.name(), i)
				}
			}
		}
		for _, file := range p.GoFiles {
			for _, call := range clockCalls(t, filepath.Join(p.Dir, file)) {
				t.Errorf("%s/%s is pure and calls %s: take the time as an argument", p.name(), file, call)
			}
		}
	}
}

// clockCalls returns the uses of the wall clock in a file.
func clockCalls(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := s.X.(*ast.Ident)
		clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
		if ok && (x.Name == "time" && slices.Contains(clock, s.Sel.Name) || x.Name == "metav1" && s.Sel.Name == "Now") {
			out = append(out, x.Name+"."+s.Sel.Name)
		}
		return true
	})
	return out
}

func TestOnlyPackageHelmKnowsHelm(t *testing.T) {
	for _, p := range list(t) {
		imports := p.Imports
		if p.name() != "charts" { // its test renders the chart
			imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		}
		for _, i := range imports {
			if strings.HasPrefix(i, "helm.sh/") && i != strvals && p.name() != "internal/helm" {
				t.Errorf("%s imports %s: use internal/helm", p.name(), i)
			}
		}
	}
}

func TestNoPackageIsADump(t *testing.T) {
	for _, p := range list(t) {
		if slices.Contains([]string{"util", "utils", "common", "helpers", "misc", "tools"}, path.Base(p.name())) {
			t.Errorf("%s: name a package after what it provides", p.name())
		}
	}
}

func TestTheArchitectureDocumentNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`((?:internal|api|cmd|charts|web)[a-z0-9/]*)`").FindAllSubmatch(text, -1) {
		named[string(m[1])] = true
	}
	for _, p := range list(t) {
		if !named[p.name()] {
			t.Errorf("docs/architecture.md does not say what `%s` is", p.name())
		}
		delete(named, p.name())
	}
	for name := range named {
		if _, err := os.Stat(filepath.Join("..", name)); err != nil {
			t.Errorf("docs/architecture.md names `%s`, which does not exist", name)
		}
	}
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	allowed := tooLong()
	check := func(what string, lines, limit int) {
		_, excepted := allowed[what]
		delete(allowed, what)
		if lines > limit && !excepted {
			t.Errorf("%s has %d lines, the limit is %d", what, lines, limit)
		}
		if lines <= limit && excepted {
			t.Errorf("%s has %d lines and needs no exception any more", what, lines)
		}
	}
	for _, file := range sources(t) {
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, filepath.Join("..", file), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(parsed) {
			continue
		}
		check(file, fset.File(parsed.Pos()).LineCount(), maxFile)
		for _, d := range parsed.Decls {
			// The length of a test is the length of its table.
			if f, ok := d.(*ast.FuncDecl); ok && !strings.HasSuffix(file, "_test.go") {
				check(file+":"+f.Name.Name, fset.Position(f.End()).Line-fset.Position(f.Pos()).Line+1, maxFunction)
			}
		}
	}
	for what := range allowed {
		t.Errorf("the exception for %s is for nothing", what)
	}
}

// sources lists the Go files of all modules of the repository, as slash-separated paths.
func sources(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir("..", func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "bin" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".."):
			return filepath.SkipDir
		case strings.HasSuffix(at, ".go"):
			out = append(out, filepath.ToSlash(strings.TrimPrefix(at, ".."+string(filepath.Separator))))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
