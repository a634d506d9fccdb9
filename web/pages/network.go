package pages

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
	"breakwater/web/caller"
)

// networkView is the form of where clients arrive and who may manage the box.
type networkView struct {
	Form       form
	Base       uint64
	Interfaces []interfaceRow
	Appliance  bool           // the machine is the box's own, and set here too
	Answers    []interfaceRow // where the box itself answers
	Ports      []portRow
	Browser    netip.Addr // where the reader comes from
	Outside    bool       // that is in no management network
	Default    string     // the directory that ACME asks when none is given
	Others     []settings.Problem
}

// interfaceRow is one interface to choose, as it is seen.
type interfaceRow struct {
	portRow
	Checked bool
}

var networkFields = append([]string{"interfaces", "addresses", "networks", "names", "acme.email", "acme.directory", "servers"}, machineFields...)

// machineFields are the inputs that only the appliance has, with the names that they have in the document.
var machineFields = []string{"management.interfaces", "host.name", "host.timeServers", "updates.url"}

// NetworkForm shows the network as it is set.
func (p *Pages) NetworkForm(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	values := url.Values{
		"interfaces": now.Edge.Interfaces, "addresses": {prefixText(now.Edge.Addresses)},
		"networks": {prefixText(now.Management.Networks)}, "names": {strings.Join(now.Management.Names, ", ")},
		"acme.email": {now.Management.ACME.Email}, "acme.directory": {now.Management.ACME.Directory},
		"servers":               {serverText(now.DNS.Servers)},
		"management.interfaces": now.Management.Interfaces, "host.name": {now.Host.Name},
		"host.timeServers": {strings.Join(now.Host.TimeServers, ", ")}, "updates.url": {now.Updates.URL},
	}
	return p.showNetwork(c, http.StatusOK, now, networkView{Form: form{Values: values}, Base: base})
}

func (p *Pages) showNetwork(c echo.Context, code int, now settings.Settings, view networkView) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	var set []settings.Interface // of another machine's document nothing is told here
	if _, view.Appliance = p.Control.System(); view.Appliance {
		set = now.Host.Interfaces
	}
	view.Ports = p.portRows(set, seen.Edge, localAddr(c))
	view.Interfaces = interfaceRows(view.Form.Values["interfaces"], view.Ports)
	view.Answers = interfaceRows(view.Form.Values["management.interfaces"], view.Ports)
	view.Browser = caller.Of(c.Request().Context()).Peer.Addr
	view.Outside = outside(view.Browser, now.Management.Networks)
	view.Default = settings.LetsEncrypt
	view.Others = p.placed(view.Form.Others(networkFields...), now)
	return p.renderSeen(c, code, "network", seen, view)
}

// interfaceRows are the interfaces to choose from, and those that are wanted and not there. Nothing arrives on the members
// of a bond by themselves.
func interfaceRows(wanted []string, ports []portRow) []interfaceRow {
	var rows []interfaceRow
	for _, port := range ports {
		if row := (interfaceRow{port, slices.Contains(wanted, port.Name)}); row.Checked || !row.Member {
			rows = append(rows, row)
		}
	}
	for _, name := range wanted {
		if name != "" && !slices.ContainsFunc(rows, func(r interfaceRow) bool { return r.Name == name }) {
			rows = append(rows, interfaceRow{portRow{Name: name, Missing: true}, true})
		}
	}
	return rows
}

// outside tells whether somebody at addr could not reach the page with these management networks. No networks: anyone may.
func outside(addr netip.Addr, networks []settings.Prefix) bool {
	return addr.IsValid() && !addr.IsLoopback() && len(networks) > 0 &&
		!slices.ContainsFunc(networks, func(n settings.Prefix) bool { return n.Contains(addr) })
}

// NetworkSave takes the form. Networks that leave out the browser's own address must be meant.
func (p *Pages) NetworkSave(c echo.Context) error {
	values, base, now, err := p.sent(c)
	if err != nil {
		return err
	}
	t := typed{values: values}
	draft := t.network(now)
	if _, appliance := p.Control.System(); appliance {
		draft = t.machine(draft)
	}
	addr := caller.Of(c.Request().Context()).Peer.Addr
	if outside(addr, draft.Management.Networks) && !t.on("outside") {
		t.wrong("networks", p.text.say("network.outside.problem", addr))
	}
	problems, err := p.review(c, t.with(ofNetwork(draft.Validate())), draft, base, "/system/network")
	if len(problems) == 0 {
		return err
	}
	view := networkView{Form: form{Values: values, Problems: problems}, Base: base}
	return p.showNetwork(c, http.StatusUnprocessableEntity, draft, view)
}

// network reads the form into the settings.
func (t *typed) network(s settings.Settings) settings.Settings {
	s.Edge.Interfaces = append(t.among("interfaces", s.Edge.Interfaces), t.words("interface")...)
	s.Edge.Addresses = list[settings.Prefix](t, "addresses")
	s.Management.Networks = list[settings.Prefix](t, "networks")
	s.Management.Names = t.words("names")
	s.Management.ACME = settings.ACME{Email: t.text("acme.email"), Directory: t.text("acme.directory")}
	s.DNS.Servers = list[settings.Server](t, "servers")
	return s
}

// machine reads what the form has besides on the appliance. Elsewhere that stays as it is: it has no meaning there, and
// the document may be meant for another machine.
func (t *typed) machine(s settings.Settings) settings.Settings {
	s.Management.Interfaces = t.among("management.interfaces", s.Management.Interfaces)
	s.Host.Name = t.text("host.name")
	s.Host.TimeServers = t.words("host.timeServers")
	s.Updates.URL = t.text("updates.url")
	return s
}

// ofNetwork brings the problems of the document to the fields of the form.
func ofNetwork(problems []settings.Problem) []settings.Problem {
	var of []settings.Problem
	for _, p := range problems {
		if field := lastIndex.ReplaceAllString(p.Field, ""); slices.Contains(machineFields, field) {
			of = append(of, settings.Problem{Field: field, Text: p.Text})
			continue
		}
		for _, prefix := range []string{"edge.", "management.", "dns."} {
			if rest, ok := strings.CutPrefix(p.Field, prefix); ok {
				p.Field = lastIndex.ReplaceAllString(rest, "")
			}
		}
		if p.Field == "acme" {
			p.Field = "acme.email"
		}
		of = append(of, p)
	}
	return of
}

func serverText(servers []settings.Server) string {
	texts := make([]string, len(servers))
	for i, s := range servers {
		text, _ := s.MarshalText() // it returns no error
		texts[i] = string(text)
	}
	return strings.Join(texts, ", ")
}
