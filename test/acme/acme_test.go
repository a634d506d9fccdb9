//go:build e2e

package acme

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/health"
	"breakwater/web/tls"
)

// home is where the operator sits.
var home = netip.MustParseAddr("127.0.0.9")

// patience is how long to wait for an authority, which asks again after a second.
const patience = 30 * time.Second

// box serves the certificates in dir on the port that the authorities connect to, until the returned function is
// called, which is at the end of the test at the latest.
//
// The management network is home alone, and the authorities are strangers to it, as they are to a real box.
func box(t *testing.T, dir string) (*tls.Certificates, func()) {
	t.Helper()
	c, err := tls.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", shared.port))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.NotFoundHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	ended := make(chan error, 1)
	limits := tls.LimitOptions{Checking: c.Checking, Allow: func(a netip.Addr) bool { return a == home }}
	go func() { ended <- server.Serve(cryptotls.NewListener(tls.Limit(l, limits), c.Config())) }()
	closed := false
	stop := func() {
		if closed {
			return
		}
		closed = true
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		c.Close()
	}
	t.Cleanup(stop)
	return c, stop
}

// dial opens TLS to the box from an address.
func dial(from netip.Addr, name string, protocols ...string) (*cryptotls.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return cryptotls.DialWithDialer(&d, "tcp", fmt.Sprintf("127.0.0.1:%d", shared.port),
		&cryptotls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols})
}

// shown is the fingerprint of what a browser gets under a name, and whether it accepts it.
func shown(t *testing.T, name string) (fingerprint string, accepted bool) {
	t.Helper()
	conn, err := dial(home, name)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chain := conn.ConnectionState().PeerCertificates
	o := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err = chain[0].Verify(o)
	return tls.Fingerprint(chain[0].Raw), err == nil
}

// of is the certificate by ACME for a name.
func of(c *tls.Certificates, name string) tls.Certificate {
	for _, d := range c.Describe() {
		if d.Kind == tls.ACME && slices.Equal(d.Names, []string{name}) {
			return d
		}
	}
	return tls.Certificate{}
}

func wait(t *testing.T, c *tls.Certificates, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s; there are %+v and %+v", what, c.Describe(), c.Conditions())
		}
	}
}

func set(t *testing.T, c *tls.Certificates, directory string, names ...string) {
	t.Helper()
	if err := c.SetACME(names, "admin@example.test", directory); err != nil {
		t.Fatal(err)
	}
}

func TestACertificateIsObtainedKeptAndGivenUp(t *testing.T) {
	const name, second = "box.example.test", "gate.example.test"
	dir := t.TempDir()
	c, stop := box(t, dir)
	if got, accepted := shown(t, name); got != c.Fingerprint() || accepted {
		t.Errorf("before there is one, %s is shown", got)
	}
	set(t, c, shared.lasting.directory, name, second)
	wait(t, c, "certificates", func() bool { return of(c, name).InUse && of(c, second).InUse })
	issued := of(c, name)
	if got, accepted := shown(t, name); got != issued.Fingerprint || !accepted {
		t.Errorf("%s is shown (accepted: %v), want %s", got, accepted, issued.Fingerprint)
	}
	if got, accepted := shown(t, second); got != of(c, second).Fingerprint || !accepted {
		t.Errorf("%s is shown for the second name (accepted: %v)", got, accepted)
	}
	if got, _ := shown(t, "localhost"); got != c.Fingerprint() {
		t.Errorf("%s is shown for a name it does not have", got)
	}
	if c.Checking() {
		t.Error("strangers are let in after the check")
	}
	if conn, err := dial(netip.MustParseAddr("127.0.0.1"), name); err == nil {
		_ = conn.Close()
		t.Error("the page is open to strangers")
	}
	if !c.Trusted(name) || c.Trusted("localhost") || c.Trusted("127.0.0.1") {
		t.Errorf("trusted: %v, as localhost %v", c.Trusted(name), c.Trusted("localhost"))
	}
	if issued.Problem != "" || len(issued.Words) != 4 || len(c.Conditions()) != 0 {
		t.Errorf("it is described as %+v with %+v", issued, c.Conditions())
	}
	onlyOwnerMayRead(t, filepath.Join(dir, "acme"))
	stop()

	c, _ = box(t, dir)
	set(t, c, shared.lasting.directory, name)
	wait(t, c, "certificate after a restart", func() bool { return of(c, name).InUse })
	if again := of(c, name).Fingerprint; again != issued.Fingerprint {
		t.Errorf("after a restart another one was obtained")
	}
	set(t, c, "")
	if got, _ := shown(t, name); got != c.Fingerprint() || c.Trusted(name) {
		t.Errorf("with ACME off %s is shown", got)
	}
}

func onlyOwnerMayRead(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

// A box that was off until its certificate had ended gets a new one as it starts.
func TestACertificateIsRenewedAtStart(t *testing.T) {
	const name = "brief.example.test"
	dir := t.TempDir()
	c, stop := box(t, dir)
	set(t, c, shared.brief.directory, name)
	wait(t, c, "certificate", func() bool { return of(c, name).InUse })
	first := of(c, name)
	stop()
	time.Sleep(time.Until(first.NotAfter.Add(time.Second)))

	c, _ = box(t, dir)
	set(t, c, shared.brief.directory, name)
	wait(t, c, "new certificate", func() bool { d := of(c, name); return d.Fingerprint != "" && d.Fingerprint != first.Fingerprint })
	if got, accepted := shown(t, name); got == first.Fingerprint || !accepted {
		t.Errorf("the old one is still shown (accepted: %v)", accepted)
	}
}

func TestRefusalsAreConditions(t *testing.T) {
	tests := []struct {
		name, host, want string
	}{
		{"no such name", "nowhere.example.test", "nowhere.example.test"},
		{"forbidden by the authority", "forbidden.example.test", "forbidden.example.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := box(t, t.TempDir())
			set(t, c, shared.lasting.directory, tt.host, "fine.example.test")
			wait(t, c, "condition", func() bool { return len(c.Conditions()) > 0 })
			got := c.Conditions()[0]
			if len(c.Conditions()) != 1 || got.Code != "acme" || got.Subject != tt.host || got.Severity != health.Warning || !strings.Contains(got.Detail, tt.want) {
				t.Errorf("got %+v", c.Conditions())
			}
			t.Log(got.Detail)
			if of(c, tt.host).Problem == "" {
				t.Error("the certificate has no problem")
			}
			if print, _ := shown(t, tt.host); print != c.Fingerprint() {
				t.Errorf("%s is shown meanwhile", print)
			}
			// One name's refusal is nothing to the others.
			wait(t, c, "other certificate", func() bool { return of(c, "fine.example.test").InUse })
			set(t, c, "")
			if len(c.Conditions()) != 0 {
				t.Errorf("with ACME off there is still %+v", c.Conditions())
			}
		})
	}
}

// The protocol of the check is for those who check.
func TestTheCheckIsNoPage(t *testing.T) {
	c, _ := box(t, t.TempDir())
	set(t, c, shared.lasting.directory, "box.example.test")
	wait(t, c, "certificate", func() bool { return of(c, "box.example.test").InUse })
	for _, name := range []string{"box.example.test", "../../etc/passwd", "localhost"} {
		conn, err := dial(home, name, "acme-tls/1")
		if err == nil {
			_ = conn.Close()
			t.Errorf("a check of %q that nobody asked for is answered", name)
		}
	}
}
