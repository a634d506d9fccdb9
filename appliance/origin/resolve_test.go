package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func text(a answer) string {
	var list []string
	for _, p := range a.places {
		list = append(list, fmt.Sprintf("%s/%d", netip.AddrPortFrom(p.address, p.port), p.weight))
	}
	return strings.Join(list, " ")
}

func TestLookup(t *testing.T) {
	var z zone
	z.set(t,
		"a.test. 60 IN A 10.0.0.2", "a.test. 30 IN A 10.0.0.1", "a.test. 90 IN AAAA 2001:db8::1",
		"four.test. 60 IN A 10.0.0.4", "six.test. 60 IN AAAA 2001:db8::6",
		"alias.test. 20 IN CNAME a.test.", "two.test. 60 IN CNAME alias.test.",
		"loop.test. 60 IN CNAME loop2.test.", "loop2.test. 60 IN CNAME loop.test.",
		"_game._tcp.test. 50 IN SRV 10 30 25565 four.test.", "_game._tcp.test. 50 IN SRV 10 10 25566 a.test.",
		"_game._tcp.test. 50 IN SRV 20 99 25567 six.test.",
		"_order._tcp.test. 50 IN SRV 20 1 2 six.test.", "_order._tcp.test. 50 IN SRV 10 1 1 four.test.",
		"_none._tcp.test. 50 IN SRV 0 0 0 .", "_lost._tcp.test. 50 IN SRV 0 0 25565 missing.test.",
		"_zero._tcp.test. 50 IN SRV 0 0 1 four.test.",
	)
	r := newResolver([]netip.AddrPort{serve(t, &z)})
	for _, test := range []struct {
		name   string
		record plan.Record
		want   string
		ttl    time.Duration
	}{
		{"a.test", plan.RecordA, "10.0.0.1:0/1 10.0.0.2:0/1", 30 * time.Second},
		{"A.TeSt.", plan.RecordA, "10.0.0.1:0/1 10.0.0.2:0/1", 30 * time.Second},
		{"a.test", plan.RecordAAAA, "[2001:db8::1]:0/1", 90 * time.Second},
		{"a.test", plan.RecordAny, "10.0.0.1:0/1 10.0.0.2:0/1 [2001:db8::1]:0/1", 30 * time.Second},
		{"four.test", plan.RecordAny, "10.0.0.4:0/1", time.Minute},
		{"six.test", plan.RecordAny, "[2001:db8::6]:0/1", time.Minute},
		{"alias.test", plan.RecordA, "10.0.0.1:0/1 10.0.0.2:0/1", 20 * time.Second},
		{"two.test", plan.RecordA, "10.0.0.1:0/1 10.0.0.2:0/1", 20 * time.Second},
		{"_game._tcp.test", plan.RecordSRV,
			"10.0.0.1:25566/213 10.0.0.2:25566/213 10.0.0.4:25565/1920 [2001:db8::1]:25566/213", 30 * time.Second},
		{"_order._tcp.test", plan.RecordSRV, "10.0.0.4:1/64", 50 * time.Second},
		{"_zero._tcp.test", plan.RecordSRV, "10.0.0.4:1/64", 50 * time.Second},
		{"four.test", plan.RecordAAAA, "", 0},
		{"missing.test", plan.RecordAny, "", 0},
		{"loop.test", plan.RecordA, "", 0},
		{"_none._tcp.test", plan.RecordSRV, "", 0},
		{"_lost._tcp.test", plan.RecordSRV, "", 0},
	} {
		t.Run(test.name+" "+string(test.record), func(t *testing.T) {
			got, err := r.lookup(t.Context(), test.name, test.record)
			if text(got) != test.want || got.ttl != test.ttl || (err != nil) != (test.want == "") {
				t.Errorf("got %q, %s, %v, want %q, %s", text(got), got.ttl, err, test.want, test.ttl)
			}
		})
	}
}

func TestTruncatedIsAskedAgainOverTCP(t *testing.T) {
	var z zone
	var lines, addresses []string
	for i := range 60 {
		lines = append(lines, fmt.Sprintf("big.test. 60 IN A 10.1.0.%d", i))
		addresses = append(addresses, fmt.Sprintf("10.1.0.%d:0/1", i))
	}
	z.set(t, lines...)
	z.reply = func(network string, m *dns.Msg) {
		if network == "udp" {
			m.Truncate(512)
		}
	}
	r := newResolver([]netip.AddrPort{serve(t, &z)})
	got, err := r.lookup(t.Context(), "big.test", plan.RecordA)
	if err != nil || text(got) != strings.Join(addresses, " ") {
		t.Errorf("got %q, %v", text(got), err)
	}
	want(t, "asked", strings.Join(z.asked, ", "), "udp A, tcp A")
}

