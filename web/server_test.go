package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// netipString is the n-th peer of some network.
func netipString(n int) string { return fmt.Sprintf("10.%d.%d.%d:99", n>>16, n>>8&255, n&255) }

// serve runs a server on dir until the returned function is called.
func serve(t *testing.T, b *box, dir string) (*Server, func()) {
	t.Helper()
	s, err := Listen(Options{Control: b.control, Log: discard(), Socket: filepath.Join(dir, "c.sock"), Address: "127.0.0.1:0", Dir: dir})
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

func TestTheCertificateIsMadeOnceAndTrusted(t *testing.T) {
	dir := shortDir(t)
	var prints []string
	for range 2 {
		b := newBox(t)
		s, stop := serve(t, b, dir)
		prints = append(prints, s.Fingerprint())
		if got := statusOver(t, dir, s.Addresses()[1]); got != http.StatusUnauthorized {
			t.Errorf("without a token: got %d, want 401", got)
		}
		stop()
	}
	if prints[0] != prints[1] || len(prints[0]) != 64 {
		t.Errorf("the fingerprints of two starts are %v", prints)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has the mode %v (%v), want 0600", info.Mode(), err)
	}
}

// statusOver asks over TLS, trusting the certificate file and its names.
func statusOver(t *testing.T, dir, address string) int {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, CertificateFile))
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

func TestABrokenCertificateIsOneSentence(t *testing.T) {
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, CertificateFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(Options{Control: newBox(t).control, Log: discard(), Socket: filepath.Join(dir, "c.sock"), Address: "127.0.0.1:0", Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "remove") {
		t.Errorf("got %v, want what to remove", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "c.sock")); err == nil {
		t.Error("the socket is left")
	}
}
