// Package web holds the pages of the hub, as `make web` built them, and serves them beside its API.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// dist is what `make web` writes; in a clean clone it holds only a placeholder, so that Go alone builds the program.
//
//go:embed all:dist
var dist embed.FS

const (
	// index is the one page; its script shows what the address says.
	index = "index.html"
	// hashed is the folder of files whose names change with their content.
	hashed = "assets/"
	// policy lets the pages load nothing from elsewhere, and be framed by nobody. Styles are set by scripts.
	policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; " +
		"form-action 'self'; frame-ancestors 'none'"
)

// unbuilt is shown in the place of pages that were not built.
const unbuilt = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Meshlift</title>
<h1>The pages are not in this binary</h1>
<p>It was built without them. Run <code>make web</code>, then build again. The API is at <a href="/api/v1/openapi.json">/api/v1</a>.</p>
</html>
`

// Handler serves the pages: files under assets/ may be kept for ever, and every other address is the page itself, so that the address
// of any page can be shared.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant
	}
	return newHandler(files)
}

// file is ready to be sent.
type file struct {
	content, compressed []byte
	kind, tag           string
}

type handler map[string]file

// newHandler reads all files at once: they are a few, and in memory anyway.
func newHandler(files fs.FS) handler {
	h := handler{}
	err := fs.WalkDir(files, ".", func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(at), ".") {
			return err
		}
		content, err := fs.ReadFile(files, at)
		h[at] = newFile(at, content)
		return err
	})
	if err != nil {
		panic(err) // they are embedded
	}
	return h
}

func newFile(name string, content []byte) file {
	sum := sha256.Sum256(content)
	f := file{content: content, kind: kindOf(name), tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(content) // a buffer takes everything
	_ = w.Close()
	if b.Len() < len(content)*9/10 { // not for fonts and images
		f.compressed = b.Bytes()
	}
	return f
}

// kindOf does not depend on what the machine has in /etc/mime.types, for the kinds that the pages are made of.
func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".woff2":
		return "font/woff2"
	default:
		if kind := mime.TypeByExtension(ext); kind != "" {
			return kind
		}
		return "application/octet-stream"
	}
}

// ServeHTTP implements http.Handler.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only pages are here", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	f, ok := h[name]
	switch {
	case ok && strings.HasPrefix(name, hashed):
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	case strings.HasPrefix(name+"/", hashed):
		// Of an older version: a page in its place would be run as a script.
		http.Error(w, "there is no such file; load the page again", http.StatusNotFound)
		return
	case !ok:
		if f, ok = h[index]; !ok {
			f = newFile(index, []byte(unbuilt))
		}
		fallthrough
	default:
		w.Header().Set("Cache-Control", "no-cache") // asked for again each time; the tag answers
	}
	f.send(w, r)
}

func (f file) send(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Vary", "Accept-Encoding")
	content, tag := f.content, f.tag
	if f.compressed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		content, tag = f.compressed, strings.TrimSuffix(f.tag, `"`)+`-gzip"`
	}
	w.Header().Set("ETag", tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// secure sets what tells a browser to distrust everything else.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
}
