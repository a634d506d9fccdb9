package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	wtls "breakwater/web/tls"
)

// serve runs a server on dir until the returned function is called.
func serve(t *testing.T, b *box, dir string) (*Server, func()) {
	t.Helper()
	o := b.options()
	o.Socket, o.Address = filepath.Join(dir, "c.sock"), "127.0.0.1:0"
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx) }()
	return s, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "web") // a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheSocketIsItsOwnersOnly(t *testing.T) {
	dir := shortDir(t)
	b := newBox(t)
	_, stop := serve(t, b, dir)
	info, err := os.Stat(filepath.Join(dir, "c.sock"))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket has the mode %v (%v), want %v", info.Mode(), err, fs.ModeSocket|0o600)
	}
	if _, err := Listen(Options{Control: b.control, Log: discard(), Socket: filepath.Join(dir, "c.sock")}); err == nil {
		t.Error("a second server took the socket away")
	}
	stop()
	if left, _ := filepath.Glob(filepath.Join(dir, "*sock*")); len(left) > 0 {
		t.Errorf("after the end %v is left", left)
	}
}

func TestASocketLeftByACrashIsReplaced(t *testing.T) {
	dir := shortDir(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "c.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, stop := serve(t, newBox(t), dir)
	stop()
}

func TestTheNetworkNeedsALogin(t *testing.T) {
	dir := shortDir(t)
	b := newBox(t)
	s, stop := serve(t, b, dir)
	defer stop()
	if got := statusOver(t, b.dir, s.Addresses()[1]); got != http.StatusUnauthorized {
		t.Errorf("without a token: got %d, want 401", got)
	}
}

// statusOver asks over TLS, trusting the certificate file and its names.
func statusOver(t *testing.T, dir, address string) int {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, wtls.CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + address + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}
