package origin

import (
	"fmt"
	"net/netip"
	"strings"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// refresh brings everything that follows from the plan, the DNS answers and the origins' health up to date: the
// addresses, the views that Pick reads, the conditions. Set.mu is held.
func (s *Set) refresh() {
	for _, p := range s.order {
		for _, n := range p.origins {
			s.place(p, n)
		}
		p.view.Store(p.makeView(s.guard))
		s.raise(p, p.conditions())
	}
	s.hold()
}

// place turns n's answer into addresses. Those that stay keep their state; those that no origin may have are left out.
func (s *Set) place(p *Pool, n *named) {
	before := n.addresses
	n.addresses, n.list, n.refused = make(map[netip.AddrPort]*Origin), nil, nil
	n.places.limit.Store(int64(n.spec.MaxSessions))
	for _, a := range n.answer.places {
		if why := s.guard.refuse(a.address); why != "" {
			n.refused = append(n.refused, refusal{a.address, why})
			continue
		}
		at := netip.AddrPortFrom(a.address, a.port)
		o := before[at]
		if o == nil {
			o = newOrigin(n.spec.Name, a.address, a.port, n.key(at), n.places, s.notify)
		}
		n.addresses[at], n.list = o, append(n.list, o)
		o.fall.Store(int64(max(p.health.Fall, 1)))
		_, checked := n.checkAddress(p, o)
		o.checked.Store(checked)
	}
}

// key identifies an address for rendezvous hashing. An origin with an IP address is known by its name alone, so that
// it keeps its clients when it moves.
func (n *named) key(at netip.AddrPort) uint64 {
	if n.spec.Record == plan.RecordNone {
		return mix(hashText(n.spec.Name))
	}
	return mix(hashText(n.spec.Name + " " + at.String()))
}

// checkAddress is where the health of o is checked; false when traffic alone tells.
func (n *named) checkAddress(p *Pool, o *Origin) (netip.AddrPort, bool) {
	port := p.health.Port
	if first, last := n.ports(o); port == 0 && first == last {
		port = first
	}
	ok := p.health.Check == plan.CheckTCP && port != 0 && n.spec.State != plan.Maintenance
	return netip.AddrPortFrom(o.address, port), ok
}

func (p *Pool) makeView(g guard) *view {
	v := &view{choice: p.choice, reason: status.NoOrigin, from: sourceAddressesOf(p.wished, g)}
	for _, n := range p.origins {
		if n.spec.State != plan.Active {
			continue
		}
		if len(n.list) == 0 && len(n.refused) > 0 {
			v.reason = status.OriginForbidden
		} else if len(n.list) == 0 && v.reason == status.NoOrigin {
			v.reason = status.NotResolved
		}
		v.members = append(v.members, n.members()...)
	}
	if v.choice == plan.RoundRobin {
		v.turns = deal(v.members)
	}
	return v
}

// members shares the origin's weight among its addresses, by the weights of the SRV records when there are any.
func (n *named) members() []member {
	var sum uint64
	for _, a := range n.answer.places {
		if n.addresses[netip.AddrPortFrom(a.address, a.port)] != nil {
			sum += a.weight
		}
	}
	var list []member
	for _, a := range n.answer.places {
		o := n.addresses[netip.AddrPortFrom(a.address, a.port)]
		if o == nil {
			continue
		}
		first, last := n.ports(o)
		o.onePort.Store(first != 0 && first == last)
		whole := min(uint64(n.spec.Weight)<<16, maxWeight) //nolint:gosec // at least 1, and far below 2^48
		list = append(list, member{origin: o, weight: max(whole*a.weight/sum, 1), first: first, last: last})
	}
	return list
}

// panicked tells whether every address that may take clients is down, so that all are used.
func (p *Pool) panicked() bool {
	v := p.view.Load()
	return len(v.members) > 0 && !v.anyUp()
}

type conditionKey struct{ code, subject string }

// raise brings the conditions of p to what is wanted, and clears those that are over.
func (s *Set) raise(p *Pool, wanted []health.Condition) {
	old := p.raised
	p.raised = make(map[conditionKey]bool)
	for _, c := range wanted {
		key := conditionKey{c.Code, c.Subject}
		if !old[key] {
			s.log.Warn(c.Title, "origin", c.Subject, "reason", c.Detail)
		}
		p.raised[key] = true
		s.conditions.Raise(c)
	}
	for key := range old {
		if !p.raised[key] {
			s.log.Info("over: "+key.code, "origin", key.subject)
			s.conditions.Clear(key.code, key.subject)
		}
	}
}

func (p *Pool) conditions() []health.Condition {
	var list []health.Condition
	if p.panicked() {
		list = append(list, health.Condition{
			Code: "pool-down", Subject: p.name, Severity: health.Critical,
			Title: fmt.Sprintf("Every origin of pool %s is down", p.name),
			Detail: "New clients are sent to all of them as if they were up, in the hope that one answers. " +
				"See that the servers run and that the box can reach them.",
		})
	}
	if c, wrong := p.sourceCondition(); wrong {
		list = append(list, c)
	}
	for _, n := range p.origins {
		list = append(list, p.originConditions(n)...)
	}
	return list
}

// originConditions leaves out origins in maintenance: whatever is wrong there, the operator is working on it.
func (p *Pool) originConditions(n *named) []health.Condition {
	if n.spec.State == plan.Maintenance {
		return nil
	}
	var list []health.Condition
	add := func(code string, severity health.Severity, title string, details ...string) {
		if len(details) > 0 {
			list = append(list, health.Condition{
				Code: code, Subject: p.name + "/" + n.spec.Name, Severity: severity,
				Title: title, Detail: strings.Join(details, "; ") + ".",
			})
		}
	}
	add("origin-down", health.Warning, fmt.Sprintf("Origin %s of pool %s is down", n.spec.Name, p.name), n.downs()...)
	add("origin-hangs-up", health.Warning, fmt.Sprintf("Origin %s of pool %s hangs up on everybody", n.spec.Name, p.name), n.hangUps()...)
	add("origin-portless", health.Warning, fmt.Sprintf("No source port is left towards origin %s of pool %s", n.spec.Name, p.name), p.portless(n)...)
	var refused []string
	for _, r := range n.refused {
		refused = append(refused, r.String())
	}
	add("origin-forbidden", health.Critical,
		fmt.Sprintf("The DNS name of origin %s of pool %s leads where no origin may be", n.spec.Name, p.name), refused...)
	if n.err != nil && n.spec.Record != plan.RecordNone && n.asked {
		add("resolve", n.severity(), fmt.Sprintf("The name %s of origin %s does not resolve", n.spec.Address, n.spec.Name),
			n.err.Error(), n.meanwhile())
	}
	return list
}

func (n *named) downs() []string {
	var list []string
	for _, o := range n.list {
		if now := o.now.Load(); !now.up {
			list = append(list, fmt.Sprintf("%s: %s", n.shown(o), now.why))
		}
	}
	return list
}

// hangUps tells of the mistake that is made most: the PROXY protocol is on at one end only.
func (n *named) hangUps() []string {
	var list []string
	for _, o := range n.list {
		if !o.hangs.Load() {
			continue
		}
		what := "without a PROXY header; if the PROXY protocol is on at the server, choose that header for the service"
		if o.greeted.Load() {
			what = "right after the PROXY header; turn the PROXY protocol on at the server, or choose no header for the service"
		}
		list = append(list, fmt.Sprintf("%s: it closes connections within seconds and says nothing, %s", n.shown(o), what))
	}
	return list
}

func (n *named) severity() health.Severity {
	if len(n.list) == 0 {
		return health.Critical
	}
	return health.Warning
}

func (n *named) meanwhile() string {
	if len(n.list) == 0 {
		return "it gets no clients until its name resolves"
	}
	return "the addresses of the last answer stay in use"
}
