package pages_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// machineSet has one interface of each kind, with everything that can be set.
const machineSet = `{ "schema": 1,
  "edge": { "interfaces": ["players"], "addresses": ["203.0.113.10/32"] },
  "management": { "interfaces": ["wan9", "wan0"] },
  "host": { "name": "box-1", "timeServers": ["192.0.2.123", "time.example.org"], "interfaces": [
    { "name": "wan0", "mac": "52:54:00:00:00:01", "dhcp": "ipv6", "addresses": ["192.0.2.10/24"], "gateways": ["192.0.2.1"], "mtu": 1400,
      "routes": [ { "to": "198.51.100.0/24", "via": "192.0.2.2", "metric": 10 }, { "to": "198.51.101.0/24", "via": "192.0.2.3" } ] },
    { "name": "bond0", "bond": "802.3ad", "members": ["lan0", "lan1"] },
    { "name": "lan1", "mac": "52:54:00:00:00:03", "dhcp": "none", "mtu": 9000 },
    { "name": "players", "vlan": 20, "parent": "bond0", "dhcp": "none", "addresses": ["203.0.113.2/24", "2001:db8::2/64"] },
    { "name": "wan9", "addresses": ["10.0.9.1/24"] } ] },
  "updates": { "url": "https://updates.example.org/breakwater.bw" },
  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "games" } ] }`

// machine is what the data plane sees of it: the port of wan0 is called otherwise now, and wan9 is not there.
func machine(site *webtest.Site) {
	port := func(name, mac string, addresses ...string) status.Interface {
		i := status.Interface{Name: name, MAC: mac, Up: true, Running: true, Speed: 10000, Driver: "ixgbe"}
		for _, a := range addresses {
			i.Addresses = append(i.Addresses, netip.MustParsePrefix(a))
		}
		return i
	}
	site.Edge.Observe(status.Edge{Interfaces: []status.Interface{
		port("lo", "00:00:00:00:00:00", "127.0.0.1/8"),
		port("enp1s0", "52:54:00:00:00:01", "192.0.2.10/24", "127.0.0.1/8"),
		port("lan0", "52:54:00:00:00:02"), port("lan1", "52:54:00:00:00:02"), port("bond0", "52:54:00:00:00:02"),
		port("players", "52:54:00:00:00:02", "203.0.113.2/24"),
		port("spare", "52:54:00:00:00:05", "192.0.2.99/24"),
	}})
}

