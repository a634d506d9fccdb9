package tls

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// page is a server of the tests that answers over TLS as the box does.
type page struct {
	*Listener
	certificates *Certificates
	address      string
}

func servePage(t *testing.T, o LimitOptions) *page {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{Limit(l, o), c, l.Addr().String()}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }),
		ReadHeaderTimeout: 3 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	ended := make(chan error)
	go func() { ended <- server.Serve(tls.NewListener(p.Listener, c.Config())) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		c.Close()
	})
	return p
}

// knock connects from an address and expects that it is let in, or closed before a handshake is too late.
func (p *page) knock(t *testing.T, from string, in bool) {
	t.Helper()
	limit := 2 * time.Second
	if in {
		limit = 100 * time.Millisecond
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", p.address)
	if errors.Is(err, syscall.ECONNRESET) && !in {
		return // so quickly that it came before the connection
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	_, err = conn.Read(make([]byte, 1))
	if got := errors.Is(err, os.ErrDeadlineExceeded); got != in {
		t.Errorf("%s is let in: %t (%v), want %t", from, got, err, in)
	}
}

// dial connects from an address of the loopback network.
func (p *page) dial(t *testing.T, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// roots are what a browser trusts that was shown the fingerprint.
func (p *page) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.certificates.selfSigned().leaf)
	return pool
}

// get asks for the page on conn, under the name, or under the address when there is none.
func (p *page) get(conn net.Conn, name string, protocols ...string) (tls.ConnectionState, error) {
	if name == "" {
		name = "127.0.0.1"
	}
	client := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: p.roots(), NextProtos: protocols})
	_ = client.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return tls.ConnectionState{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err == nil {
		_ = response.Body.Close()
	}
	return client.ConnectionState(), err
}

