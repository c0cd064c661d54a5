package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

var built = fstest.MapFS{
	".gitkeep":           {},
	"index.html":         {Data: []byte("<!doctype html><script src=/assets/main-abc.js></script>")},
	"favicon.svg":        {Data: []byte("<svg/>")},
	"assets/main-abc.js": {Data: []byte(strings.Repeat("console.log('meshlift');\n", 100))},
	"assets/font.woff2":  {Data: []byte("wOF2")},
}

func get(h http.Handler, path string, header ...string) *http.Response {
	return do(h, http.MethodGet, path, header...)
}

func do(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, http.NoBody)
	for n := 0; n < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryAddressIsThePageOrAFile(t *testing.T) {
	h := newHandler(built)
	for path, want := range map[string]struct {
		code        int
		cache, kind string
		thePage     bool
	}{
		"/":                               {200, "no-cache", "text/html; charset=utf-8", true},
		"/index.html":                     {200, "no-cache", "text/html; charset=utf-8", true},
		"/meshes/prod/deployment":         {200, "no-cache", "text/html; charset=utf-8", true},
		"/clusters/east/namespaces/a.b":   {200, "no-cache", "text/html; charset=utf-8", true},
		"/../../etc/passwd":               {200, "no-cache", "text/html; charset=utf-8", true},
		"/.gitkeep":                       {200, "no-cache", "text/html; charset=utf-8", true},
		"/favicon.svg":                    {200, "no-cache", "image/svg+xml", false},
		"/assets/main-abc.js":             {200, "public, max-age=31536000, immutable", "text/javascript; charset=utf-8", false},
		"/assets/font.woff2":              {200, "public, max-age=31536000, immutable", "font/woff2", false},
		"/assets/main-of-yesterday.js":    {404, "", "text/plain; charset=utf-8", false},
		"/assets":                         {404, "", "text/plain; charset=utf-8", false},
		"/meshes/../assets/main-other.js": {404, "", "text/plain; charset=utf-8", false},
	} {
		r := get(h, path)
		if r.StatusCode != want.code || r.Header.Get("Cache-Control") != want.cache || r.Header.Get("Content-Type") != want.kind {
			t.Errorf("%s: %d, cache %q, kind %q", path, r.StatusCode, r.Header.Get("Cache-Control"), r.Header.Get("Content-Type"))
		}
		if got := strings.Contains(text(t, r), "<!doctype html>"); got != want.thePage {
			t.Errorf("%s is the page: %t", path, got)
		}
	}
}

func TestPagesLoadNothingFromElsewhereAndAreFramedByNobody(t *testing.T) {
	for _, path := range []string{"/", "/assets/main-abc.js", "/assets/gone.js"} {
		header := get(newHandler(built), path).Header
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:", "frame-ancestors 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: %q is not in the policy %q", path, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe-eval") || strings.Contains(csp, "script-src") {
			t.Errorf("%s: scripts are allowed by %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
			if header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, header.Get(name))
			}
		}
	}
}

func TestAFileIsSentCompressedAndOnlyWhenItChanged(t *testing.T) {
	h := newHandler(built)
	r := get(h, "/assets/main-abc.js", "Accept-Encoding", "br, gzip")
	if r.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("headers %v", r.Header)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != string(built["assets/main-abc.js"].Data) {
		t.Errorf("%q, %v", b, err)
	}
	if r := get(h, "/assets/font.woff2", "Accept-Encoding", "gzip"); r.Header.Get("Content-Encoding") != "" {
		t.Error("a font was compressed")
	}
	tag := get(h, "/").Header.Get("ETag")
	if r := get(h, "/meshes", "If-None-Match", tag); r.StatusCode != http.StatusNotModified {
		t.Errorf("the same page again: %d", r.StatusCode)
	}
	if r := do(h, http.MethodHead, "/"); r.StatusCode != 200 || text(t, r) != "" {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
	if r := do(h, http.MethodPost, "/meshes"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", r.StatusCode)
	}
}

func TestWithoutPagesOnePageSaysHowToBuildThem(t *testing.T) {
	h := newHandler(fstest.MapFS{".gitkeep": {}})
	r := get(h, "/meshes/prod")
	if body := text(t, r); r.StatusCode != 200 || !strings.Contains(body, "make web") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	// Whatever is embedded now, with pages or without, is served.
	if r := get(Handler(), "/"); r.StatusCode != 200 || !strings.Contains(text(t, r), "Meshlift") {
		t.Errorf("the embedded pages: %d", r.StatusCode)
	}
}