// hosts are the settings of the machine in the revision in force.
func hosts(t *testing.T, site *webtest.Site) settings.Settings {
	t.Helper()
	r, err := site.Control.Current()
	if err != nil {
		t.Fatal(err)
	}
	s, problems := settings.Decode(r.Document)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

var interfaceForms = []string{"/system/network/interfaces/new?kind=vlan&port=lan0", "/system/network/interfaces/new?kind=bond",
	"/system/network/interfaces/new?kind=port&port=spare", "/system/network/interfaces/new?kind=%3Cb%3E&port=%3Cb%3E"}

func TestPagesOfTheMachineRender(t *testing.T) {
	site := webtest.Start(t, webtest.Appliance(t))
	anna := site.Browser(t, "anna", access.Admin)
	look := func(paths ...string) {
		t.Helper()
		for _, path := range slices.Concat(paths, interfaceForms) {
			if page := anna.Get(path).Want(t, http.StatusOK); strings.Contains(page.Body, "<b></b>") {
				t.Errorf("%s shows what is in its address: %.1000s", path, page.Body)
			}
		}
	}
	look("/system/network")
	machine(site)
	look("/system/network")
	site.Apply(t, machineSet)
	all := []string{"/system/network"}
	for _, name := range []string{"wan0", "bond0", "lan1", "players", "wan9"} {
		all = append(all, "/system/network/interfaces/"+name+"/edit")
	}
	look(all...)
	look("/system/network/interfaces/wan0/remove")
	page := anna.Get("/system/network").Want(t, http.StatusOK, "now enp1s0,", "VLAN 20 on bond0", "802.3ad of lan0, lan1 · DHCP", "member of bond0", "DHCP, as nothing is set",
		"DHCP for IPv6 · 192.0.2.10/24 · gateway 192.0.2.1 · 2 routes · MTU 1400", "you came in here", "not there", "interfaces/lan1/edit", "10.0.9.1/24", `interfaces/new?kind=port&amp;port=spare"`)
	if n := strings.Count(page.Body, `/edit"`); n != 5 {
		t.Errorf("%d interfaces can be edited, want 5", n)
	}
	site.Edge.Stop()
	look(all...)
	anna.Get("/system/network").Want(t, http.StatusOK, "is not known while the data plane does not answer", "not known")
	for _, path := range []string{"/system/network/interfaces/none/edit", "/system/network/interfaces/none/remove", "/system/network/interfaces/new", "/system/network/interfaces/enp1s0/edit"} {
		anna.Get(path).Want(t, http.StatusNotFound)
	}
}

// TestElsewhereTheMachineIsOnlyShown: a machine that somebody else manages keeps what a document says for another.
func TestElsewhereTheMachineIsOnlyShown(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	machine(site)
	site.Apply(t, machineSet)
	page := anna.Get("/system/network").Want(t, http.StatusOK, "the machine is managed by somebody else", "enp1s0", "192.0.2.99/24")
	for _, offered := range []string{"/interfaces/", "host.name", "management.interfaces", "updates.url", "802.3ad"} {
		if strings.Contains(page.Body, offered) {
			t.Errorf("the page offers %s", offered)
		}
	}
	values := shownForm(t, page, "/system/network")
	values.Set("host.name", "mine")
	anna.Post("/system/network", values).Want(t, http.StatusOK, "Nothing: the settings are like this already.")
	for _, path := range append(interfaceForms, "/system/network/interfaces/wan0/edit", "/system/network/interfaces/wan0/remove") {
		anna.Get(path).Want(t, http.StatusConflict, "managed by somebody else")
	}
	anna.Post("/system/network/interfaces/new", url.Values{"base": {"1"}, "name": {"x"}}).Want(t, http.StatusConflict, "managed by somebody else")
}

// TestWhatAFormOfTheMachineShowsIsWhatItSends: sending a form back unchanged changes nothing.
func TestWhatAFormOfTheMachineShowsIsWhatItSends(t *testing.T) {
	site := webtest.Start(t, webtest.Appliance(t))
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, machineSet)
	for _, seen := range []bool{false, true} {
		if seen {
			machine(site)
		}
		for _, path := range []string{"/system/network", "/system/network/interfaces/wan0/edit", "/system/network/interfaces/bond0/edit",
			"/system/network/interfaces/players/edit", "/system/network/interfaces/wan9/edit"} {
			page := anna.Get(path).Want(t, http.StatusOK)
			anna.Post(path, shownForm(t, page, path)).Want(t, http.StatusOK, "Nothing: the settings are like this already.")
		}
	}
}

