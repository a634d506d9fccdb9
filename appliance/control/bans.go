package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// The widest prefixes that can be banned.
const (
	widestBan4 = 8
	widestBan6 = 16
)

// Ban is a prefix whose clients are turned away.
type Ban struct {
	Prefix netip.Prefix `json:"prefix"`
	Reason string       `json:"reason"`
	Author string       `json:"author"`
	Since  time.Time    `json:"since"`
	Until  time.Time    `json:"until,omitzero"` // zero: for ever
}

// BanRefused is a ban that would hurt the operator, or cannot be meant.
type BanRefused struct{ Why string }

func (e *BanRefused) Error() string { return e.Why }

// Bans are those in force, ordered by prefix.
func (c *Control) Bans() ([]Ban, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(c.bans), func(b Ban) bool { return b.over(c.now()) })
	slices.SortFunc(list, func(a, b Ban) int { return a.Prefix.Compare(b.Prefix) })
	return list, nil
}

func (b Ban) over(now time.Time) bool { return plan.Ban{Until: b.Until}.Over(now) }

// Ban turns the clients of prefix away, until until (zero: for ever), and ends what they have open. It replaces a ban
// of the same prefix. protect are addresses that must not be banned, such as the operator's own. The errors are
// *BanRefused and those of the store and of edge; a ban that edge does not know yet is stored, and Run goes on trying.
func (c *Control) Ban(ctx context.Context, prefix netip.Prefix, until time.Time, reason, author string, protect ...netip.Addr) error {
	prefix = plan.NormalPrefix(prefix)
	if why := c.refuseBan(ctx, prefix, until, protect); why != "" {
		return &BanRefused{why}
	}
	c.mu.Lock()
	c.bans = append(slices.DeleteFunc(c.bans, func(b Ban) bool { return b.Prefix == prefix }), Ban{prefix, reason, author, c.now(), until})
	c.mu.Unlock()
	return c.pushBans(ctx)
}

// Unban lets the clients of prefix in again. ErrNotFound: prefix is not banned.
func (c *Control) Unban(ctx context.Context, prefix netip.Prefix) error {
	prefix = plan.NormalPrefix(prefix)
	c.mu.Lock()
	before := len(c.bans)
	c.bans = slices.DeleteFunc(c.bans, func(b Ban) bool { return b.Prefix == prefix })
	found := len(c.bans) < before
	c.mu.Unlock()
	if !found {
		return ErrNotFound
	}
	return c.pushBans(ctx)
}

// pushBans gives edge the whole list.
func (c *Control) pushBans(ctx context.Context) error {
	bans, err := c.plannedBans()
	if err != nil {
		return err
	}
	return c.edge.SetBans(context.WithoutCancel(ctx), bans)
}

// plannedBans are the bans as edge takes them.
func (c *Control) plannedBans() ([]plan.Ban, error) {
	list, err := c.Bans()
	bans := make([]plan.Ban, len(list))
	for i, b := range list {
		bans[i] = plan.Ban{Prefix: b.Prefix, Until: b.Until}
	}
	return bans, err
}

// refuseBan says why prefix cannot be banned, or nothing when it can.
func (c *Control) refuseBan(ctx context.Context, prefix netip.Prefix, until time.Time, protect []netip.Addr) string {
	widest := widestBan6
	if prefix.Addr().Is4() {
		widest = widestBan4
	}
	switch {
	case !prefix.IsValid():
		return "This is not an address or network."
	case prefix.Bits() < widest:
		return fmt.Sprintf("%s is too wide to be banned: a network of at least /%d can be.", prefix, widest)
	case plan.Ban{Until: until}.Over(c.now()):
		return "This ban would be over already."
	}
	for _, a := range protect {
		if prefix.Contains(a.Unmap().WithZone("")) {
			return fmt.Sprintf("%s holds %s, the address that you come from.", prefix, a.Unmap())
		}
	}
	for _, p := range c.protected(ctx) {
		if p.prefix.Overlaps(prefix) {
			return fmt.Sprintf("%s holds %s, %s.", prefix, text(p.prefix), p.what)
		}
	}
	return ""
}

// protected is a prefix that must not be banned.
type protected struct {
	prefix netip.Prefix
	what   string
}

// protected are the addresses that the box itself depends on. What edge cannot tell, as it does not answer, is left out.
func (c *Control) protected(ctx context.Context) []protected {
	var list []protected
	if s, err := c.currentSettings(); err == nil {
		list = append(list, protectedBySettings(s)...)
	}
	if wanted, _ := c.wish(); wanted != nil {
		list = append(list, protectedByPlan(wanted)...)
	}
	if seen, err := c.edge.Status(ctx); err == nil {
		list = append(list, protectedByStatus(seen)...)
	}
	return list
}

func protectedBySettings(s settings.Settings) (list []protected) {
	for _, p := range s.Management.Networks {
		list = append(list, protected{p.Prefix, "a management network"})
	}
	return list
}

func protectedByPlan(p *plan.Plan) (list []protected) {
	for _, a := range p.Steering.Addresses {
		list = append(list, protected{a, "an edge address"})
	}
	for _, r := range p.Resolvers {
		list = append(list, protected{single(r.Addr()), "a DNS server of this box"})
	}
	for _, s := range p.Services {
		for _, u := range s.Upstreams {
			list = append(list, protected{u, "a load balancer in front of service " + s.Name})
		}
	}
	for _, pool := range p.Pools {
		for _, o := range pool.Origins {
			if a, err := netip.ParseAddr(o.Address); err == nil {
				list = append(list, protected{single(a), "origin " + o.Name})
			}
		}
	}
	return list
}

func protectedByStatus(seen status.Edge) (list []protected) {
	for _, pool := range seen.Pools {
		for _, o := range pool.Origins {
			if a, ok := addressOf(o); ok {
				list = append(list, protected{single(a.Addr()), "origin " + o.Name})
			}
		}
	}
	for _, i := range seen.Interfaces {
		for _, a := range i.Addresses {
			list = append(list, protected{single(a.Addr()), "an address of this box"})
		}
	}
	for _, g := range seen.Gateways {
		list = append(list, protected{single(g), "a gateway of this box"})
	}
	return list
}

// addressOf is where edge reaches an origin; the port is 0 when it depends on the client's.
func addressOf(o status.Origin) (netip.AddrPort, bool) {
	if at, err := netip.ParseAddrPort(o.Address); err == nil {
		return at, true
	}
	a, err := netip.ParseAddr(o.Address)
	return netip.AddrPortFrom(a, 0), err == nil
}

// single is the prefix of one address.
func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// text leaves out the length of a single address.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// keepBans brings edge on the bans that are stored: it was restarted with an older list, a push failed, one is over.
func (k *keeper) keepBans(ctx context.Context, seen status.Edge) {
	bans, err := k.c.plannedBans()
	if err == nil && plan.BansFingerprint(bans) != seen.Bans {
		err = k.c.edge.SetBans(ctx, bans)
	}
	if err == nil {
		k.c.conditions.Clear("bans-refused", "")
		return
	}
	k.c.conditions.Raise(health.Condition{Code: "bans-refused", Severity: health.Warning,
		Title:  "The data plane does not have the current bans",
		Detail: sentence(err) + ". It is tried again every second."})
}
