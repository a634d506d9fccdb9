//go:build e2e

package foreign

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"breakwater/test/lab"
)

// startHaproxy runs testdata/haproxy.cfg as origin.
func startHaproxy(t *testing.T, listening uint16) *server {
	t.Helper()
	s := start(t, lab.Origin, "haproxy", "-db", "-f", absolute(t, "testdata/haproxy.cfg"))
	for _, f := range families {
		s.awaitListening(t, f.origin, listening)
	}
	return s
}

// startNginx runs testdata/nginx.conf as origin.
func startNginx(t *testing.T, listening uint16) *server {
	t.Helper()
	s := start(t, lab.Origin, "nginx", "-p", t.TempDir(), "-e", "stderr", "-c", absolute(t, "testdata/nginx.conf"))
	for _, f := range families {
		s.awaitListening(t, f.origin, listening)
	}
	return s
}

func TestHAProxyAcceptsHeaders(t *testing.T) {
	haproxy := startHaproxy(t, 7005)
	for _, c := range []struct {
		name     string
		port     uint16
		uniqueID bool
	}{
		{"haproxy-v1", 7001, false},
		{"haproxy-v2", 7002, false},
		{"haproxy-tlv", 7003, true}, // HAProxy refuses a header with a wrong CRC32c
		{"haproxy-v1-crosses", 7004, false},
		{"haproxy-v2-crosses", 7005, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				conn := connect(t, f.client, f.at(c.port))
				want := addresses(local(conn), f.at(c.port))
				if c.uniqueID {
					want += sessionOf(t, local(conn)).ID.String()
				}
				if got := get(t, conn); got != want {
					t.Errorf("HAProxy sees %q, want %q", got, want)
				}
				awaitHealthy(t, f.name(c.name))
			})
		})
	}
	// What HAProxy logs about headers is about wrong ones; clients and health checks came with good ones only.
	if said := haproxy.said.String(); strings.Contains(said, "PROXY") {
		t.Errorf("HAProxy complains: %s", said)
	}
}

func TestNginxAcceptsHeadersAtHTTP(t *testing.T) {
	startNginx(t, 7022)
	for name, port := range map[string]uint16{"nginx-http-v1": 7021, "nginx-http-v2": 7022} {
		t.Run(name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				conn := connect(t, f.client, f.at(port))
				if got, want := get(t, conn), strings.TrimSpace(addresses(local(conn), f.at(port))); got != want {
					t.Errorf("nginx sees %q, want %q", got, want)
				}
				awaitHealthy(t, f.name(name))
			})
		})
	}
}

// The header has to go out at once, as this server's answer does not wait for the client.
func TestNginxStreamSpeaksFirst(t *testing.T) {
	startNginx(t, 7012)
	for name, port := range map[string]uint16{"nginx-stream-v1": 7011, "nginx-stream-v2": 7012} {
		t.Run(name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				conn := connect(t, f.client, f.at(port))
				if got, want := readAll(t, conn), strings.TrimSpace(addresses(local(conn), f.at(port))); got != want {
					t.Errorf("nginx sees %q, want %q", got, want)
				}
				awaitHealthy(t, f.name(name))
			})
		})
	}
}

// Without any header, the client's own address is the source of the packets.
func TestNginxSeesTransparentSource(t *testing.T) {
	startNginx(t, 7031)
	eachFamily(t, func(t *testing.T, f family) {
		conn := connect(t, f.client, f.at(7031))
		want := strings.TrimSpace(addresses(local(conn), netip.AddrPortFrom(f.origin, 7031)))
		if got := readAll(t, conn); got != want {
			t.Errorf("nginx sees %q, want %q", got, want)
		}
	})
}

// addresses is how the servers' configurations write whom they see.
func addresses(client, dialled netip.AddrPort) string {
	return fmt.Sprintf("%s %d %s %d ", client.Addr(), client.Port(), dialled.Addr(), dialled.Port())
}

// get sends a request and returns the body of the answer; the connection stays open.
func get(t *testing.T, conn net.Conn) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://game.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.Write(conn); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("got %s %q, %v", response.Status, body, err)
	}
	return string(body)
}

func readAll(t *testing.T, conn net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
