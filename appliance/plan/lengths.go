package plan

import (
	"net/netip"
	"slices"
)

// Lengths are the lengths that normal prefixes of a list have, the shortest first. An address is looked up once for each, whatever the
// number of prefixes. The zero value has none.
type Lengths struct{ v4, v6 []int }

// Add takes in the length of a prefix.
func (l *Lengths) Add(p netip.Prefix) {
	list := &l.v6
	if p.Addr().Is4() {
		list = &l.v4
	}
	if at, known := slices.BinarySearch(*list, p.Bits()); !known {
		*list = slices.Insert(*list, at, p.Bits())
	}
}

// Within tells whether is says yes to a prefix of these lengths that holds addr.
func (l *Lengths) Within(addr netip.Addr, is func(netip.Prefix) bool) bool {
	addr = addr.Unmap()
	list := l.v6
	if addr.Is4() {
		list = l.v4
	}
	for _, bits := range list {
		p, err := addr.Prefix(bits)
		if err != nil { // of an address that is not valid: there is no header without one
			return false
		}
		if is(p) {
			return true
		}
	}
	return false
}
