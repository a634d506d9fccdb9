package pages

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
)

// interfaceView is the form of one network port, VLAN or bond of the machine.
type interfaceView struct {
	Form    form
	Base    uint64
	Name    string // as it is set; empty: it is not yet
	Kind    string // port, vlan or bond
	Port    string // whose settings these are, when that cannot be typed
	Row     *portRow
	MAC     choice
	Parent  choice
	Members choice
	Others  []settings.Problem
	More    bool // something out of sight at first is set or wrong
}

// networkPage is where the forms of the network come back to.
const networkPage = "/system/network"

var interfaceFields = []string{"name", "mac", "vlan", "parent", "bond", "members", "dhcp", "addresses", "gateways", "routes", "mtu"}

// ofAppliance wraps what only the appliance has: elsewhere the page says so.
func (p *Pages) ofAppliance(do echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, appliance := p.Control.System(); appliance {
			return do(c)
		}
		why := settings.Problem{Text: sentence(control.ErrNoAppliance)}
		return p.render(c, http.StatusConflict, "refused", refusedView{Problems: []settings.Problem{why}, Back: networkPage})
	}
}

// InterfaceForm shows an interface to be edited, or a new one: ?kind=vlan, ?kind=bond or, for a port that has no settings
// yet, ?kind=port. ?port= names that port, or the one that carries the VLAN.
func (p *Pages) InterfaceForm(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	name := c.Param("name")
	i := settings.Interface{Name: name}
	if name != "" {
		at := interfaceAt(now, name)
		if at < 0 {
			return echo.ErrNotFound
		}
		i = now.Host.Interfaces[at]
	}
	values := interfaceValues(i)
	if name == "" {
		kind, port := knownKind(c.QueryParam("kind")), c.QueryParam("port")
		if kind == "port" && port == "" {
			return echo.ErrNotFound
		}
		values.Set("kind", kind)
		values.Set(map[string]string{"port": "name", "vlan": "parent", "bond": "members"}[kind], port)
	}
	return p.showInterface(c, http.StatusOK, now, interfaceView{Form: form{Values: values}, Base: base, Name: name})
}

// knownKind is the kind of a new interface; a port, unless something else is asked for.
func knownKind(asked string) string {
	if asked == "vlan" || asked == "bond" {
		return asked
	}
	return "port"
}

// showInterface fills in what the form needs besides its values.
func (p *Pages) showInterface(c echo.Context, status int, now settings.Settings, view interfaceView) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	f := view.Form
	view.Kind = knownKind(f.Value("kind"))
	if view.Kind == "port" {
		view.Port = f.Value("name")
	}
	rows := p.portRows(now.Host.Interfaces, seen.Edge, localAddr(c))
	if at := slices.IndexFunc(rows, func(r portRow) bool { return r.Name == cmp.Or(view.Name, view.Port) }); at >= 0 {
		view.Row = &rows[at]
	}
	p.fillChoices(&view, rows)
	view.Others = p.placed(f.Others(interfaceFields...), now)
	view.More = f.Value("routes")+f.Value("mtu")+f.Problem("routes")+f.Problem("mtu") != ""
	return p.renderSeen(c, status, "interface", seen, view)
}

// fillChoices makes the selects of what is on the machine. What was chosen stays, also when it is not there any more.
func (p *Pages) fillChoices(view *interfaceView, rows []portRow) {
	view.MAC = p.choice(view.Form, "mac", "interface.mac", "")
	view.Parent = p.choice(view.Form, "parent", "interface.parent")
	view.Members = p.checks(view.Form, "members", "interface.members")
	for _, row := range rows {
		if row.Name == view.Name && view.Kind != "port" {
			continue
		}
		if row.Kind == "port" {
			view.Members.offer(row.Name, row.Name)
		}
		if row.Kind == "port" && row.Seen.MAC != "" && !row.Missing {
			view.MAC.offer(row.Seen.MAC, p.text.say("interface.mac.of", row.Seen.MAC, row.Seen.Name))
		}
		if row.Kind != "vlan" {
			view.Parent.offer(row.Name, row.Name)
		}
	}
	for _, c := range []*choice{&view.MAC, &view.Parent, &view.Members} {
		for _, value := range view.Form.Values[c.Name] {
			c.offer(value, p.text.say("interface.gone", value))
		}
	}
}

