package origin

import (
	"fmt"
	"net/netip"
	"slices"

	"breakwater/appliance/plan"

	"github.com/miekg/dns"
)

// guard knows the addresses that no origin may have. It is asked about every address of every DNS answer again: a
// name that changes to an address of ours after it was accepted (rebinding) must not open the box to the world.
type guard struct {
	forbidden []netip.Prefix
	own       []netip.Addr
}

// refusal is an address of a DNS answer that is not used.
type refusal struct {
	address netip.Addr
	why     string
}

func (r refusal) String() string { return fmt.Sprintf("its address %s is %s", r.address, r.why) }

// refuse says what is wrong with an origin at address, as the end of "the address is ...". Empty: nothing.
func (g guard) refuse(address netip.Addr) string {
	address = address.Unmap().WithZone("") // prefixes know neither form
	if g.isOwn(address) {
		return "this box's own: it would loop"
	}
	for _, prefix := range g.forbidden {
		if prefix.Contains(address) {
			return fmt.Sprintf("in %s, where no origin may be", prefix)
		}
	}
	// Linux connects to this box when it is told 0.0.0.0 or ::.
	if address.IsUnspecified() || address.IsMulticast() || address == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return "not the address of one machine"
	}
	return ""
}

// isOwn tells whether the box has an address, which is unmapped and without a zone.
func (g guard) isOwn(address netip.Addr) bool {
	return slices.ContainsFunc(g.own, func(own netip.Addr) bool { return own.Unmap().WithZone("") == address })
}

func checkName(o plan.Origin) error {
	if _, ok := dns.IsDomainName(o.Address); !ok || o.Address == "" {
		return fmt.Errorf("has the address %q, which is no DNS name", o.Address)
	}
	switch o.Record {
	case plan.RecordAny, plan.RecordA, plan.RecordAAAA, plan.RecordSRV:
		return nil
	}
	return fmt.Errorf("has the record kind %q, which does not exist", o.Record)
}