func TestAPortGetsAFixedAddressAndLosesItAgain(t *testing.T) {
	site := webtest.Start(t, webtest.Appliance(t))
	anna := site.Browser(t, "anna", access.Admin)
	machine(site)
	const path = "/system/network/interfaces/new"
	values := shownForm(t, anna.Get(path+"?kind=port&port=spare").Want(t, http.StatusOK, "Port spare", "192.0.2.99/24"), path)
	for name, value := range map[string]string{"mac": "52:54:00:00:00:05", "addresses": "192.0.2.99/24, 2001:db8::99/64", "gateways": "192.0.2.1",
		"routes": "198.51.100.0/24 via 192.0.2.2 metric 10\r\n\r\n  198.51.101.0/24   via 192.0.2.3\r\n", "mtu": "1400"} {
		values.Set(name, value)
	}
	review := anna.Post(path, values).Want(t, http.StatusOK, "Interface spare", "192.0.2.99/24")
	form := shownForm(t, review, "/changes/apply")
	anna.Post("/changes/apply", form).Want(t, http.StatusSeeOther)
	keep(t, anna)
	want := settings.Interface{Name: "spare", MAC: settings.MAC{0x52, 0x54, 0, 0, 0, 5}, MTU: 1400}
	got := hosts(t, site).Host.Interfaces
	if len(got) != 1 || got[0].Name != want.Name || got[0].MAC != want.MAC || got[0].MTU != want.MTU || len(got[0].Addresses) != 2 || len(got[0].Gateways) != 1 ||
		len(got[0].Routes) != 2 || got[0].Routes[0].Metric != 10 || got[0].Routes[1].Via.String() != "192.0.2.3" {
		t.Errorf("the settings have %+v", got)
	}
	anna.Get("/system/network").Want(t, http.StatusOK, "192.0.2.99/24, 2001:db8::99/64 · gateway 192.0.2.1 · 2 routes · MTU 1400")
	review = anna.Get("/system/network/interfaces/spare/remove").Want(t, http.StatusOK, "Interface spare", "removed")
	anna.Post("/changes/apply", shownForm(t, review, "/changes/apply")).Want(t, http.StatusSeeOther)
	keep(t, anna)
	if got := hosts(t, site).Host.Interfaces; len(got) != 0 {
		t.Errorf("after the removal the settings have %+v", got)
	}
}

// keep presses Keep if the change waits for it, over a new connection.
func keep(t *testing.T, b *webtest.Browser) {
	t.Helper()
	page := b.Get("/")
	if strings.Contains(page.Body, `action="/changes/keep"`) {
		b.Post("/changes/keep", shownForm(t, page, "/changes/keep")).Want(t, http.StatusSeeOther)
	}
}

// TestARenamedBondIsFollowed: everything that names it names it by its new name.
func TestARenamedBondIsFollowed(t *testing.T) {
	site := webtest.Start(t, webtest.Appliance(t))
	anna := site.Browser(t, "anna", access.Admin)
	machine(site)
	site.Apply(t, machineSet)
	for _, rename := range []struct{ from, to string }{{"bond0", "team"}, {"players", "public"}} {
		path := "/system/network/interfaces/" + rename.from + "/edit"
		values := shownForm(t, anna.Get(path), path)
		values.Set("name", rename.to)
		anna.Post("/changes/apply", shownForm(t, anna.Post(path, values).Want(t, http.StatusOK), "/changes/apply")).Want(t, http.StatusSeeOther)
		keep(t, anna)
	}
	s := hosts(t, site)
	if s.Edge.Interfaces[0] != "public" || s.Host.Interfaces[3].Name != "public" || s.Host.Interfaces[3].Parent != "team" {
		t.Errorf("the settings have edge %v and %+v", s.Edge.Interfaces, s.Host.Interfaces)
	}
	for name, why := range map[string]string{"team": "the VLAN public is on it", "public": "players arrive on it"} {
		anna.Get("/system/network/interfaces/"+name+"/remove").Want(t, http.StatusConflict, why)
	}
}

