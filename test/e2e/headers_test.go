//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

func TestTCPHeaders(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, originOf := range families {
			var services []settings.Service
			for i, header := range []string{"none", "v1", "v2"} {
				s := service(header, fmt.Sprint(100+i))
				s.TCPHeader = header
				services = append(services, s)
			}
			apply(t, document([]settings.Pool{pool("games", originOf.origin)}, services...))
			for i, header := range []string{"none", "v1", "v2"} {
				t.Run(fmt.Sprintf("%s to an %s origin", header, originOf.name), func(t *testing.T) {
					c := connect(t, f.at(uint16(100+i)))
					got, err := askTCP(c, "hello")
					if err != nil {
						t.Fatal(err)
					}
					want := lab.Answer{Origin: "games-1", Peer: got.Peer, Header: header, Source: local(c), Destination: addrPort(c.RemoteAddr())}
					if header == "none" {
						want.Source, want.Destination = got.Peer, netip.AddrPortFrom(originOf.origin, uint16(100+i))
					}
					if got != want {
						t.Errorf("got %+v, want %+v", got, want)
					}
				})
			}
		}
	})
}

// TestUniqueIDIsTheSessions: the id in the header is the one of the list of sessions, and the checksum holds.
func TestUniqueIDIsTheSessions(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own := ownAddress(t, f, 51)
		s := service("marked", "100")
		s.Protocols, s.TCPHeader, s.HeaderTLVs = []string{"tcp"}, "v2", []string{"unique-id", "crc32c"}
		apply(t, document([]settings.Pool{pool("games", own)}, s))
		seen := make(chan []byte, 1)
		accepting(listen(t, lab.Origin, netip.AddrPortFrom(own, 100)), func(c *net.TCPConn) {
			b := make([]byte, header.MaxSize)
			n, _ := c.Read(b)
			seen <- b[:n]
			_, _ = io.Copy(io.Discard, c)
		})
		c := connect(t, f.at(100))
		bytes := <-seen
		h, n, err := header.Parse(bytes)
		if err != nil || n != len(bytes) {
			t.Fatalf("got the first bytes %q (%v), want one header", bytes, err)
		}
		list := sessions(t, "--service", "marked", "--client", f.client.String())
		if len(list) != 1 || string(h.UniqueID) != list[0].ID.String() || h.Source != local(c) {
			t.Errorf("got the id %q of %s, want that of %+v", h.UniqueID, h.Source, list)
		}
		bytes[len(bytes)-1] ^= 1
		if _, _, err := header.Parse(bytes); err == nil {
			t.Error("a changed header was accepted, so there was no checksum in it")
		}
	})
}

// TestUDPHeaders looks at the datagrams as they arrive. The client's socket is not connected, so it would see a
// reply from a wrong address.
func TestUDPHeaders(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own := ownAddress(t, f, 52)
		modes := []string{"none", "v2-each", "v2-first", "spp"}
		var services []settings.Service
		for i, mode := range modes {
			s := service(mode, fmt.Sprint(200+i))
			s.UDPHeader = mode
			services = append(services, s)
		}
		apply(t, document([]settings.Pool{pool("games", own)}, services...))
		for i, mode := range modes {
			t.Run(mode, func(t *testing.T) { seesUDPHeader(t, f, own, mode, uint16(200+i)) })
		}
	})
}

