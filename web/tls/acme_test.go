package tls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"breakwater/appliance/settings"
)

// No case leaves this machine: what an authority answers is for test/acme.
func TestACMEThatCannotWork(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	stranger := httptest.NewUnstartedServer(nil)
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	stranger.StartTLS()
	defer stranger.Close()
	empty := httptest.NewServer(nil)
	defer empty.Close()
	tests := []struct {
		name, directory string
		names           []string
		want            string
	}{
		{"nobody listens", "https://" + closed.Addr().String() + "/dir", []string{"box.example"}, "connection refused"},
		{"a stranger", stranger.URL, []string{"box.example"}, "certificate signed by unknown authority"},
		{"no authority", empty.URL, []string{"box.example"}, "404"},
		{"names of a home network", settings.LetsEncrypt, []string{"box", "box.local", "localhost", "box.internal", "box.home.arpa"}, "none of the management names"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newMachine().open(t, t.TempDir())
			if err := c.SetACME(tt.names, "", tt.directory); err != nil {
				t.Fatal(err)
			}
			wait(t, func() bool { return len(c.Conditions()) > 0 })
			got := c.Conditions()[0]
			if codes(c.Conditions()) != "acme warning" || !strings.Contains(got.Detail, tt.want) {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
			if c.choose(tt.names[0]) != c.selfSigned() || c.Trusted(tt.names[0]) {
				t.Error("something else than the self-signed one is served")
			}
			start := time.Now()
			c.Close()
			if took := time.Since(start); took > 10*time.Second || len(c.Conditions()) != 0 {
				t.Errorf("it ended after %v with %v", took, c.Conditions())
			}
		})
	}
}

func TestSetACMETwiceIsOnce(t *testing.T) {
	c := newMachine().open(t, t.TempDir())
	set := func(email, directory string, names ...string) *authority {
		t.Helper()
		if err := c.SetACME(names, email, directory); err != nil {
			t.Fatal(err)
		}
		return c.authority()
	}
	if set("", "") != nil {
		t.Error("it is on without a directory")
	}
	const nobody = "https://127.0.0.1:1/dir"
	first := set("a@example.org", nobody, "a.example")
	if set("a@example.org", nobody, "a.example") != first {
		t.Error("the same begins again")
	}
	second := set("a@example.org", nobody, "a.example", "b.example")
	if second == first || !slices.Equal(second.names, []string{"a.example", "b.example"}) {
		t.Errorf("a new name is not asked for: %v", second.names)
	}
	if got := c.Describe(); len(got) != 3 || got[1].Kind != ACME || got[1].InUse || got[2].Names[0] != "b.example" {
		t.Errorf("got %+v", got)
	}
	if set("a@example.org", "", "a.example") != nil {
		t.Error("it stays on")
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct{ name, give, want string }{
		{"plain", "a b", "a b"},
		{"lines and colours", "a\r\n\x1b[31mb", "a   [31mb"},
		{"direction", "a\u202eb", "a b"},
		{"not UTF-8", "a\xffb", "a?b"},
		{"long", strings.Repeat("é", 400), strings.Repeat("é", 300) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := printable(tt.give); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// All of it at once, for the race detector: handshakes go on while an operator changes everything.
func TestChangesDuringHandshakes(t *testing.T) {
	c := newMachine().open(t, t.TempDir())
	chain, key := upload(t, newIssuer(t, "Test", nil), &leaf{DNSNames: []string{"box.example"}})
	var g errgroup.Group
	for i, change := range []func() error{
		func() error { return c.SetOwn(chain, key) },
		c.RemoveOwn,
		func() error { return c.SetACME([]string{"box.example"}, "", "https://127.0.0.1:1/dir") },
		func() error { return c.SetACME(nil, "", "") },
		func() error { return c.Refresh([]string{"box.example"}) },
		func() error { return c.Refresh(nil) },
		func() error { c.Describe(); c.Conditions(); c.Checking(); return nil },
		func() error {
			got, err := c.forHello(&tls.ClientHelloInfo{ServerName: "box.example"})
			if err == nil && got.PrivateKey == nil {
				err = errors.New("a handshake got no certificate")
			}
			return err
		},
	} {
		g.Go(func() error {
			for range 10 {
				if err := change(); err != nil {
					return fmt.Errorf("change %d: %w", i, err)
				}
				c.Trusted("box.example")
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