func TestABadInterfaceIsRefusedAtItsFields(t *testing.T) {
	site := webtest.Start(t, webtest.Appliance(t))
	anna := site.Browser(t, "anna", access.Admin)
	machine(site)
	site.Apply(t, machineSet)
	const path = "/system/network/interfaces/new"
	for _, test := range []struct{ name, kind, field, typed, problem string }{
		{"address without a length", "port", "addresses", "192.0.2.10", "the length of its network"},
		{"no gateway", "port", "gateways", `"><script>`, "is not an IP address"},
		{"no route", "port", "routes", "198.51.100.0/24 192.0.2.1", "is not a route"},
		{"a default route", "port", "routes", "default via 192.0.2.1", "write its router as a gateway"},
		{"a route to half an address", "port", "routes", "198.51.100/24 via 192.0.2.1", "is not an address or network"},
		{"a route by a name", "port", "routes", "198.51.100.0/24 via <b>", "is not an IP address"},
		{"a route with a word behind", "port", "routes", "198.51.100.0/24 via 192.0.2.1 onlink", "is not a route"},
		{"a metric", "port", "routes", "198.51.100.0/24 via 192.0.2.1 metric low", "is not a metric"},
		{"mtu", "port", "mtu", "jumbo", "not a whole number"},
		{"mac", "port", "mac", "01:00:5e:00:00:01", "not the address of a network port"},
		{"a name that Linux uses", "port", "name", "default", "has a meaning of its own"},
		{"a name of another", "port", "name", "wan9", "already"},
		{"no name", "vlan", "name", "", "is not the name of a network interface"},
		{"the network itself", "port", "addresses", "192.0.2.0/24", "is the network itself"},
		{"a gateway elsewhere", "port", "gateways", "198.51.100.1", "is in no network of this interface"},
		{"a route by somebody elsewhere", "port", "routes", "198.51.100.0/24 via 203.0.113.77", "is in no network of this interface"},
		{"a route twice", "port", "routes", "198.51.100.0/24 via 10.0.7.2\n198.51.100.0/24 via 10.0.7.3", "is a second route"},
		{"dhcp", "port", "dhcp", "sometimes", "is not known here"},
		{"a small mtu", "port", "mtu", "576", "out of bounds"},
		{"a mac of another", "port", "mac", "52:54:00:00:00:01", "given twice"},
		{"vlan beyond", "vlan", "vlan", "4095", "out of bounds"},
		{"on nothing", "vlan", "parent", "", "is missing"},
		{"on a member", "vlan", "parent", "lan0", "is a member of a bond"},
		{"a bond of nothing", "bond", "members", "", "is empty"},
		{"a bond of another's", "bond", "members", "lan0", "given twice"},
		{"a bond of a bond", "bond", "members", "bond0", "is a VLAN or bond itself"},
		{"mode", "bond", "bond", "balance-rr", "is not known here"},
		{"vlan", "vlan", "vlan", "", "is missing"},
		{"vlan in words", "vlan", "vlan", "twenty", "not a whole number"},
	} {
		t.Run(test.name, func(t *testing.T) {
			values := shownForm(t, anna.Get(path+"?port=extra&kind="+test.kind), path)
			for name, value := range map[string]string{"name": "extra", "vlan": "30", "parent": "spare", "addresses": "10.0.7.1/24", "members": "spare"} {
				if test.kind != "port" || name == "name" || name == "addresses" {
					values.Set(name, value)
				}
			}
			values.Set(test.field, test.typed)
			page := anna.Post(path, values).Want(t, http.StatusUnprocessableEntity, `id="p-`+test.field+`"`, test.problem)
			if strings.Contains(page.Body, "<script>") || strings.Contains(page.Body, "<b></b>") {
				t.Error("what was typed is part of the page")
			}
			if got := shownForm(t, page, path).Get(test.field); strings.TrimSpace(got) != test.typed && test.field != "dhcp" && test.field != "bond" && test.field != "parent" {
				t.Errorf("%q is not kept, the form has %q", test.typed, got)
			}
		})
	}
	if r, err := site.Control.Current(); err != nil || r.Number != 1 {
		t.Errorf("revision %d (%v), want 1: bad input changed something", r.Number, err)
	}
}

