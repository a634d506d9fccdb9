package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// sightings are the source addresses that an origin has seen.
type sightings struct {
	mu   sync.Mutex
	seen map[netip.Addr]int
}

func (s *sightings) see(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = make(map[netip.Addr]int)
	}
	s.seen[from.Unmap()]++
}

func (s *sightings) want(t *testing.T, sources ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range sources {
		if s.seen[netip.MustParseAddr(text)] == 0 {
			t.Errorf("the origin saw nothing from %s: %v", text, s.seen)
		}
	}
	if len(s.seen) != len(sources) {
		t.Errorf("the origin saw %v, want %v", s.seen, sources)
	}
}

func withSources(texts ...string) func(*plan.Plan) {
	return func(p *plan.Plan) {
		for _, text := range texts {
			p.Pools[0].SourceAddresses = append(p.Pools[0].SourceAddresses, netip.MustParseAddr(text))
		}
	}
}

// gone and gone2 are sources that the box had a moment ago, as the pool has not heard yet: like those without a port left.
const gone, gone2 = "192.0.2.77", "192.0.2.78"

// TestSourcesOfSessions: sessions come from all sources of their pool in turn, and from the others when one has nothing left.
func TestSourcesOfSessions(t *testing.T) {
	for _, sources := range [][]string{{"127.0.0.2"}, {"127.0.0.2", "127.0.0.3"}, {gone, "127.0.0.2", gone2, "127.0.0.3"}} {
		t.Run(fmt.Sprint(sources), func(t *testing.T) {
			var s sightings
			b := start(t, serveTCP(t, func(c *net.TCPConn) {
				s.see(c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
				echo(c)
			}), withSources(sources...))
			for range 12 {
				c := dial(t, b.edge4)
				mustWrite(t, c, []byte("hello"))
				answer := make([]byte, 5)
				if _, err := c.Read(answer); err != nil || string(answer) != "hello" {
					t.Fatalf("got %q, %v", answer, err)
				}
			}
			s.want(t, there(sources)...)
		})
	}
}

// there leaves out the sources that are gone.
func there(sources []string) (list []string) {
	for _, text := range sources {
		if netip.MustParseAddr(text).IsLoopback() {
			list = append(list, text)
		}
	}
	return list
}

// TestSourcesOfFlows is the same for UDP, with a port of the kernel's choice and with one out of quarantine.
func TestSourcesOfFlows(t *testing.T) {
	for _, how := range []plan.UDPHeader{plan.UDPNone, plan.UDPV2First} {
		for _, sources := range [][]string{{"127.0.0.2"}, {"127.0.0.2", "127.0.0.3"}, {gone, "127.0.0.2", gone2, "127.0.0.3"}} {
			t.Run(fmt.Sprint(how, sources), func(t *testing.T) {
				var s sightings
				b := start(t, serveUDP(t, func(from netip.AddrPort, _ []byte) [][]byte {
					s.see(from.Addr())
					return [][]byte{[]byte("welcome")}
				}), func(p *plan.Plan) {
					withSources(sources...)(p)
					p.Services[0].UDPHeader = how
				})
				for range 12 {
					mustAnswer(t, dialUDP(t, b.edge4), []byte("hello"), []byte("welcome"))
				}
				s.want(t, there(sources)...)
			})
		}
	}
}

// TestNoSourceLeft: when no source has a port the client is turned away, which is counted, also for its origin.
func TestNoSourceLeft(t *testing.T) {
	b := start(t, serveTCP(t, echo), withSources(gone, gone2))
	dial(t, b.edge4)
	mustWrite(t, dialUDP(t, b.edge4), []byte("x"))
	eventually(t, "both are counted", func() bool {
		return b.count(plan.TCP, status.NoSourcePort) == 1 && b.count(plan.UDP, status.NoSourcePort) == 1 && b.pools.Status()[0].Origins[0].Portless == 2
	})
	if got := b.pools.Status()[0].Origins[0]; got.Failed != 0 {
		t.Errorf("the origin has %d failures, want none", got.Failed)
	}
}
