package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
)

// observed is what there is now, as far as steering cares.
type observed struct {
	links     map[string]int // index by name
	families  [families]observedFamily
	addresses []address
	ours      []netlink.Route // with our protocol number, any table
	local     []netip.Prefix  // in table local, of others
	gateways  []netip.Addr
}

type observedFamily struct {
	chains map[string][]string       // rules of our chains and of the built-in ones we hook into
	sets   map[string][]netip.Prefix // ours that exist
	rules  []netlink.Rule            // with our protocol number
}

// observe reads the kernel. It changes nothing.
func (s *Steering) observe() (observed, error) {
	o := observed{links: make(map[string]int)}
	links, err := dump(netlink.LinkList)
	if err != nil {
		return o, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		o.links[l.Attrs().Name] = l.Attrs().Index
	}
	if o.addresses, err = dump(listAddresses); err != nil {
		return o, fmt.Errorf("list addresses: %w", err)
	}
	for f := range families {
		if err := s.observeFamily(&o, f); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (s *Steering) observeFamily(o *observed, f family) (err error) {
	of := &o.families[f]
	if of.chains, err = s.listChains(f); err != nil {
		return fmt.Errorf("list the %s chains: %w", f.command(), err)
	}
	if of.sets, err = listSets(f); err != nil {
		return err
	}
	rules, err := dump(func() ([]netlink.Rule, error) { return netlink.RuleList(f.number()) })
	if err != nil {
		return fmt.Errorf("list routing rules: %w", err)
	}
	for _, r := range rules {
		if r.Protocol == Protocol {
			of.rules = append(of.rules, r)
		}
	}
	return o.observeRoutes(f)
}

// observeRoutes reads every table, as a gateway may be in any.
func (o *observed) observeRoutes(f family) error {
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(f.number(), &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		switch {
		case r.Protocol == Protocol:
			o.ours = append(o.ours, r)
		case r.Table == unix.RT_TABLE_LOCAL && r.Type == unix.RTN_LOCAL:
			o.local = append(o.local, destination(r, f))
		}
		if a, ok := netip.AddrFromSlice(r.Gw); ok {
			o.gateways = append(o.gateways, a.Unmap())
		}
		for _, hop := range r.MultiPath {
			if a, ok := netip.AddrFromSlice(hop.Gw); ok {
				o.gateways = append(o.gateways, a.Unmap())
			}
		}
	}
	return nil
}

// listChains returns the rules of our chains and of those we hook into, without their "-A NAME ". go-iptables lists a
// chain at a time; one process for all of them matters, as Check runs every few seconds for ever.
func (s *Steering) listChains(f family) (map[string][]string, error) {
	out, err := exec.Command(f.command(), "--wait", strconv.Itoa(lockSeconds), "-t", table, "-S").Output() //nolint:gosec // constants
	if err != nil {
		return nil, fmt.Errorf("list the rules of %s: %w", f.command(), err)
	}
	m := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		verb, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, rule, _ := strings.Cut(rest, " ")
		switch {
		case !strings.HasPrefix(name, prefix) && !isHook(name):
		case verb == "-A":
			m[name] = append(m[name], rule)
		default: // -N NAME or -P NAME POLICY
			m[name] = nil
		}
	}
	return m, nil
}

func isHook(name string) bool {
	return slices.ContainsFunc(hooks, func(h chain) bool { return h.name == name })
}

// ownAddresses are the addresses that the box has for itself.
func (o observed) ownAddresses() []netip.Addr {
	var own []netip.Addr
	for _, a := range o.addresses {
		if a.protocol != Protocol {
			own = append(own, a.addr)
		}
	}
	return own
}

// accepts refuses what cannot work on this box, in words for the operator.
func (o observed) accepts(c plan.Steering) error {
	for _, name := range c.Interfaces {
		if _, ok := o.links[name]; !ok {
			return fmt.Errorf("the edge interface %q does not exist on this box", name)
		}
	}
	if len(c.Interfaces) == 0 && len(c.Addresses) > 0 {
		return errors.New("there are edge addresses, but no edge interface that they could arrive on")
	}
	for _, p := range normalise(c.Addresses) {
		if p.Bits() == 0 {
			return fmt.Errorf("the edge address %s is every address there is: name the addresses that clients dial", p)
		}
		// The box would take its router's address for its own, and answer for it on the link.
		if i := slices.IndexFunc(o.gateways, p.Contains); i >= 0 {
			return fmt.Errorf("the edge address %s contains %s, a gateway of this box", p, o.gateways[i])
		}
	}
	return acceptSourceCheck(c)
}

// number is the address family as the kernel has it.
func (f family) number() int { return [...]int{unix.AF_INET, unix.AF_INET6}[f] }

// dump repeats a netlink dump that the kernel marked as a mixture of two states (NLM_F_DUMP_INTR).
func dump[T any](list func() ([]T, error)) (result []T, err error) {
	for range dumpTries {
		if result, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return result, err
}

// destination is what r leads to. netlink says nil for the default route in some cases.
func destination(r netlink.Route, f family) netip.Prefix {
	if r.Dst == nil {
		return f.everything()
	}
	a, _ := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	if f == ipv4 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits)
}
