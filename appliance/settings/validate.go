package settings

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The most of each that a document may hold. They bound the tables of the data plane and the time it takes to check
// a document; all are far beyond one box's use.
const (
	maxInterfaces      = 64
	maxAddresses       = 1024 // of the edge
	maxNetworks        = 1024 // of the management
	maxNames           = 16   // of the management
	maxServers         = 16
	maxPools           = 1024
	maxOrigins         = 4096 // of all pools
	maxSourceAddresses = 8    // of one IP version, of one pool: as many as the kernel path looks through for a port
	maxServices        = 4096
	maxRanges          = 16384   // of all services
	maxUpstreams       = 256     // of one service
	maxRoutes          = 1 << 18 // addresses × port ranges × protocols, of all services
)

// tcpHeaders are the words for the PROXY header of a TCP session.
var tcpHeaders = []string{"none", "v1", "v2"}

// Validate returns every problem of s, in the order of the document. Values that were left out are judged as their
// defaults. A service that can never be reached because others hide it is no problem.
func (s Settings) Validate() []Problem {
	v := validator{s: s.WithDefaults()}
	if s.Schema != Schema {
		v.add("schema", "must be %d", Schema)
	}
	// What is written must be readable again, and the canonical form can be larger than the text it was read from.
	if n := len(Encode(s)); n > MaxSize {
		v.add("", "the document has %d bytes when written with indents; at most %d are allowed", n, MaxSize)
	}
	v.edge()
	v.management()
	v.host()
	v.updates()
	v.dns()
	v.limits()
	v.shield(path("shield"), v.s.Shield)
	v.alerts()
	v.pools()
	v.services()
	return v.report
}

// validator judges settings with their defaults spelled out.
type validator struct {
	report
	s Settings // its lists are cut to their limits as they are judged
}

// sound checks a prefix by itself and tells whether it can be compared with others.
func (v *validator) sound(at path, p Prefix) bool {
	wrong := p.wrong()
	if wrong != "" {
		v.add(at, "%s", wrong)
	}
	return wrong == ""
}

func (v *validator) atMost(at path, n, most int, what string) {
	if n > most {
		v.add(at, "has %d %s; at most %d are allowed", n, what, most)
	}
}

// cut returns what of a list is judged: all of it, or as much as is allowed. What compares every element with every
// other would else take minutes for a document of the full size.
func cut[T any](v *validator, at path, list []T, most int, what string) []T {
	v.atMost(at, len(list), most, what)
	return list[:min(len(list), most)]
}

// between checks a number; text says what a value left out or special means, and may be empty.
func (v *validator) between(at path, n, low, high int, text string) {
	if n < low || n > high {
		v.add(at, "%d is out of bounds; it must be %d to %d%s", n, low, high, text)
	}
}

func (v *validator) lasts(at path, d, low, high time.Duration) {
	if d < low || d > high {
		v.add(at, "%q is out of bounds; it must be %q to %q", Duration(d), Duration(low), Duration(high))
	}
}

func (v *validator) oneOf(at path, word string, allowed ...string) {
	if !slices.Contains(allowed, word) {
		v.add(at, "%s is not known here; write one of %s", quote(word), strings.Join(allowed, ", "))
	}
}

// wordList checks a list of words of which none may come twice.
func (v *validator) wordList(at path, words []string, allowed ...string) {
	seen := map[string]path{}
	for i, word := range words {
		v.oneOf(at.index(i), word, allowed...)
		v.once(at.index(i), word, seen)
	}
}

// once reports a word that an earlier element of the list is.
func (v *validator) once(at path, word string, seen map[string]path) {
	if first, twice := seen[word]; twice {
		v.add(at, "%s is given twice; keep this or %s", quote(word), first)
		return
	}
	seen[word] = at
}

// unique reports a name that an earlier element of the list has. Empty names have a problem of their own.
func (v *validator) unique(at path, name string, seen map[string]path) {
	if first, taken := seen[name]; taken && name != "" {
		v.add(at, "%s is the name of %s already; give each a name of its own", quote(name), first)
		return
	}
	seen[name] = at
}

func (v *validator) edge() {
	at := path("edge").field("interfaces")
	seen := map[string]path{}
	for i, name := range cut(v, at, v.s.Edge.Interfaces, maxInterfaces, "interfaces") {
		if wrong := interfaceProblem(name); wrong != "" {
			v.add(at.index(i), "%s", wrong)
		}
		v.once(at.index(i), name, seen)
	}
	if len(v.s.Services) > 0 && len(v.s.Edge.Interfaces) == 0 {
		v.add(at, "is empty, so no client can reach a service; name the interface where clients arrive")
	}
	v.edgeAddresses()
}

func (v *validator) edgeAddresses() {
	at := path("edge").field("addresses")
	v.s.Edge.Addresses = cut(v, at, v.s.Edge.Addresses, maxAddresses, "addresses")
	addresses := v.s.Edge.Addresses
	if len(v.s.Services) > 0 && len(addresses) == 0 {
		v.add(at, "is empty, so no client can reach a service; write the addresses that clients dial")
	}
	for i, p := range addresses {
		if !v.sound(at.index(i), p) {
			continue
		}
		if r, special := p.special(); special {
			v.add(at.index(i), "%q has %s addresses (%s), which clients cannot dial; write an address of the box", p, r.What, r.Prefix)
		}
		for j, other := range addresses[:i] {
			if other.Overlaps(p.Prefix) {
				v.add(at.index(i), "%q overlaps with %q (%s); keep one of them", p, other, at.index(j))
				break
			}
		}
	}
}

func (v *validator) dns() {
	at := path("dns").field("servers")
	for i, server := range cut(v, at, v.s.DNS.Servers, maxServers, "servers") {
		addr := netip.AddrPort(server).Addr()
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr.Is4In6() {
			v.add(at.index(i), "%q is not the address of one DNS server; write it like \"192.0.2.53\" or \"192.0.2.53:5353\"", addr)
		}
	}
}

func (v *validator) limits() {
	at := path("limits")
	l := v.s.Limits
	v.between(at.field("maxSessions"), l.MaxSessions, 1, unlimited, "")
	v.between(at.field("maxFlows"), l.MaxFlows, 1, unlimited, "")
	v.between(at.field("maxFlowsPerSource"), l.MaxFlowsPerSource, 1, unlimited, "")
	v.between(at.field("newFlowsPerSecond"), l.NewFlowsPerSecond, 1, 10_000_000, "")
	v.rate(at.field("packetsPerAddress"), l.PacketsPerAddress, 10)
	v.rate(at.field("bytesPerAddress"), l.BytesPerAddress, 10_000)
	v.rate(at.field("newClientsPerAddress"), l.NewClientsPerAddress, 1)
	v.rate(at.field("packetsPerNetwork"), l.PacketsPerNetwork, 10)
	v.rate(at.field("bytesPerNetwork"), l.BytesPerNetwork, 10_000)
	v.rate(at.field("newClientsPerNetwork"), l.NewClientsPerNetwork, 1)
}

// rate checks a limit of the shield for one source. Below least nobody could play; the most is 100 Gbit/s and what fits into
// it.
func (v *validator) rate(at path, n, least int) {
	if n == 0 || n == -1 {
		return
	}
	v.between(at, n, least, 12_500_000_000, ", or -1 for no limit")
}