func TestBadReplies(t *testing.T) {
	for _, test := range []struct {
		name  string
		reply func(network string, m *dns.Msg)
		want  string
	}{
		{"another name", func(_ string, m *dns.Msg) { m.Question[0].Name = "evil.test." }, "another question"},
		{"another type", func(_ string, m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }, "another question"},
		{"no question", func(_ string, m *dns.Msg) { m.Question = nil }, "another question"},
		{"a question", func(_ string, m *dns.Msg) { m.Response = false }, "another question"},
		{"server failure", func(_ string, m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, "SERVFAIL"},
		{"refused", func(_ string, m *dns.Msg) { m.Rcode = dns.RcodeRefused }, "REFUSED"},
		{"an answer about another name", func(_ string, m *dns.Msg) { m.Answer[0].Header().Name = "evil.test." }, "no such record"},
		{"another class", func(_ string, m *dns.Msg) { m.Answer[0].Header().Class = dns.ClassCHAOS }, "no such record"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var bad, good zone
			bad.set(t, "a.test. 60 IN A 10.6.6.6")
			good.set(t, "a.test. 60 IN A 10.0.0.1")
			bad.reply = func(network string, m *dns.Msg) {
				m.Answer = slices.Clone(m.Answer)
				for i := range m.Answer {
					m.Answer[i] = dns.Copy(m.Answer[i])
				}
				test.reply(network, m)
			}
			broken := serve(t, &bad)
			got, err := newResolver([]netip.AddrPort{broken}).lookup(t.Context(), "a.test", plan.RecordA)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %q, %v, want an error with %q", text(got), err, test.want)
			}
			if test.want == "no such record" {
				return // an answer, so the next server is not asked
			}
			both := newResolver([]netip.AddrPort{broken, serve(t, &good)})
			if got, err = both.lookup(t.Context(), "a.test", plan.RecordA); text(got) != "10.0.0.1:0/1" {
				t.Errorf("with a good second server: got %q, %v", text(got), err)
			}
		})
	}
}

func TestWrongIDIsNotTaken(t *testing.T) {
	var z zone
	z.set(t, "a.test. 60 IN A 10.6.6.6")
	z.reply = func(_ string, m *dns.Msg) { m.Id++ }
	r := newResolver([]netip.AddrPort{serve(t, &z)})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := r.lookup(ctx, "a.test", plan.RecordA); err == nil {
		t.Errorf("got %q", text(got))
	}
}

// named puts one origin with a DNS name into a plan, beside one with an address.
func namedPlan(server netip.AddrPort) *plan.Plan {
	list := origins(1, 1)
	list[0].Address, list[0].Record = "games.test", plan.RecordAny
	p := planOf(plan.SourceHash, list...)
	p.Resolvers = []netip.AddrPort{server}
	p.Forbidden = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("169.254.0.0/16")}
	return p
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

func addressesOf(s *Set) string {
	var list []string
	for _, o := range s.Status()[0].Origins {
		list = append(list, o.Address)
	}
	return strings.Join(list, " ")
}

// TestRebinding: a name that was good turns to an address of the box, to the metadata address, and back.
func TestRebinding(t *testing.T) {
	var z zone
	z.set(t, "games.test. 0 IN A 10.9.0.1")
	conditions := new(health.Set)
	s := New(quiet(), conditions)
	s.minTTL = 10 * time.Millisecond
	p := namedPlan(serve(t, &z))
	if err := s.Apply(p, []netip.Addr{netip.MustParseAddr("192.0.2.1")}); err != nil {
		t.Fatal(err)
	}
	start(t, s)
	eventually(t, "the name resolves", func() bool { return addressesOf(s) == "10.9.0.1 10.0.0.2" })
	for _, bad := range []string{"127.0.0.2", "169.254.169.254", "192.0.2.1", "0.0.0.0"} {
		z.set(t, "games.test. 0 IN A "+bad)
		eventually(t, bad+" is dropped", func() bool { return addressesOf(s) == " 10.0.0.2" })
		list := conditions.List()
		if len(list) != 1 || list[0].Code != "origin-forbidden" || !strings.Contains(list[0].Detail, bad) {
			t.Errorf("%s: got %+v, want origin-forbidden", bad, list)
		}
		for i := range 20 {
			want(t, "chosen", pick(t, s.Pool("games"), client(i)), "o1")
		}
		z.set(t, "games.test. 0 IN A "+bad, "games.test. 0 IN A 10.9.0.1", "games.test. 0 IN AAAA ::ffff:127.0.0.2")
		eventually(t, "the good address is used beside "+bad, func() bool { return addressesOf(s) == "10.9.0.1 10.0.0.2" })
	}
	z.set(t, "games.test. 0 IN A 10.9.0.1")
	eventually(t, "the condition ends", func() bool { return len(conditions.List()) == 0 })
}

func TestForbiddenAlone(t *testing.T) {
	var z zone
	z.set(t, "games.test. 60 IN A 127.0.0.2")
	s := New(quiet(), new(health.Set))
	p := namedPlan(serve(t, &z))
	p.Pools[0].Origins = p.Pools[0].Origins[:1]
	apply(t, s, p)
	start(t, s)
	eventually(t, "the reason says so", func() bool {
		_, reason := s.Pool("games").Pick(client(1), 1, 1)
		return reason == status.OriginForbidden
	})
}

