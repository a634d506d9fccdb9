package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"breakwater/appliance/plan"
)

const (
	minTTL      = 5 * time.Second // a name is not asked for more often, whatever its TTL
	maxTTL      = time.Hour
	firstRepeat = time.Second // after a lookup without an answer; then twice as long each time
	lastRepeat  = 30 * time.Second

	askTimeout = 2 * time.Second
	udpSize    = 1232 // fits every path without fragments (dnsflagday.net 2020)
	maxChain   = 8    // CNAME records after each other
	maxPlaces  = 64   // addresses of one name; more are left out
)

// answer is what a name leads to.
type answer struct {
	places []place // in order of address and port
	ttl    time.Duration
}

// place is one address. Its weight is its share among the places of the answer.
type place struct {
	address netip.Addr
	port    uint16 // of an SRV record, else 0
	weight  uint64
}

// resolver asks DNS servers. Comparable by pointer: other servers, another resolver.
type resolver struct {
	servers  []string // address:port; empty: those of /etc/resolv.conf at the time of each lookup
	exchange func(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error)
}

func newResolver(servers []netip.AddrPort) *resolver {
	r := &resolver{exchange: exchange}
	for _, s := range servers {
		r.servers = append(r.servers, s.String())
	}
	return r
}

// keepResolved looks the name up again and again until ctx ends.
func (s *Set) keepResolved(ctx context.Context, t lookupTask) {
	repeat := firstRepeat
	for {
		found, err := t.resolver.lookup(ctx, t.name, t.record)
		if ctx.Err() != nil {
			return
		}
		s.resolved(t.named, found, err)
		wait := max(found.ttl, s.minTTL)
		if err != nil {
			wait, repeat = about(repeat), min(2*repeat, lastRepeat)
		} else {
			repeat = firstRepeat
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// resolved takes the result of a lookup. When it failed the last good answer stays.
func (s *Set) resolved(n *named, found answer, err error) {
	s.mu.Lock()
	n.err, n.asked = err, true
	if err == nil {
		n.answer = found
	}
	s.mu.Unlock()
	s.notify()
}

// lookup finds the places that name leads to. An answer without any is an error.
func (r *resolver) lookup(ctx context.Context, name string, record plan.Record) (answer, error) {
	var found answer
	var err error
	if record == plan.RecordSRV {
		found, err = r.lookupSRV(ctx, name)
	} else {
		found, err = r.lookupAddresses(ctx, name, record)
	}
	if err != nil {
		return answer{}, err
	}
	slices.SortFunc(found.places, func(a, b place) int {
		return netip.AddrPortFrom(a.address, a.port).Compare(netip.AddrPortFrom(b.address, b.port))
	})
	found.places = slices.CompactFunc(found.places, func(a, b place) bool {
		return a.address == b.address && a.port == b.port
	})
	found.places = found.places[:min(len(found.places), maxPlaces)]
	return found, nil
}

func (r *resolver) lookupAddresses(ctx context.Context, name string, record plan.Record) (answer, error) {
	found := answer{ttl: maxTTL}
	var problems []error
	for _, kind := range recordTypes(record) {
		records, ttl, err := r.ask(ctx, name, kind)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		found.ttl = min(found.ttl, ttl)
		for _, record := range records {
			if address, ok := addressOf(record); ok {
				found.places = append(found.places, place{address: address, weight: 1})
			}
		}
	}
	if len(found.places) == 0 { // one of the two families is enough
		return answer{}, errors.Join(problems...)
	}
	return found, nil
}

func recordTypes(record plan.Record) []uint16 {
	switch record {
	case plan.RecordA:
		return []uint16{dns.TypeA}
	case plan.RecordAAAA:
		return []uint16{dns.TypeAAAA}
	}
	return []uint16{dns.TypeA, dns.TypeAAAA}
}

func addressOf(record dns.RR) (netip.Addr, bool) {
	var ip net.IP
	switch r := record.(type) {
	case *dns.A:
		ip = r.A
	case *dns.AAAA:
		ip = r.AAAA
	}
	address, ok := netip.AddrFromSlice(ip)
	return address.Unmap(), ok
}

// lookupSRV takes the targets of the lowest priority (RFC 2782). The weight of a target is shared by its addresses.
func (r *resolver) lookupSRV(ctx context.Context, name string) (answer, error) {
	records, ttl, err := r.ask(ctx, name, dns.TypeSRV)
	if err != nil {
		return answer{}, err
	}
	found := answer{ttl: ttl}
	var problems []error
	for _, srv := range lowestPriority(records) {
		target, err := r.lookupAddresses(ctx, srv.Target, plan.RecordAny)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		found.ttl = min(found.ttl, target.ttl)
		// A weight of 0 means "hardly ever"; times 64, so that sharing leaves at least 1.
		weight := uint64(max(srv.Weight, 1)) * maxPlaces / uint64(len(target.places))
		for _, p := range target.places {
			found.places = append(found.places, place{address: p.address, port: srv.Port, weight: max(weight, 1)})
		}
	}
	if len(found.places) == 0 {
		problems = append(problems, fmt.Errorf("%s has no SRV record that leads to an address", name))
		return answer{}, errors.Join(problems...)
	}
	return found, nil
}

// lowestPriority leaves out the target ".", which says that there is no such service here.
func lowestPriority(records []dns.RR) []*dns.SRV {
	var list []*dns.SRV
	for _, record := range records {
		srv, ok := record.(*dns.SRV)
		if !ok || srv.Target == "." || srv.Port == 0 || len(list) > 0 && srv.Priority > list[0].Priority {
			continue
		}
		if len(list) > 0 && srv.Priority < list[0].Priority {
			list = nil
		}
		list = append(list, srv)
	}
	return list
}

// ask finds the records of one type, through CNAME records. None is an error.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, time.Duration, error) {
	owner, ttl := dns.CanonicalName(name), maxTTL
	for range maxChain {
		reply, err := r.askServers(ctx, owner, kind)
		if err != nil {
			return nil, 0, fmt.Errorf("look up %s %s: %w", dns.TypeToString[kind], name, err)
		}
		found, end, seconds := follow(reply.Answer, owner, kind)
		ttl = min(ttl, time.Duration(seconds)*time.Second)
		if len(found) > 0 {
			return found, ttl, nil
		}
		if end == owner {
			return nil, 0, fmt.Errorf("look up %s %s: no such record", dns.TypeToString[kind], name)
		}
		owner = end
	}
	return nil, 0, fmt.Errorf("look up %s %s: more than %d names after each other", dns.TypeToString[kind], name, maxChain)
}

// follow takes only what belongs to the question: the records of owner, or of what its CNAME records lead to.
func follow(records []dns.RR, owner string, kind uint16) (found []dns.RR, end string, ttl uint32) {
	ttl = ^uint32(0)
	for range maxChain {
		next := owner
		for _, record := range records {
			head := record.Header()
			if dns.CanonicalName(head.Name) != owner || head.Class != dns.ClassINET {
				continue
			}
			if head.Rrtype == kind {
				found, ttl = append(found, record), min(ttl, head.Ttl)
			} else if alias, ok := record.(*dns.CNAME); ok {
				next, ttl = dns.CanonicalName(alias.Target), min(ttl, head.Ttl)
			}
		}
		if len(found) > 0 || next == owner {
			break
		}
		owner = next
	}
	return found, owner, ttl
}

// askServers asks one server after the other until one answers, also with "no such name".
func (r *resolver) askServers(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	servers, err := r.serverList()
	if err != nil {
		return nil, err
	}
	q := new(dns.Msg).SetQuestion(name, kind) // with a random id
	q.SetEdns0(udpSize, false)
	var problems []string
	for _, server := range servers {
		reply, err := r.exchange(ctx, "udp", server, q)
		if err == nil && reply.Truncated {
			reply, err = r.exchange(ctx, "tcp", server, q)
		}
		if err == nil {
			err = checkReply(q, reply)
		}
		if err == nil {
			return reply, nil
		}
		problems = append(problems, fmt.Sprintf("server %s: %v", server, err))
	}
	return nil, errors.New(strings.Join(problems, ", "))
}

func (r *resolver) serverList() ([]string, error) {
	if len(r.servers) > 0 {
		return r.servers, nil
	}
	system, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, fmt.Errorf("find a DNS server: %w", err)
	}
	var list []string
	for _, s := range system.Servers {
		list = append(list, net.JoinHostPort(s, system.Port))
	}
	if len(list) == 0 {
		return nil, errors.New("find a DNS server: /etc/resolv.conf names none")
	}
	return list, nil
}

// checkReply refuses what is no answer to q (RFC 5452 section 9.1). The id was compared when it was received.
func checkReply(q, reply *dns.Msg) error {
	switch {
	case !reply.Response || reply.Id != q.Id || len(reply.Question) != 1 ||
		reply.Question[0].Qtype != q.Question[0].Qtype || reply.Question[0].Qclass != q.Question[0].Qclass ||
		!strings.EqualFold(reply.Question[0].Name, q.Question[0].Name):
		return errors.New("an answer to another question")
	case reply.Rcode == dns.RcodeSuccess, reply.Rcode == dns.RcodeNameError:
		return nil
	}
	return errors.New(dns.RcodeToString[reply.Rcode])
}

// exchange sends q and waits for its answer, on a socket of its own: its random port is what makes forging hard.
func exchange(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	client := dns.Client{Net: network, Timeout: askTimeout}
	conn, err := client.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	reply, _, err := client.ExchangeWithConnContext(ctx, q, conn)
	return reply, errors.Join(err, conn.Close())
}
