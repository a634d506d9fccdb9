package control

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TryRequest asks for one connection from the box.
type TryRequest = plan.Try

// OriginTrial is what came of trying one origin of a service.
type OriginTrial struct {
	Origin   string        `json:"origin"`
	Protocol plan.Protocol `json:"protocol"`
	status.Trial
}

const (
	// triesAtOnce leaves room for others: edge makes four at once.
	triesAtOnce = 3
	// maxTries bounds the trials of one service.
	maxTries = 32
	// tryPort is the port that the client of a trial has.
	tryPort = 40000
)

// tryClients are whom the header of a trial names: addresses of the documentation (RFC 5737, RFC 3849).
var tryClients = [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1}), netip.MustParseAddr("2001:db8::1")}

// Try makes one connection from the box, with the PROXY header that it asks for, and tells what came of it. What the box
// must not connect to is a *Refusal; a connection that does not come about is a Trial with its Error.
func (c *Control) Try(ctx context.Context, t TryRequest) (status.Trial, error) {
	return c.edge.Try(ctx, t)
}

// TryService connects to every origin of a service as one of its sessions would, for the client 192.0.2.1:40000 on the
// first port of the service. An origin that cannot be tried has a Trial with its Error. ErrNotFound: there is no such
// service.
func (c *Control) TryService(ctx context.Context, service string) ([]OriginTrial, error) {
	wanted, _ := c.wish()
	if wanted == nil {
		return nil, ErrNotFound
	}
	i := slices.IndexFunc(wanted.Services, func(s plan.Service) bool { return s.Name == service })
	if i < 0 {
		return nil, ErrNotFound
	}
	seen, err := c.edge.Status(ctx)
	if err != nil {
		return nil, err
	}
	tasks := serviceTries(wanted, i, seen)
	trials := make([]OriginTrial, len(tasks))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(triesAtOnce)
	for n, task := range tasks {
		group.Go(func() error {
			trial, err := c.tryOrigin(ctx, task)
			trials[n] = OriginTrial{task.origin, task.request.Network, trial}
			return err
		})
	}
	return trials, group.Wait()
}

// originTry is one origin to be tried.
type originTry struct {
	origin  string
	request TryRequest
}

func (c *Control) tryOrigin(ctx context.Context, t originTry) (status.Trial, error) {
	if t.request.Address == "" {
		return status.Trial{Error: "The name of this origin leads to no address.", Reason: status.NotResolved}, nil
	}
	return c.edge.Try(ctx, t.request)
}

// serviceTries are the requests for each protocol of a service and each origin of its pool.
func serviceTries(p *plan.Plan, index int, seen status.Edge) []originTry {
	s := p.Services[index]
	pool := p.Pools[s.Pool]
	at := slices.IndexFunc(seen.Pools, func(o status.Pool) bool { return o.Name == pool.Name })
	var list []originTry
	for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
		i := slices.IndexFunc(p.Routes, func(r plan.Route) bool { return r.Service == index && r.Protocol == protocol })
		if i < 0 || at < 0 {
			continue
		}
		for _, o := range seen.Pools[at].Origins {
			list = append(list, originTry{o.Name, tryOf(s, pool, p.Routes[i], o)})
		}
	}
	return list[:min(len(list), maxTries)]
}

// tryOf is the request for one origin, as a client on the first port of the route would cause it.
func tryOf(s plan.Service, pool plan.Pool, route plan.Route, o status.Origin) TryRequest {
	client, edge := tryEnds(route)
	t := TryRequest{Network: route.Protocol, Header: string(s.TCPHeader), TLVs: s.TLVs, Client: client, Edge: edge}
	if route.Protocol == plan.UDP {
		t.Header = string(s.UDPHeader)
	}
	to, ok := addressOf(o)
	if !ok {
		return t
	}
	if to.Port() == 0 {
		to = netip.AddrPortFrom(to.Addr(), firstPort(pool, o.Name, route))
	}
	t.Address = to.String()
	return t
}

// tryEnds are the client of a trial and what it dialled, of one family when the service allows it.
func tryEnds(route plan.Route) (client, edge netip.AddrPort) {
	at := slices.IndexFunc(route.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() })
	if at < 0 && len(route.Addresses) > 0 {
		return netip.AddrPortFrom(tryClients[1], tryPort), netip.AddrPortFrom(route.Addresses[0].Addr(), route.FirstPort)
	}
	if at >= 0 {
		edge = netip.AddrPortFrom(route.Addresses[at].Addr(), route.FirstPort)
	}
	return netip.AddrPortFrom(tryClients[0], tryPort), edge
}

// firstPort is the origin's port for the first port of the route.
func firstPort(pool plan.Pool, origin string, route plan.Route) uint16 {
	i := slices.IndexFunc(pool.Origins, func(o plan.Origin) bool { return o.Name == origin })
	if i >= 0 && pool.Origins[i].FirstPort != 0 {
		return pool.Origins[i].FirstPort
	}
	return route.FirstPort
}