// TestForbiddenByALaterPlan: addresses in use are looked at again when the plan changes, not only with the next answer.
func TestForbiddenByALaterPlan(t *testing.T) {
	var z zone
	z.set(t, "games.test. 3600 IN A 10.9.0.1", "games.test. 3600 IN A 10.9.0.2")
	s := New(quiet(), new(health.Set))
	p := namedPlan(serve(t, &z))
	apply(t, s, p)
	start(t, s)
	eventually(t, "the name resolves", func() bool { return addressesOf(s) == "10.9.0.1 10.9.0.2 10.0.0.2" })
	p.Forbidden = append(p.Forbidden, netip.MustParsePrefix("10.9.0.1/32"))
	apply(t, s, p)
	want(t, "addresses", addressesOf(s), "10.9.0.2 10.0.0.2")
}

// asks is a DNS server without sockets, for the tests of time.
type asks struct {
	mu    sync.Mutex
	times []time.Duration
	begin time.Time
	ttl   uint32
	err   error
}

func (a *asks) exchange(_ context.Context, _, _ string, q *dns.Msg) (*dns.Msg, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.Question[0].Qtype == dns.TypeA {
		a.times = append(a.times, time.Since(a.begin))
	}
	m := new(dns.Msg).SetReply(q)
	if q.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: a.ttl},
			A:   net.IPv4(10, 9, 0, 1),
		}}
	}
	return m, a.err
}

func runAsks(t *testing.T, a *asks) running {
	a.begin = time.Now()
	r := running{conditions: new(health.Set)}
	r.Set = New(quiet(), r.conditions)
	apply(t, r.Set, namedPlan(netip.MustParseAddrPort("192.0.2.53:53")))
	r.resolver.exchange = a.exchange // before Run looks at it
	start(t, r.Set)
	synctest.Wait()
	return r
}

func TestTTL(t *testing.T) {
	for _, test := range []struct {
		ttl  uint32
		want time.Duration
	}{{60, time.Minute}, {0, 5 * time.Second}, {7 * 24 * 3600, time.Hour}} {
		t.Run(fmt.Sprint(test.ttl), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &asks{ttl: test.ttl}
				runAsks(t, a)
				after(3 * test.want)
				got := fmt.Sprint(a.times)
				want(t, "asked at", got, fmt.Sprint([]time.Duration{0, test.want, 2 * test.want, 3 * test.want}))
			})
		})
	}
}

// TestFailedLookups are repeated after 1, 2, 4, 8, 16, 30, 30 seconds, while the last good answer stays.
func TestFailedLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asks{ttl: 60}
		r := runAsks(t, a)
		want(t, "addresses", addressesOf(r.Set), "10.9.0.1 10.0.0.2")
		a.mu.Lock()
		a.err, a.times, a.begin = errors.New("unreachable"), nil, time.Now()
		a.mu.Unlock()
		after(3 * time.Minute)
		want(t, "addresses after a failure", addressesOf(r.Set), "10.9.0.1 10.0.0.2")
		want(t, "conditions", r.codes(), "resolve games/o0")
		for i, ideal := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			gap := a.times[i+1] - a.times[i]
			if gap < ideal*time.Second*9/10 || gap > ideal*time.Second*11/10 {
				t.Errorf("gap %d is %s, want about %d s", i, gap, ideal)
			}
		}
		a.mu.Lock()
		a.err = nil
		a.mu.Unlock()
		after(40 * time.Second)
		want(t, "conditions", r.codes(), "")
		a.mu.Lock()
		a.err, a.times = errors.New("unreachable"), nil
		a.mu.Unlock()
		after(70 * time.Second)
		if gap := a.times[1] - a.times[0]; gap > 1100*time.Millisecond {
			t.Errorf("the first gap of the second failure is %s, want about 1 s", gap)
		}
	})
}

func TestNeverResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runAsks(t, &asks{err: errors.New("unreachable")})
		o := r.Status()[0].Origins[0]
		if o.Up || o.Address != "" || !strings.Contains(o.Why, "unreachable") {
			t.Errorf("got %+v", o)
		}
		if list := r.conditions.List(); len(list) != 1 || list[0].Code != "resolve" || list[0].Severity != health.Critical {
			t.Errorf("got %+v, want resolve", list)
		}
	})
}

// TestAddressesShareTheWeight: an origin with three addresses gets no more clients than one with the same weight.
func TestAddressesShareTheWeight(t *testing.T) {
	n := &named{spec: origins(3)[0], addresses: map[netip.AddrPort]*Origin{}}
	for i, weight := range []uint64{1, 1, 4} {
		a := place{address: netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), weight: weight}
		n.answer.places = append(n.answer.places, a)
		n.addresses[netip.AddrPortFrom(a.address, 0)] = &Origin{address: a.address}
	}
	var got []uint64
	for _, m := range n.members() {
		got = append(got, m.weight)
	}
	if want := []uint64{3 << 16 / 6, 3 << 16 / 6, 3 << 16 / 6 * 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