// offer adds an option, unless its value is one already.
func (c *choice) offer(value, text string) {
	if value != "" && !slices.ContainsFunc(c.Options, func(o option) bool { return o.Value == value }) {
		c.Options = append(c.Options, option{value, text})
	}
}

// InterfaceSave takes the form: the review, or the form again with what is wrong.
func (p *Pages) InterfaceSave(c echo.Context) error {
	values, base, now, err := p.sent(c)
	if err != nil {
		return err
	}
	name := c.Param("name")
	draft, at := withInterface(now, name)
	t := typed{values: values}
	draft.Host.Interfaces[at] = t.hostInterface(p.text, draft.Host.Interfaces[at].Members)
	draft = renamedInterface(draft, name, draft.Host.Interfaces[at].Name)
	problems, err := p.review(c, t.with(ofInterface(draft.Validate(), at)), draft, base, networkPage)
	if len(problems) == 0 {
		return err
	}
	view := interfaceView{Form: form{Values: values, Problems: problems}, Base: base, Name: name}
	return p.showInterface(c, http.StatusUnprocessableEntity, now, view)
}

// withInterface returns settings whose interface of that name can be changed, and its place; one that is not there is
// added.
func withInterface(s settings.Settings, name string) (settings.Settings, int) {
	s.Host.Interfaces = slices.Clone(s.Host.Interfaces)
	at := interfaceAt(s, name)
	if name == "" || at < 0 { // one that somebody else removed meanwhile comes back
		at = len(s.Host.Interfaces)
		s.Host.Interfaces = append(s.Host.Interfaces, settings.Interface{})
	}
	return s, at
}

// renamedInterface lets everything that names a VLAN or bond follow it to its new name.
func renamedInterface(s settings.Settings, from, to string) settings.Settings {
	if from == "" || from == to {
		return s
	}
	follow := func(names []string) []string {
		names = slices.Clone(names)
		for i := range names {
			if names[i] == from {
				names[i] = to
			}
		}
		return names
	}
	s.Edge.Interfaces, s.Management.Interfaces = follow(s.Edge.Interfaces), follow(s.Management.Interfaces)
	for i, other := range s.Host.Interfaces { // a copy, made by withInterface
		s.Host.Interfaces[i].Members = follow(other.Members)
		if other.Parent == from {
			s.Host.Interfaces[i].Parent = to
		}
	}
	return s
}

// hostInterface reads the form into an interface that had these members.
func (t *typed) hostInterface(text catalogue, members []string) settings.Interface {
	i := settings.Interface{
		Name:      t.text("name"),
		DHCP:      t.text("dhcp"),
		Addresses: list[settings.Address](t, "addresses"),
		Gateways:  list[settings.Addr](t, "gateways"),
		Routes:    t.routes("routes"),
		MTU:       t.number("mtu"),
	}
	switch knownKind(t.text("kind")) {
	case "port":
		i.MAC = one[settings.MAC](t, "mac")
	case "vlan":
		if i.VLAN, i.Parent = t.number("vlan"), t.text("parent"); t.text("vlan") == "" {
			t.wrong("vlan", text.say("interface.vlan.missing"))
		}
	case "bond":
		i.Bond, i.Members = t.text("bond"), t.among("members", members)
	}
	return i
}

// routes reads one route a line: 198.51.100.0/24 via 192.0.2.1 metric 10.
func (t *typed) routes(name string) []settings.Route {
	var routes []settings.Route
	for line := range strings.Lines(t.values.Get(name)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		route, err := routeOf(words)
		if err != nil {
			t.wrong(name, err.Error())
			continue
		}
		routes = append(routes, route)
	}
	return routes
}

