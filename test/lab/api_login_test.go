package lab

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"meshlift.dev/meshlift/test/lab/labtest"
)

func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: time.Minute}
}

func (s *served) session(t *testing.T) {
	b := browser(t)
	if code, text := s.call(t.Context(), b, "anonymous", "POST", "/session", `{"token":"nonsense"}`); code != http.StatusUnauthorized {
		t.Fatalf("%d %s", code, text)
	}
	if code, text := s.call(t.Context(), b, "anonymous", "POST", "/session", `{"token":"`+s.tokens["operator"]+`"}`); code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	if code, text := s.call(t.Context(), b, "anonymous", "GET", "/session", ""); code != http.StatusOK || !strings.Contains(text, "system:serviceaccount:people:operator") {
		t.Errorf("%d %s", code, text)
	}
	for _, c := range s.cookies(t, b) {
		if strings.Contains(c.Value, s.tokens["operator"][:20]) {
			t.Error("the token can be read from the cookie")
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), "POST", s.base+"/upgrades/up/pause", nil)
	r.Header.Set("Origin", "https://evil.example")
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a request that another site made: %d", resp.StatusCode)
	}
	if code, _ := s.call(t.Context(), b, "anonymous", "DELETE", "/session", ""); code != http.StatusNoContent {
		t.Errorf("log out: %d", code)
	}
	if code, _ := s.call(t.Context(), b, "anonymous", "GET", "/session", ""); code != http.StatusUnauthorized {
		t.Errorf("after logging out: %d", code)
	}
}

func (s *served) cookies(t *testing.T, b *http.Client) []*http.Cookie {
	t.Helper()
	at, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	return b.Jar.Cookies(at)
}

// provider runs a real OpenID Connect provider, and returns its issuer.
func (s *served) provider(t *testing.T, redirect string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.Root, ".lab", "bin", "lab"), "oidc", "--redirect", redirect)
	log := filepath.Join(t.TempDir(), "oidc.log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = f.Close() })
	issuer := ""
	labtest.Eventually(t, "the provider serves", func(context.Context) string {
		text, _ := os.ReadFile(log)
		if at := regexp.MustCompile(`http://127\.0\.0\.1:\d+/\n`).Find(text); at != nil {
			issuer = strings.TrimSpace(string(at))
			return ""
		}
		return "it has said: " + string(text)
	})
	return issuer
}

func (s *served) write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// oidc does what a browser does: it follows the redirects, fills in the form of the provider, and comes back with a session.
func (s *served) oidc(t *testing.T) {
	b := browser(t)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.base+"/oidc/login?page=/api/v1/session", nil)
	page, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(page.Body)
	_ = page.Body.Close()
	if page.StatusCode != http.StatusOK || page.Request.URL.Query().Get("authRequestID") == "" {
		t.Fatalf("no login page: %s at %s: %s", page.Status, page.Request.URL, said)
	}
	form := url.Values{"username": {"test-user2"}, "password": {"verysecure"}, "id": {page.Request.URL.Query().Get("authRequestID")}}
	r, _ = http.NewRequestWithContext(t.Context(), "POST", page.Request.URL.String(), bytes.NewBufferString(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	page, err = b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	text, _ := io.ReadAll(page.Body)
	if page.Request.URL.Path != "/api/v1/session" || !strings.Contains(string(text), `"user":"oidc:id2"`) {
		t.Fatalf("at %s: %s", page.Request.URL, text)
	}
	// The name has no rights of its own until RBAC says so.
	if code, _ := s.call(t.Context(), b, "anonymous", "GET", "/meshes/prod", ""); code != http.StatusForbidden {
		t.Errorf("without a role: %d", code)
	}
	s.Kubectl(t, nil, "create", "clusterrolebinding", "oidc", "--clusterrole=meshlift-viewer", "--user=oidc:id2")
	labtest.Eventually(t, "the role counts", func(ctx context.Context) string {
		if code, text := s.call(ctx, b, "anonymous", "GET", "/meshes/prod", ""); code != http.StatusOK {
			return text
		}
		return ""
	})
	// A code that was not asked for here begins no session.
	if code, _ := s.call(t.Context(), browser(t), "anonymous", "GET", "/oidc/callback?state=a&code=b", ""); code != http.StatusUnauthorized {
		t.Errorf("a login that was begun elsewhere: %d", code)
	}
}
