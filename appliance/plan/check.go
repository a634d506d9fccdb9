package plan

import (
	"fmt"
	"slices"
)

// Check says what makes p impossible to apply whatever the box: an index that leads nowhere, an empty range. A plan
// that Compile made has no such fault; one that came over a socket is looked at all the same.
func (p *Plan) Check() error {
	for i, s := range p.Services {
		if s.Pool < 0 || s.Pool >= len(p.Pools) {
			return fmt.Errorf("service %d (%s) names pool %d of %d", i, s.Name, s.Pool, len(p.Pools))
		}
	}
	for i, pool := range p.Pools {
		if err := pool.checkSourceAddresses(); err != nil {
			return fmt.Errorf("pool %d (%s) %w", i, pool.Name, err)
		}
	}
	for i, r := range p.Routes {
		switch {
		case r.Service < 0 || r.Service >= len(p.Services):
			return fmt.Errorf("route %d names service %d of %d", i, r.Service, len(p.Services))
		case r.FirstPort == 0 || r.LastPort < r.FirstPort:
			return fmt.Errorf("route %d has the ports %d to %d", i, r.FirstPort, r.LastPort)
		case r.Protocol != TCP && r.Protocol != UDP:
			return fmt.Errorf("route %d has the protocol %q", i, r.Protocol)
		}
	}
	return nil
}

// checkSourceAddresses words its errors as the end of the sentence "pool x ...".
func (p *Pool) checkSourceAddresses() error {
	var four, six int
	for i, a := range p.SourceAddresses {
		switch {
		case !a.IsValid() || a != a.Unmap().WithZone("") || a.IsUnspecified() || a.IsMulticast():
			return fmt.Errorf("has the source %q, which is not the address of one machine", a)
		case slices.Contains(p.SourceAddresses[:i], a):
			return fmt.Errorf("has the source %s twice", a)
		case a.Is4():
			four++
		default:
			six++
		}
	}
	if four > MaxSourceAddresses || six > MaxSourceAddresses {
		return fmt.Errorf("has %d source addresses of IPv4 and %d of IPv6, at most %d of each are possible", four, six, MaxSourceAddresses)
	}
	return nil
}