func TestABadMachineIsRefusedAtItsFields(t *testing.T) {
	site := webtest.Start(t, webtest.Appliance(t))
	anna := site.Browser(t, "anna", access.Admin)
	machine(site)
	site.Apply(t, machineSet)
	for _, test := range []struct{ field, typed, problem string }{
		{"host.name", `a <b></b>`, "is not the name of a machine"},
		{"host.timeServers", "192.0.2.1 <script>", "is not the name or address of a time server"},
		{"updates.url", "ftp://updates.example.org/", "is not where update files come from"},
		{"management.interfaces", "lan0", "is a member of a bond"},
	} {
		t.Run(test.field, func(t *testing.T) {
			values := shownForm(t, anna.Get("/system/network"), "/system/network")
			values.Set(test.field, test.typed)
			page := anna.Post("/system/network", values).Want(t, http.StatusUnprocessableEntity, `id="p-`+test.field+`"`, test.problem)
			if strings.Contains(page.Body, "<b></b>") || strings.Contains(page.Body, "<script>") {
				t.Error("what was typed is part of the page")
			}
			if got := shownForm(t, page, "/system/network").Get(test.field); got != test.typed {
				t.Errorf("%q is not kept, the form has %q", test.typed, got)
			}
		})
	}
}

// TestTheSetUpGivesAFixedAddress: to the port by which the browser came in, and only on the appliance.
func TestTheSetUpGivesAFixedAddress(t *testing.T) {
	for _, appliance := range []bool{false, true} {
		var options []func(*control.Options)
		if appliance {
			options = append(options, webtest.Appliance(t))
		}
		site := webtest.Start(t, options...)
		anna := site.Browser(t, "anna", access.Admin)
		page := press(t, anna, anna.Get("/welcome"), "to-2").Want(t, http.StatusOK)
		if got := strings.Contains(page.Body, "A fixed address for this box"); got != appliance {
			t.Errorf("appliance %v: an address is offered: %v", appliance, got)
		}
		machine(site)
		page = press(t, anna, page, "to-2").Want(t, http.StatusOK)
		if !appliance {
			page = press(t, anna, page, "to-6", "fixedPort", "enp1s0", "fixed", "192.0.2.10/24").Want(t, http.StatusOK, "Nothing")
			if strings.Contains(page.Body, "enp1s0") {
				t.Error("the machine of somebody else gets an address")
			}
			continue
		}
		page.Want(t, http.StatusOK, "by the port enp1s0", "127.0.0.1/8")
		for _, wrong := range []struct{ field, typed string }{{"fixed", "192.0.2.10"}, {"fixed", ""}, {"gateway", "198.51.100.1"}, {"gateway", "<b>"}, {"servers", "dns"}} {
			answers := []string{"fixed", "192.0.2.10/24", "gateway", "192.0.2.1", "servers", "192.0.2.53", wrong.field, wrong.typed}
			at := wrong.field
			if wrong.typed == "" {
				at = "gateway" // which nothing reaches then
			}
			press(t, anna, page, "next", answers...).Want(t, http.StatusUnprocessableEntity, `id="p-`+at+`"`, "Who may open this page")
		}
		page = press(t, anna, page, "next", "fixed", "192.0.2.10/24", "gateway", "192.0.2.1", "servers", "192.0.2.53").Want(t, http.StatusOK, "Where players arrive")
		page = press(t, anna, page, "to-6").Want(t, http.StatusOK, "The port enp1s0 has the fixed address 192.0.2.10/24.", "You will find this page at https://192.0.2.10:")
		anna.Post("/changes/apply", shownForm(t, page, "/changes/apply")).Want(t, http.StatusSeeOther)
		keep(t, anna)
		s := hosts(t, site)
		if len(s.Host.Interfaces) != 1 || s.Host.Interfaces[0].Name != "enp1s0" || len(s.Host.Interfaces[0].Gateways) != 1 || len(s.DNS.Servers) != 1 {
			t.Errorf("the settings have %+v and %v", s.Host, s.DNS)
		}
		if page := press(t, anna, anna.Get("/welcome"), "to-2"); strings.Contains(page.Body, "A fixed address for this box") {
			t.Error("an address is offered to a port that has one")
		}
	}
}
