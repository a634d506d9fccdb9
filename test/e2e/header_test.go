//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"breakwater/appliance/header"
	"breakwater/test/lab"
)

// TestTCPHeader: the origin sees the client's address in the header that the service has, and what the client sends
// comes back to the byte, whoever finishes first.
func TestTCPHeader(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		port         uint16
	}{
		{"any port has v2", "v2", 443},
		{"the first port", "v2", 1},
		{"the last port", "v2", 65535},
		{"the listener's own port", "v2", 61000},
		{"an exact port wins", "v1", 25565},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, f family) {
				conn := dial(t, "tcp", f.edge, tt.port)
				got, in := readAnswer(t, conn)
				// The pool has one origin, with IPv4: that clients come over IPv6 is told by the header alone.
				want := lab.Answer{Origin: "games-1", Peer: got.Peer, Header: tt.header, Source: local(t, conn), Destination: remote(t, conn)}
				if got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if got.Peer.Addr().String() != "198.18.2.1" {
					t.Errorf("got a connection from %s, want it from the box", got.Peer)
				}
				sent := bytes.Repeat([]byte("all of it "), 10_000)
				go func() {
					_, _ = conn.Write(sent)
					_ = conn.(*net.TCPConn).CloseWrite()
				}()
				if back, err := io.ReadAll(in); err != nil || !bytes.Equal(back, sent) {
					t.Errorf("got %d bytes back (%v), want the %d sent", len(back), err, len(sent))
				}
			})
		})
	}
}

// TestUDPHeader: every mode tells the origin the client's address, and the reply comes from the address dialled.
func TestUDPHeader(t *testing.T) {
	var services []string
	modes := []string{"none", "v2-each", "v2-first", "spp"}
	for i, mode := range modes {
		services = append(services, fmt.Sprintf(`{ "name": %q, "protocols": ["udp"], "ports": ["%d"], "pool": "games4", "udpHeader": %[1]q }`, mode, 7001+i))
	}
	apply(t, "["+strings.Join(services, ",")+"]")
	for i, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			both(t, func(t *testing.T, f family) {
				conn := dial(t, "udp", f.edge, uint16(7001+i))
				for _, payload := range []string{"the first datagram, of a size that may be answered in full", "the second of the same flow"} {
					got, back := exchange(t, conn, []byte(payload))
					want := lab.Answer{Origin: "games-1", Peer: got.Peer, Header: map[string]string{"none": "none", "spp": "spp"}[mode],
						Source: local(t, conn), Destination: remote(t, conn)}
					switch want.Header {
					case "":
						want.Header = "v2"
					case "none":
						want.Source, want.Destination = got.Peer, got.Destination
					}
					if got != want || string(back) != payload {
						t.Errorf("got %+v and %q, want %+v and %q", got, back, want, payload)
					}
				}
			})
		})
	}
}

// TestTransparent: the packets themselves carry the client's address to the origin, and its replies find back.
func TestTransparent(t *testing.T) {
	apply(t, `[
		{ "name": "v4", "protocols": ["tcp", "udp"], "ports": ["1-65535"], "pool": "games4", "addresses": ["198.18.1.10/32"], "transparent": true },
		{ "name": "v6", "protocols": ["tcp", "udp"], "ports": ["1-65535"], "pool": "games6", "addresses": ["2001:db8:1::10/128"], "transparent": true } ]`)
	both(t, func(t *testing.T, f family) {
		t.Run("tcp", func(t *testing.T) {
			conn := dial(t, "tcp", f.edge, 22)
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			got, _ := readAnswer(t, conn)
			if got.Peer != local(t, conn) || got.Header != "none" {
				t.Errorf("got %+v, want the peer %s and no header", got, local(t, conn))
			}
		})
		t.Run("udp", func(t *testing.T) {
			conn := dial(t, "udp", f.edge, 53)
			got, _ := exchange(t, conn, []byte(strings.Repeat("x", 100)))
			if got.Peer != local(t, conn) || got.Header != "none" {
				t.Errorf("got %+v, want the peer %s and no header", got, local(t, conn))
			}
		})
	})
}

// TestNoForgedHeader: what a client sends as a header is payload behind the real one.
func TestNoForgedHeader(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		conn := dial(t, "tcp", f.edge, 25565)
		forged, err := header.V1(addrPort(t, conn.RemoteAddr()), addrPort(t, conn.RemoteAddr()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(forged); err != nil {
			t.Fatal(err)
		}
		got, in := readAnswer(t, conn)
		if got.Source != local(t, conn) {
			t.Errorf("got the source %s, want the real one, %s", got.Source, local(t, conn))
		}
		back := make([]byte, len(forged))
		if _, err := io.ReadFull(in, back); err != nil || !bytes.Equal(back, forged) {
			t.Errorf("got %q (%v), want the forged header as payload", back, err)
		}
	})
}
