package plan

import "net/netip"

// Cover is the smallest prefix that holds all of list, which must not be empty and is of one IP version. What is outside is for
// none of them: one comparison tells, before a look into a set.
func Cover(list []netip.Prefix) netip.Prefix {
	c := list[0]
	for _, p := range list[1:] {
		for c.Bits() > p.Bits() || !c.Contains(p.Addr()) {
			c, _ = c.Addr().Prefix(c.Bits() - 1) // of /0 there is none that it does not contain
		}
	}
	return c
}