func seesUDPHeader(t *testing.T, f family, own netip.Addr, mode string, port uint16) {
	raw := make(chan []byte, 8)
	answering(listenUDP(t, lab.Origin, netip.AddrPortFrom(own, port)), func(d []byte, _ netip.AddrPort) []byte {
		raw <- bytes.Clone(d)
		reply := []byte("reply")
		if src, dst, _, ok := header.ParseSPP(d); ok {
			spp := header.SPP(src, dst)
			reply = append(spp[:], reply...)
		}
		return reply
	})
	c := listenUDP(t, lab.Client, netip.AddrPortFrom(f.client, 0))
	me := local(c)
	for i, payload := range []string{"first", "", "a third, longer one"} {
		got := exchange(t, c, f.at(port), payload, raw)
		headed := mode == "v2-each" || mode == "v2-first" && i == 0
		h, rest, err := header.ParseDatagram(got)
		switch {
		case mode == "spp":
			src, dst, rest, ok := header.ParseSPP(got)
			if !ok || src != me || dst != f.at(port) || string(rest) != payload {
				t.Errorf("datagram %d: got %s to %s with %q, want %s to %s with %q", i, src, dst, rest, me, f.at(port), payload)
			}
		case headed && (err != nil || h.Source != me || h.Destination != f.at(port) || string(rest) != payload):
			t.Errorf("datagram %d: got %+v with %q (%v), want %s to %s with %q", i, h, rest, err, me, f.at(port), payload)
		case !headed && string(got) != payload:
			t.Errorf("datagram %d: got %q, want %q and no header", i, got, payload)
		}
	}
}

// exchange sends one datagram, returns what the origin got, and takes the reply.
func exchange(t *testing.T, c *net.UDPConn, at netip.AddrPort, payload string, raw <-chan []byte) []byte {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(payload), at); err != nil {
		t.Fatal(err)
	}
	got := receive(t, raw)
	buf := make([]byte, 100)
	setDeadline(t, c)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != at || string(buf[:n]) != "reply" {
		t.Fatalf("got %q from %s (%v), want the reply from %s", buf[:n], from, err, at)
	}
	return got
}

// TestSPPReplyOfAnotherClientIsDropped: the origin cannot be tricked, or trick, into answering somebody else.
func TestSPPReplyOfAnotherClientIsDropped(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own := ownAddress(t, f, 52)
		s := service("spp", "200")
		s.UDPHeader = "spp"
		apply(t, document([]settings.Pool{pool("games", own)}, s))
		answering(listenUDP(t, lab.Origin, netip.AddrPortFrom(own, 200)), func(d []byte, _ netip.AddrPort) []byte {
			src, dst, payload, _ := header.ParseSPP(d)
			switch string(payload) {
			case "bare":
				return []byte("bare")
			case "other":
				src = netip.AddrPortFrom(src.Addr(), src.Port()^1)
			}
			spp := header.SPP(src, dst)
			return append(spp[:], payload...)
		})
		before := reasons(t, plan.UDP)[status.BadSPP]
		c := connectUDP(t, f.at(200))
		for _, payload := range []string{"bare", "other", "right"} {
			if _, err := c.Write([]byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 100)
		setDeadline(t, c)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "right" {
			t.Errorf("got %q (%v), want nothing but the right reply", buf[:n], err)
		}
		counted(t, plan.UDP, status.BadSPP, before, 2)
	})
}

// TestForgedHeaderIsPayload: whatever a player begins with, our header comes first.
func TestForgedHeaderIsPayload(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := service("everything", "1-65535")
		s.TCPHeader, s.UDPHeader = "v2", "v2-each"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, s))
		src, dst := netip.MustParseAddrPort("203.0.113.7:1234"), netip.MustParseAddrPort("203.0.113.99:25565")
		v1, _ := header.V1(src, dst)
		v2, _ := header.V2(plan.TCP, src, dst, header.TLVs{})
		udp, _ := header.V2(plan.UDP, src, dst, header.TLVs{})
		spp := header.SPP(src, dst)
		for _, tt := range []struct {
			name, network string
			bytes         []byte
		}{
			{"v1", "tcp", v1}, {"v2", "tcp", v2}, {"local", "tcp", header.Local()},
			{"v2 datagram", "udp", udp}, {"spp datagram", "udp", spp[:]},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c, err := net.Dial(tt.network, f.at(300).String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				setDeadline(t, c)
				ask := askTCP
				if tt.network == "udp" {
					ask = askUDP
				}
				if got, err := ask(c, string(tt.bytes)+"payload"); err != nil || got.Source != local(c) {
					t.Errorf("got the source %s (%v), want %s", got.Source, err, local(c))
				}
			})
		}
	})
}

