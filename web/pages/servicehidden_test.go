package pages

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"breakwater/appliance/settings"
)

func TestMoreSpecificServicesHideOthers(t *testing.T) {
	v4, v6 := prefix("203.0.113.10/32"), prefix("2001:db8::10/128")
	service := func(name, protocol string, first, last uint16, addresses ...settings.Prefix) settings.Service {
		return settings.Service{Name: name, Protocols: []string{protocol}, Ports: []settings.Ports{{First: first, Last: last}}, Addresses: addresses}
	}
	for _, test := range []struct {
		name     string
		services []settings.Service
		all      []bool
		by       []int // how many parts go to others
	}{
		{"a narrower one takes its ports", []settings.Service{service("all", "tcp", 1, 65535, v4), service("web", "tcp", 80, 80, v4)}, []bool{false, false}, []int{1, 0}},
		{"the earlier of two equal ones", []settings.Service{service("a", "tcp", 80, 80, v4), service("b", "tcp", 80, 80, v4)}, []bool{false, true}, []int{0, 1}},
		{"two halves hide the whole", []settings.Service{service("whole", "tcp", 1, 100, v4), service("low", "tcp", 1, 50, v4), service("high", "tcp", 51, 100, v4)}, []bool{true, false, false}, []int{2, 0, 0}},
		{"a gap of one port", []settings.Service{service("whole", "tcp", 1, 100, v4), service("low", "tcp", 1, 49, v4), service("high", "tcp", 51, 100, v4)}, []bool{false, false, false}, []int{2, 0, 0}},
		{"another protocol", []settings.Service{service("a", "tcp", 80, 80, v4), service("b", "udp", 80, 80, v4)}, []bool{false, false}, []int{0, 0}},
		{"another address", []settings.Service{service("a", "tcp", 80, 80, v4), service("b", "tcp", 80, 80, v6)}, []bool{false, false}, []int{0, 0}},
		{"one of two addresses", []settings.Service{service("a", "tcp", 80, 80, v4), service("b", "tcp", 80, 80, v4, v6)}, []bool{false, false}, []int{0, 1}},
		{"part of a network", []settings.Service{service("a", "tcp", 80, 80, v4), service("b", "tcp", 80, 80, prefix("203.0.113.0/24"))}, []bool{false, false}, []int{0, 1}},
		{"all of a network", []settings.Service{service("a", "tcp", 80, 80, prefix("203.0.113.0/24")), service("b", "tcp", 80, 80, v4)}, []bool{false, true}, []int{0, 1}},
	} {
		shadows := shadowsOf(test.services)
		for i, s := range shadows {
			if s.All != test.all[i] || len(s.By) != test.by[i] {
				t.Errorf("%s: %s got all %t by %v, want all %t by %d", test.name, test.services[i].Name, s.All, s.By, test.all[i], test.by[i])
			}
		}
	}
}

func TestWhoeverIsOutsideTheManagementNetworks(t *testing.T) {
	networks := []settings.Prefix{prefix("10.0.5.0/24")}
	for _, test := range []struct {
		name, addr string
		networks   []settings.Prefix
		want       bool
	}{
		{"no networks let anyone in", "192.0.2.7", nil, false},
		{"inside", "10.0.5.9", networks, false},
		{"outside", "192.0.2.7", networks, true},
		{"the box itself", "127.0.0.1", networks, false},
	} {
		if got := outside(netip.MustParseAddr(test.addr), test.networks); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

func TestWelcomeLeavesOutTheBrowserOnlyWhenThatIsMeant(t *testing.T) {
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var now settings.Settings
	now.Management.Networks = []settings.Prefix{prefix("10.0.5.0/24")}
	for _, test := range []struct {
		name, networks, outside string
		want                    bool
	}{
		{"left out", "10.0.6.0/24", "", true},
		{"left out and meant", "10.0.6.0/24", "on", false},
		{"among them", "10.0.6.0/24, 192.0.2.0/24", "", false},
		{"as they are", "10.0.5.0/24", "", false},
		{"anyone", "", "", false},
	} {
		_, problems := p.draft(url.Values{"networks": {test.networks}, "outside": {test.outside}}, now, netip.MustParseAddr("192.0.2.7"))
		got := slices.ContainsFunc(problems, func(p settings.Problem) bool {
			return p.Field == "networks" && strings.Contains(p.Text, "comes from 192.0.2.7")
		})
		if got != test.want {
			t.Errorf("%s: %t, want %t: %v", test.name, got, test.want, problems)
		}
	}
	var page strings.Builder
	view := welcomeView{Peer: netip.MustParseAddr("192.0.2.7"), Outside: true}
	if err := p.templates["welcome"].ExecuteTemplate(&page, "_welcome_network.html", view); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Your browser comes from <code>192.0.2.7</code>", `name="outside"`} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the step lacks %q: %s", want, page.String())
		}
	}
}

func TestAnOriginAsItIsTyped(t *testing.T) {
	for text, want := range map[string]settings.Origin{
		"10.0.0.20":          {Address: "10.0.0.20"},
		"10.0.0.20:80":       {Address: "10.0.0.20", Port: settings.Ports{First: 80, Last: 80}},
		"[2001:db8::1]:80":   {Address: "2001:db8::1", Port: settings.Ports{First: 80, Last: 80}},
		"2001:db8::1":        {Address: "2001:db8::1"},
		"[2001:db8::1]":      {Address: "2001:db8::1"},
		"play.example.org:9": {Address: "play.example.org", Port: settings.Ports{First: 9, Last: 9}},
		"10.0.0.20:x":        {Address: "10.0.0.20:x"},
	} {
		if got := originOf(text); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func prefix(text string) settings.Prefix { return settings.Prefix{Prefix: netip.MustParsePrefix(text)} }
