package plan

import "fmt"

// Check says what makes p impossible to apply whatever the box: an index that leads nowhere, an empty range. A plan
// that Compile made has no such fault; one that came over a socket is looked at all the same.
func (p *Plan) Check() error {
	for i, s := range p.Services {
		if s.Pool < 0 || s.Pool >= len(p.Pools) {
			return fmt.Errorf("service %d (%s) names pool %d of %d", i, s.Name, s.Pool, len(p.Pools))
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
