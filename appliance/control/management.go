package control

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/store"
)

// management is who may reach the web page, as the settings that edge should run say it. It is asked for each
// request, so it is read once for each plan.
type management struct {
	of   *plan.Plan
	read bool
	now  settings.Management
}

// Management is that of the settings in force, or of the candidate that waits: a change of it must be tried out.
func (c *Control) Management() settings.Management {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.management.read && c.management.of == c.wanted {
		return c.management.now
	}
	document, err := c.documentInForce()
	if err != nil {
		// The store cannot be read, which Status tells. What was known before goes on: nobody is locked out by it.
		c.log.Error("read who may reach the page", "err", err)
		return c.management.now
	}
	c.management = management{c.wanted, true, managementOf(document)}
	return c.management.now
}

// managementOf is that part of a document. It is read also where the whole is for a newer version: a box that went back
// to its older slot must not open its page to everybody.
func managementOf(document []byte) settings.Management {
	s, problems := settings.Decode(document)
	var part struct{ Management settings.Management }
	if len(problems) > 0 && json.Unmarshal(document, &part) == nil {
		s.Management = part.Management
	}
	return s.WithDefaults().Management
}

// documentInForce is that of the candidate while it waits, else that of the current revision. The caller holds mu.
func (c *Control) documentInForce() ([]byte, error) {
	if c.pending != nil {
		candidate, err := c.store.Candidate()
		return candidate.Document, err
	}
	current, err := c.store.Current()
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return current.Document, err
}

// MayReach tells whether a peer is in the management networks. Without networks everybody is.
func (c *Control) MayReach(peer netip.Addr) bool {
	networks, peer := c.Management().Networks, peer.Unmap().WithZone("")
	return len(networks) == 0 || slices.ContainsFunc(networks, func(n settings.Prefix) bool { return n.Contains(peer) })
}
