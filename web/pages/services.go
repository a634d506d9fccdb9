package pages

import (
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// servicesView is every service with what becomes of a packet that it takes.
type servicesView struct {
	Services []serviceRow
	NoEdge   bool // nowhere for clients to arrive is set yet
	NoPools  bool
}

// serviceRow is one service: as it is wanted, and as it is seen.
type serviceRow struct {
	settings.Service // with its defaults
	First, Last      bool
	Seen             status.Service
	ToOrig, ToCli    *float64 // bytes a second; nil: not known yet
	State            string   // up, some, panic, none or unknown: how many of its origins are up
	Path             servicePath
	Hidden           hidden
}

// readAgain is how many cards a page may have that is read again every few seconds.
const readAgain = 100

// Few tells whether the page is small enough to be read again and again.
func (v servicesView) Few() bool { return len(v.Services) <= readAgain }

// Services lists the services in their order.
func (p *Pages) Services(c echo.Context) error {
	now, _, err := p.readable()
	if err != nil {
		return err
	}
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	view := servicesView{NoEdge: len(now.Edge.Addresses) == 0, NoPools: len(now.Pools) == 0}
	full := now.WithDefaults()
	shadows := shadowsOf(full.Services)
	rate := p.watch.look(seen.Edge, time.Now())
	for i, s := range full.Services {
		path := p.pathOf(s, full.Pools, seen.Edge)
		row := serviceRow{Service: s, First: i == 0, Last: i == len(full.Services)-1, State: path.state(seen.Edge), Path: path,
			Hidden: shadows[i], ToOrig: rate.of("in " + s.Name), ToCli: rate.of("out " + s.Name)}
		if seen.Edge != nil {
			row.Seen = seenService(*seen.Edge, s.Name)
		}
		view.Services = append(view.Services, row)
	}
	return p.renderSeen(c, http.StatusOK, "services", seen, view)
}

func seenService(edge status.Edge, name string) status.Service {
	i := slices.IndexFunc(edge.Services, func(s status.Service) bool { return s.Name == name })
	if i < 0 {
		return status.Service{}
	}
	return edge.Services[i]
}

// ServiceRemove shows what removing a service would change. Nothing is changed by looking.
func (p *Pages) ServiceRemove(c echo.Context) error {
	return p.reviewServices(c, func(list []settings.Service, at int) []settings.Service {
		return slices.Delete(list, at, at+1)
	})
}

// ServiceMove shows what another place of a service would change. Among services of equally wide port ranges the
// earlier one wins.
func (p *Pages) ServiceMove(c echo.Context) error {
	return p.reviewServices(c, func(list []settings.Service, at int) []settings.Service {
		to := at + 1
		if c.Param("to") == "up" {
			to = at - 1
		}
		if to >= 0 && to < len(list) {
			list[at], list[to] = list[to], list[at]
		}
		return list
	})
}

// reviewServices reviews the settings with a list of services made from the current one.
func (p *Pages) reviewServices(c echo.Context, edit func(list []settings.Service, at int) []settings.Service) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	at := serviceAt(now, c.Param("name"))
	if at < 0 {
		return echo.ErrNotFound
	}
	draft := now
	draft.Services = edit(slices.Clone(now.Services), at)
	return p.reviewOr(c, draft, base, "/services")
}

// reviewOr reviews a change that comes without a form; what is wrong with it is told as a whole.
func (p *Pages) reviewOr(c echo.Context, draft settings.Settings, base uint64, back string) error {
	problems, err := p.review(c, nil, draft, base, back)
	if err != nil || len(problems) == 0 {
		return err
	}
	return p.render(c, http.StatusUnprocessableEntity, "refused", refusedView{Problems: p.placed(problems, draft), Back: back})
}

// refusedView is a change that cannot be made, and why.
type refusedView struct {
	Problems []settings.Problem
	Back     string
}

// serviceAt is the place of a service, or -1.
func serviceAt(s settings.Settings, name string) int {
	return slices.IndexFunc(s.Services, func(service settings.Service) bool { return service.Name == name })
}

// servicePath is where a packet of a service goes: who sends it, what it dials, what the box adds, who gets it.
type servicePath struct {
	Service   settings.Service
	Addresses []string
	Ports     []string
	Pool      string
	Panic     bool
	Choice    string
	Origins   []pathOrigin
}

type pathOrigin struct {
	Name, Address, State string // State: up, down, drain, maintenance or unknown
}

// shownOnPath is how many addresses, ports and origins a path shows; the rest is a number.
const shownOnPath = 6

func (p *Pages) pathOf(s settings.Service, pools []settings.Pool, edge *status.Edge) servicePath {
	path := servicePath{Service: s, Pool: s.Pool}
	for _, a := range s.Addresses {
		path.Addresses = append(path.Addresses, plainPrefix(a))
	}
	for _, ports := range s.Ports {
		path.Ports = append(path.Ports, ports.String())
	}
	i := slices.IndexFunc(pools, func(pool settings.Pool) bool { return pool.Name == s.Pool })
	if i < 0 {
		return path
	}
	path.Choice = pools[i].Choice
	rows := originRows(pools[i], edge)
	for _, o := range rows {
		path.Origins = append(path.Origins, pathOrigin{o.Name, o.Shown(), o.State})
	}
	path.Panic = edge != nil && seenPool(*edge, s.Pool).Panic
	return path
}

// state sums the origins up. Those that the operator took out do not count: they are meant to get nobody.
func (path servicePath) state(edge *status.Edge) string {
	up, active := 0, 0
	for _, o := range path.Origins {
		if o.State == "up" {
			up++
		}
		if o.State == "up" || o.State == "down" {
			active++
		}
	}
	switch {
	case edge == nil:
		return "unknown"
	case path.Panic:
		return "panic"
	case up == 0:
		return "none"
	case up < active:
		return "some"
	}
	return "up"
}

// levels are the colours of the states of a service.
var levels = map[string]string{"up": "up", "some": "warn", "none": "bad", "panic": "bad", "unknown": "unknown"}

// Level is the colour of the state.
func (r serviceRow) Level() string { return levels[r.State] }

// SeesPlayer tells whether the origin learns the player's address at all, by TCP and by UDP.
func (path servicePath) SeesPlayer(protocol string) bool {
	s := path.Service
	return s.Transparent || protocol == "tcp" && s.TCPHeader != "none" || protocol == "udp" && s.UDPHeader != "none"
}

// Header is what the box adds for a protocol.
func (path servicePath) Header(protocol string) string {
	if protocol == "tcp" {
		return path.Service.TCPHeader
	}
	return path.Service.UDPHeader
}

// MoreOrigins, MoreAddresses and MorePorts are how many a path does not show.
func (path servicePath) MoreOrigins() int   { return max(0, len(path.Origins)-shownOnPath) }
func (path servicePath) MoreAddresses() int { return max(0, len(path.Addresses)-shownOnPath) }
func (path servicePath) MorePorts() int     { return max(0, len(path.Ports)-shownOnPath) }

// FewOrigins, FewAddresses and FewPorts are what it shows.
func (path servicePath) FewOrigins() []pathOrigin {
	return path.Origins[:min(len(path.Origins), shownOnPath)]
}
func (path servicePath) FewAddresses() []string {
	return path.Addresses[:min(len(path.Addresses), shownOnPath)]
}
func (path servicePath) FewPorts() []string { return path.Ports[:min(len(path.Ports), shownOnPath)] }