func routeOf(words []string) (r settings.Route, err error) {
	if words[0] == "default" {
		return r, fmt.Errorf("%.60q is a route to everywhere; write its router as a gateway", strings.Join(words, " "))
	}
	metric := len(words) == 5 && words[3] == "metric"
	if !metric && len(words) != 3 || words[1] != "via" {
		return r, fmt.Errorf("%.60q is not a route; write it like \"198.51.100.0/24 via 192.0.2.1\" or \"198.51.100.0/24 via 192.0.2.1 metric 10\"", strings.Join(words, " "))
	}
	if err := r.To.UnmarshalText([]byte(words[0])); err != nil {
		return r, err
	}
	if err := r.Via.UnmarshalText([]byte(words[2])); err != nil {
		return r, err
	}
	if metric {
		if r.Metric, err = strconv.Atoi(words[4]); err != nil {
			return r, fmt.Errorf("%.60q is not a metric; write a whole number like 10", words[4])
		}
	}
	return r, nil
}

func routesText(routes []settings.Route) string {
	var lines []string
	for _, r := range routes {
		line := r.To.String() + " via " + r.Via.String()
		if r.Metric != 0 {
			line += " metric " + strconv.Itoa(r.Metric)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// interfaceValues is an interface as its form shows it.
func interfaceValues(i settings.Interface) url.Values {
	return url.Values{
		"name": {i.Name}, "kind": {kindOf(i)}, "mac": {macText(i.MAC)}, "vlan": {numberField(i.VLAN)}, "parent": {i.Parent},
		"bond": {i.Bond}, "members": i.Members, "dhcp": {i.DHCP}, "addresses": {joined(i.Addresses)}, "gateways": {joined(i.Gateways)},
		"routes": {routesText(i.Routes)}, "mtu": {numberField(i.MTU)},
	}
}

// ofInterface brings the problems of one interface to the fields of its form. What is wrong with one of its routes stands
// at all of them.
func ofInterface(problems []settings.Problem, at int) []settings.Problem {
	of := relative(problems, elementAt("host.interfaces", at))
	for i := range of {
		if strings.HasPrefix(of[i].Field, "routes[") {
			of[i].Field = "routes"
		}
	}
	return of
}

// InterfaceRemove shows what it would change that an interface has no settings any more: a VLAN or bond is gone, a port
// asks for its addresses by DHCP.
func (p *Pages) InterfaceRemove(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	at := interfaceAt(now, c.Param("name"))
	if at < 0 {
		return echo.ErrNotFound
	}
	if users := p.interfaceUsers(now, at); len(users) > 0 {
		why := settings.Problem{Text: p.text.say("interface.used", c.Param("name"), strings.Join(users, ", "))}
		return p.render(c, http.StatusConflict, "refused", refusedView{Problems: []settings.Problem{why}, Back: networkPage})
	}
	draft := now
	draft.Host.Interfaces = slices.Delete(slices.Clone(now.Host.Interfaces), at, at+1)
	return p.reviewOr(c, draft, base, networkPage)
}

// interfaceUsers are what a VLAN or bond cannot be taken away from, in words. A port stays, whatever is set.
func (p *Pages) interfaceUsers(s settings.Settings, at int) []string {
	i := s.Host.Interfaces[at]
	if kindOf(i) == "port" {
		return nil
	}
	var users []string
	if slices.Contains(s.Edge.Interfaces, i.Name) {
		users = append(users, p.text.say("interface.used.edge"))
	}
	if slices.Contains(s.Management.Interfaces, i.Name) {
		users = append(users, p.text.say("interface.used.management"))
	}
	for _, other := range s.Host.Interfaces {
		if other.Parent == i.Name {
			users = append(users, p.text.say("interface.used.vlan", other.Name))
		}
	}
	return users
}

// interfaceAt is the place of an interface in the settings, or -1.
func interfaceAt(s settings.Settings, name string) int {
	return slices.IndexFunc(s.Host.Interfaces, func(i settings.Interface) bool { return i.Name == name })
}