func TestThePageIsServed(t *testing.T) {
	p := servePage(t, LimitOptions{})
	for _, name := range []string{"", "localhost"} {
		state, err := p.get(p.dial(t, "127.0.0.1"), name, "h2", "http/1.1")
		if err != nil || state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 {
			t.Errorf("under %q: protocol %q, version %x, %v", name, state.NegotiatedProtocol, state.Version, err)
		}
	}
	old := tls.Client(p.dial(t, "127.0.0.1"), &tls.Config{ServerName: "localhost", RootCAs: p.roots(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := old.Handshake(); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	// An authority's check, which is none of our business while ACME is off.
	check := tls.Client(p.dial(t, "127.0.0.1"), &tls.Config{ServerName: "localhost", RootCAs: p.roots(), NextProtos: []string{acmeProtocol}})
	if err := check.Handshake(); err == nil {
		t.Error("acme-tls/1 is spoken without ACME")
	}
}

// A change of the certificates holds for the next connection, without a new listener.
func TestAnUploadIsServedAtOnce(t *testing.T) {
	p := servePage(t, LimitOptions{})
	p.certificates.now = now
	root := newIssuer(t, "Root", nil)
	chain, key := upload(t, root, &leaf{DNSNames: []string{"box.example.org"}})
	if err := p.certificates.SetOwn(chain, key); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.certificate)
	client := tls.Client(p.dial(t, "127.0.0.1"), &tls.Config{ServerName: "box.example.org", RootCAs: pool, Time: now})
	if err := client.Handshake(); err != nil {
		t.Error(err)
	}
}

func TestManyConnectionsOfOnePeer(t *testing.T) {
	t.Parallel()
	p := servePage(t, LimitOptions{Total: 12, PerPeer: 4})
	for i := range 10 {
		p.knock(t, "127.0.0.2", i < 4)
	}
	if got := p.Refused(); got != (Refusals{PerPeer: 6}) {
		t.Errorf("got %+v", got)
	}
	if _, err := p.get(p.dial(t, "127.0.0.1"), ""); err != nil {
		t.Errorf("another peer is not served: %v", err)
	}
	// What one peer holds is freed when its handshakes take too long.
	wait(t, func() bool { return p.Open() <= 1 })
	if _, err := p.get(p.dial(t, "127.0.0.2"), ""); err != nil {
		t.Errorf("the peer is not served afterwards: %v", err)
	}
}

// TestOneHostWithManyAddressesKeepsNobodyOut: with the addresses of an IPv6 /64 one host could hold every connection.
func TestOneHostWithManyAddressesKeepsNobodyOut(t *testing.T) {
	l := Limit(nil, LimitOptions{Total: 12, PerPeer: 2})
	var in []netip.Addr
	for a := netip.MustParseAddr("2001:db8::1"); a != netip.MustParseAddr("2001:db8::21"); a = a.Next() {
		if l.admit(a, false) == nil {
			in = append(in, a)
		}
	}
	if len(in) != 8 {
		t.Errorf("%d connections of a /64 are let in, want 8", len(in))
	}
	if l.admit(netip.MustParseAddr("2001:db8:0:1::1"), false) != nil || l.admit(netip.MustParseAddr("192.0.2.1"), false) != nil {
		t.Error("others are kept out")
	}
	for _, a := range in {
		l.release(a, false)
	}
	if l.Open() != 2 || len(l.peers) != 3 {
		t.Errorf("%d connections are open of %v, want 2", l.Open(), l.peers)
	}
}

func TestManyConnectionsOfAll(t *testing.T) {
	t.Parallel()
	p := servePage(t, LimitOptions{Total: 4})
	for i := range 8 {
		p.knock(t, fmt.Sprintf("127.0.1.%d", 1+i), i < 4)
	}
	if got := p.Refused(); got != (Refusals{Total: 4}) {
		t.Errorf("got %+v", got)
	}
	wait(t, func() bool { return p.Open() == 0 })
	if _, err := p.get(p.dial(t, "127.0.0.1"), ""); err != nil {
		t.Errorf("nobody is served afterwards: %v", err)
	}
}

func TestOnlyThoseWhoMay(t *testing.T) {
	var open atomic.Bool
	p := servePage(t, LimitOptions{Allow: func(a netip.Addr) bool { return open.Load() || a == netip.MustParseAddr("127.0.0.3") }})
	p.knock(t, "127.0.0.2", false)
	if _, err := p.get(p.dial(t, "127.0.0.3"), ""); err != nil {
		t.Error(err)
	}
	open.Store(true)
	if _, err := p.get(p.dial(t, "127.0.0.2"), ""); err != nil {
		t.Errorf("a change does not hold at once: %v", err)
	}
	if got := p.Refused(); got != (Refusals{Forbidden: 1}) {
		t.Errorf("got %+v", got)
	}
}

// While an authority may be looking, strangers get as far as a handshake that is none of its checks.
func TestStrangersAreInForAChecksSake(t *testing.T) {
	t.Parallel()
	var checking atomic.Bool
	p := servePage(t, LimitOptions{Checking: checking.Load, Allow: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.3") }})
	p.knock(t, "127.0.0.2", false)
	checking.Store(true)
	if state, err := p.get(p.dial(t, "127.0.0.2"), ""); err == nil || state.HandshakeComplete {
		t.Error("a stranger is shown the page")
	}
	for i := range maxStrangers { // without a pause, as their time runs
		p.dial(t, fmt.Sprintf("127.0.1.%d", 1+i))
	}
	for i := range 2 {
		p.knock(t, fmt.Sprintf("127.0.2.%d", 1+i), false)
	}
	if _, err := p.get(p.dial(t, "127.0.0.3"), ""); err != nil {
		t.Errorf("who may is not served: %v", err)
	}
	wait(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.strangers == 0 })
}

// One that sends a byte now and then gets no longer than one that sends nothing.
func TestSlowHandshakesEnd(t *testing.T) {
	t.Parallel()
	p := servePage(t, LimitOptions{})
	conn := p.dial(t, "127.0.0.2")
	start := time.Now()
	hello := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, make([]byte, 100)...) // the begin of a ClientHello
	for _, b := range hello {
		if _, err := conn.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if took := time.Since(start); took > 6*time.Second || p.Open() != 0 {
		t.Errorf("after %v %d connections are open", took, p.Open())
	}
}

func TestAPlaceIsGivenBackOnce(t *testing.T) {
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	l := Limit(below, LimitOptions{})
	client, err := net.Dial("tcp", below.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_ = conn.Close()
	}
	if l.Open() != 0 || len(l.peers) != 0 {
		t.Errorf("%d are open, of %v", l.Open(), l.peers)
	}
	_ = below.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener says %v", err)
	}
}

// wait is for something that must happen.
func wait(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}
