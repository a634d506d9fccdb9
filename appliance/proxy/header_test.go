package proxy

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func TestHeaders(t *testing.T) {
	for _, test := range []struct {
		name   string
		mode   plan.TCPHeader
		speaks bool
	}{
		{"v1 and data", plan.TCPV1, true}, {"v2 and data", plan.TCPV2, true},
		{"v1 to a server that speaks first", plan.TCPV1, false}, {"v2 to a server that speaks first", plan.TCPV2, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			heads := make(chan header.Header, 1)
			b := start(t, serveTCP(t, func(c *net.TCPConn) {
				h, rest := readHeader(t, c)
				heads <- h
				_, _ = c.Write([]byte("hi"))
				_, _ = c.Write(rest)
				echo(c)
			}), func(p *plan.Plan) {
				p.Services[0].TCPHeader = test.mode
				p.Services[0].TLVs = plan.TLVs{UniqueID: true, CRC32C: true}
			})
			for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
				c := dial(t, edge)
				if test.speaks {
					mustWrite(t, c, []byte("first"))
				}
				mustRead(t, c, "hi")
				if test.speaks {
					mustRead(t, c, "first")
				}
				got := <-heads
				if want := c.LocalAddr().(*net.TCPAddr).AddrPort(); got.Source != want || got.Destination != edge {
					t.Errorf("header says %v to %v, want %v to %v", got.Source, got.Destination, want, edge)
				}
				if test.mode == plan.TCPV2 && string(got.UniqueID) != b.all()[0].ID.String() {
					t.Errorf("unique id %q, session %v", got.UniqueID, b.all()[0].ID)
				}
				_ = c.Close()
				eventually(t, "the session ends", func() bool { return len(b.all()) == 0 })
			}
		})
	}
}

// readHeader reads a PROXY header and what came with it.
func readHeader(t *testing.T, c net.Conn) (header.Header, []byte) {
	buffer := make([]byte, 4096)
	for n := 0; ; {
		m, err := c.Read(buffer[n:])
		if n += m; err != nil {
			t.Errorf("no header in %q: %v", buffer[:n], err)
			return header.Header{}, nil
		}
		h, size, err := header.Parse(buffer[:n])
		if err != nil {
			t.Errorf("bad header %q: %v", buffer[:n], err)
		}
		if size > 0 {
			return h, buffer[size:n]
		}
	}
}

func TestUpstreamHeaderIsRequired(t *testing.T) {
	v1, err := header.V1(netip.MustParseAddrPort("203.0.113.7:1234"), netip.MustParseAddrPort("198.51.100.1:25565"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		listed bool
		send   []string
		want   string // what the origin says it got
		reason status.Reason
	}{
		{"whole, with data", true, []string{string(v1) + "hello"}, "203.0.113.7:1234 hello", status.Normal},
		{"in pieces", true, append(strings.Split(string(v1), ""), "hello"), "203.0.113.7:1234 hello", status.Normal},
		{"no header", true, []string{"GET / HTTP/1.0\r\n\r\n"}, "", status.BadHeader},
		{"cut off", true, []string{string(v1[:20])}, "", status.BadHeader},
		{"from a peer that is not listed", false, []string{string(v1) + "hello"}, "", status.NotAnUpstream},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, serveTCP(t, func(c *net.TCPConn) {
				h, body := readHeader(t, c)
				rest, _ := io.ReadAll(c)
				_, _ = c.Write([]byte(h.Source.String() + " " + string(body) + string(rest)))
			}), func(p *plan.Plan) {
				p.Services[0].TCPHeader = plan.TCPV2
				p.Services[0].Upstreams = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
				if test.listed {
					p.Services[0].Upstreams = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})
			c := dial(t, b.edge4)
			for i, piece := range test.send {
				if i > 0 && i < 5 {
					time.Sleep(5 * time.Millisecond) // so that at least some arrive alone
				}
				_, _ = c.Write([]byte(piece))
			}
			_ = c.CloseWrite()
			got, _ := io.ReadAll(c)
			if string(got) != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			eventually(t, "it is counted", func() bool { return b.count(plan.TCP, test.reason) == 1 })
		})
	}
}
