package certs

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const name = "asm-controller-webhook.cpaas-system.svc"

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func renewed(t testing.TB, b Bundle, at time.Time) (Bundle, time.Time) {
	t.Helper()
	out, next, err := Renew(b, name, at)
	if err != nil {
		t.Fatal(err)
	}
	return out, next
}

func TestAnEmptySecretIsFilledAndThenLeftAlone(t *testing.T) {
	b, next := renewed(t, Bundle{}, start)
	if _, err := b.leaf(name, start); err != nil {
		t.Fatalf("the first certificate is not valid: %v", err)
	}
	if want := start.Add(Lifetime - RenewBefore); !next.Equal(want) {
		t.Errorf("next look at %v, want %v", next, want)
	}
	again, _ := renewed(t, b, next.Add(-time.Second))
	if !again.Equal(b) {
		t.Error("a valid certificate was replaced before it was due")
	}
}

func TestARenewalIsAnnouncedBeforeItIsServed(t *testing.T) {
	old, due := renewed(t, Bundle{}, start)
	announced, promote := renewed(t, old, due)
	if !bytes.Equal(announced.Cert, old.Cert) || announced.NextCert == nil {
		t.Fatal("the new certificate must be announced and not served at once")
	}
	if !bytes.Contains(announced.Trusted, old.Trusted) || bytes.Equal(announced.Trusted, old.Trusted) {
		t.Fatal("both authorities must be trusted from the announcement on")
	}
	if want := due.Add(Settle); !promote.Equal(want) {
		t.Errorf("promotion at %v, want %v", promote, want)
	}
	if early, _ := renewed(t, announced, promote.Add(-time.Second)); !early.Equal(announced) {
		t.Error("the new certificate was served before everybody trusted its authority")
	}
	done, _ := renewed(t, announced, promote)
	if !bytes.Equal(done.Cert, announced.NextCert) || done.NextCert != nil {
		t.Error("the announced certificate was not promoted when it was due")
	}
	if late, _ := renewed(t, done, start.Add(Lifetime)); bytes.Contains(late.Trusted, old.Trusted) {
		t.Error("an expired authority stays trusted")
	}
}

func TestWhatCannotBeServedIsReplacedAtOnce(t *testing.T) {
	good, _ := renewed(t, Bundle{}, start)
	other, _ := renewed(t, Bundle{}, start)
	for reason, c := range map[string]struct {
		bundle Bundle
		at     time.Time
	}{
		"expired":                    {good, start.Add(Lifetime + time.Hour)},
		"no authority":               {Bundle{Cert: good.Cert, Key: good.Key}, start},
		"authority of another":       {Bundle{Cert: good.Cert, Key: good.Key, Trusted: other.Trusted}, start},
		"key of another certificate": {Bundle{Cert: good.Cert, Key: other.Key, Trusted: good.Trusted}, start},
		"garbage":                    {Bundle{Cert: []byte("x"), Key: []byte("y"), Trusted: []byte("z")}, start},
	} {
		t.Run(reason, func(t *testing.T) {
			b, _ := renewed(t, c.bundle, c.at)
			if bytes.Equal(b.Cert, c.bundle.Cert) {
				t.Fatal("the certificate was kept")
			}
			if _, err := b.leaf(name, c.at); err != nil {
				t.Errorf("the new certificate is not valid: %v", err)
			}
		})
	}
	t.Run("for another Service", func(t *testing.T) {
		b, _, err := Renew(good, "other.cpaas-system.svc", start)
		if err != nil || bytes.Equal(b.Cert, good.Cert) {
			t.Errorf("the certificate of another name was kept (%v)", err)
		}
	})
}

// An API server that learns of new authorities Settle late accepts the served certificate at every moment, whatever the
// rhythm in which the agent looks.
func TestEveryServedCertificateIsTrustedByALateAPIServer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := start
		b, next, err := Renew(Bundle{}, name, now)
		if err != nil {
			rt.Fatal(err)
		}
		type write struct {
			at      time.Time
			trusted []byte
		}
		writes := []write{{now, b.Trusted}}
		for now.Before(start.Add(2 * Lifetime)) {
			step := rapid.OneOf(rapid.Just(next.Sub(now)), rapid.Just(Settle), rapid.Just(40*24*time.Hour)).Draw(rt, "step")
			now = now.Add(step)
			if b, next, err = Renew(b, name, now); err != nil {
				rt.Fatal(err)
			}
			seen := writes[0].trusted
			for _, w := range writes {
				if !w.at.After(now.Add(-Settle)) {
					seen = w.trusted
				}
			}
			if _, err := (Bundle{Cert: b.Cert, Key: b.Key, Trusted: seen}).leaf(name, now); err != nil {
				rt.Fatalf("at %v: %v", now, err)
			}
			writes = append(writes, write{now, b.Trusted})
		}
	})
}