// TestUpstreams: behind a load balancer its header names the client. It is required, and only of those listed.
func TestUpstreams(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		listed, others := service("listed", "400"), service("others", "401")
		for s, network := range map[*settings.Service]netip.Addr{&listed: f.client, &others: host(f.client, 77)} {
			s.Protocols, s.TCPHeader, s.Upstreams = []string{"tcp"}, "v2", networks(network.String())
		}
		apply(t, document([]settings.Pool{pool("games", f.origin)}, listed, others))
		player, dialled := netip.AddrPortFrom(host(f.client, 200), 1234), netip.AddrPortFrom(host(f.client, 201), 25565)
		v1, _ := header.V1(player, dialled)
		v2, _ := header.V2(plan.TCP, player, dialled, header.TLVs{CRC32C: true})
		for _, tt := range []struct {
			name   string
			port   uint16
			first  []byte
			source netip.AddrPort // none: closed
			reason status.Reason
		}{
			{"v1 of a listed one", 400, v1, player, 0},
			{"v2 of a listed one", 400, v2, player, 0},
			{"a health check of a listed one", 400, header.Local(), netip.AddrPortFrom(f.client, 0), 0},
			{"a listed one without", 400, []byte("GET / HTTP/1.1\r\n\r\n"), netip.AddrPort{}, status.BadHeader},
			{"a header of an unlisted one", 401, v1, netip.AddrPort{}, status.NotAnUpstream},
		} {
			t.Run(tt.name, func(t *testing.T) {
				before := reasons(t, plan.TCP)[tt.reason]
				c := connect(t, f.at(tt.port))
				if !tt.source.IsValid() {
					closes(t, c, tt.first)
					counted(t, plan.TCP, tt.reason, before, 1)
					return
				}
				if _, err := c.Write(tt.first); err != nil {
					t.Fatal(err)
				}
				if tt.source.Port() == 0 { // the load balancer is its own client
					tt.source = local(c)
				}
				if got, err := askTCP(c, "hello"); err != nil || got.Source != tt.source {
					t.Errorf("got the source %s (%v), want %s", got.Source, err, tt.source)
				}
			})
		}
	})
}

// closes expects that the box answers what is sent with a clean end and not a byte.
func closes(t *testing.T, c *net.TCPConn, send []byte) {
	t.Helper()
	_, _ = c.Write(send) // the box may have closed already
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("got %q and %v, want a clean end", got, err)
	}
}

// TestLargeDatagrams: without a header of ours any size passes, in fragments if need be. One that our header makes too
// large for the link is dropped and counted: a datagram that is cut on its way would be worse than none.
func TestLargeDatagrams(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		plain, headed := service("plain", "201"), service("headed", "202")
		headed.UDPHeader = "v2-each"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, plain, headed))
		overhead := map[bool]int{true: 28, false: 48}[f.edge.Is4()] // IP and UDP
		header := map[bool]int{true: 28, false: 52}[f.edge.Is4()]   // PROXY v2
		for _, tt := range []struct {
			name string
			port uint16
			size int
			fits bool
		}{
			{"as large as the link takes", 201, 1500 - overhead, true},
			{"in fragments", 201, 8000, true},
			{"as large as our header leaves", 202, 1500 - overhead - header, true},
			{"too large with our header", 202, 1500 - overhead - header + 1, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				before := reasons(t, plan.UDP)[status.Oversize]
				c := connectUDP(t, f.at(tt.port))
				message := string(bytes.Repeat([]byte("x"), tt.size))
				if tt.fits {
					if a, err := askUDP(c, message); err != nil || a.Origin != "games-1" {
						t.Errorf("got %+v (%v), want an answer", a, err)
					}
					return
				}
				if _, err := c.Write([]byte(message)); err != nil {
					t.Fatal(err)
				}
				counted(t, plan.UDP, status.Oversize, before, 1)
			})
		}
	})
}
