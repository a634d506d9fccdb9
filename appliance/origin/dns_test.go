package origin

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// zone is what a DNS server of the test knows, and how it misbehaves.
type zone struct {
	mu      sync.Mutex
	records []dns.RR
	reply   func(network string, m *dns.Msg) // changes each reply
	asked   []string                         // network and type of each question
}

func (z *zone) set(t *testing.T, lines ...string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = nil
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		z.records = append(z.records, rr)
	}
}

// answer follows aliases as a recursive server does.
func (z *zone) answer(network string, q *dns.Msg) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	z.asked = append(z.asked, network+" "+dns.TypeToString[q.Question[0].Qtype])
	name, known := dns.CanonicalName(q.Question[0].Name), false
	for range 8 {
		next := name
		for _, rr := range z.records {
			if rr.Header().Name != name {
				continue
			}
			known = true
			alias, ok := rr.(*dns.CNAME)
			if ok {
				next = alias.Target
			}
			if ok || rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		if next == name {
			break
		}
		name = next
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if z.reply != nil {
		z.reply(network, m)
	}
	return m
}

// serve starts a real DNS server on loopback, over UDP and TCP.
func serve(t *testing.T, z *zone) netip.AddrPort {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := net.ListenPacket("udp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	for network, server := range map[string]*dns.Server{"tcp": {Listener: tcp}, "udp": {PacketConn: udp}} {
		server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			_ = w.WriteMsg(z.answer(network, q)) // the client notices
		})
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		done := make(chan error, 1)
		go func() { done <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := errors.Join(server.Shutdown(), <-done); err != nil {
				t.Errorf("the DNS server: %v", err)
			}
		})
	}
	return address
}

// blockingExchange is a DNS server that never answers; each question is told to asked.
func blockingExchange(asked chan<- struct{}) func(context.Context, string, string, *dns.Msg) (*dns.Msg, error) {
	return func(ctx context.Context, _, _ string, _ *dns.Msg) (*dns.Msg, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
}
