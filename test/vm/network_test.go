//go:build vm

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
)

// Networks of the test. The page is reached by the first port, which QEMU gives 10.0.2.15 by DHCP.
const (
	pagePort = "52:54:00:12:34:56"
	wirePort = "52:54:00:00:00:03"
)

// network is a document of a machine with players at the port with the wire. Its values: more of the host, its
// interfaces besides, what manages it, and the name of the port with the wire three times. By the user path players are
// answered although there is no origin.
const network = `{ "schema": 1,
  "edge": { "interfaces": [%[3]q], "addresses": ["198.51.100.7/32", "2001:db8:99::7/128"] },
  "management": { %[2]s },
  "host": { "name": "box7.example.org", "timeServers": ["192.0.2.123"], "interfaces": [
    { "name": %[3]q, "mac": "52:54:00:00:00:03", "addresses": ["192.0.2.10/24", "2001:db8:7::10/64"], "routes": [ { "to": "10.77.0.0/16", "via": "192.0.2.1", "metric": 77 } ] }
    %[1]s ] },
  "dns": { "servers": ["192.0.2.53"] },
  "pools": [ { "name": "games", "health": { "check": "none" }, "origins": [ { "address": "192.0.2.1", "port": "9" }, { "address": "2001:db8:7::1", "port": "9" } ] } ],
  "services": [ { "name": "tcp", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "games", "path": "user" } ] }`

// TestNetwork: the network of the settings is that of the kernel, a wrong one is taken back, also after the reset
// button, and who is not let in is not answered.
func TestNetwork(t *testing.T) {
	w := newWire(t)
	m := boot(t, freePort(t), "", append(w.arguments,
		"-netdev", "user,id=b1,restrict=on,net=198.18.11.0/24", "-device", "virtio-net-pci,netdev=b1,romfile=,mac=52:54:00:00:00:11",
		"-netdev", "user,id=b2,restrict=on,net=198.18.12.0/24", "-device", "virtio-net-pci,netdev=b2,romfile=,mac=52:54:00:00:00:12")...)
	code := regexp.MustCompile(`(?m)^Setup code +(\S+)$`)
	screen := waitFor(t, m, bootWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && strings.Contains(s, "https://10.0.2.15/") && code.MatchString(s)
	})
	b := newBrowser(t, m)
	b.claim(t, code.FindStringSubmatch(screen)[1])
	wan := portOf(t, screen, wirePort)
	members := fmt.Sprintf("%q, %q", portOf(t, screen, "52:54:00:00:00:11"), portOf(t, screen, "52:54:00:00:00:12"))
	more := fmt.Sprintf(`, { "name": "vlan5", "vlan": 5, "parent": %q, "addresses": ["192.0.3.10/24"] },
		{ "name": "bond0", "bond": "active-backup", "members": [%s], "addresses": ["192.0.4.10/24"], "mtu": 1400 },
		{ "name": "bond0.6", "vlan": 6, "parent": "bond0", "addresses": ["192.0.6.10/24"] }`, wan, members)
	good := fmt.Sprintf(network, more, "", wan)

	if !t.Run("settings", func(t *testing.T) {
		b.put(t, fmt.Sprintf(network, more, fmt.Sprintf(`"interfaces": [%q, %q]`, portOf(t, screen, pagePort), wan), wan))
	}) {
		t.Fatalf("the box says:\n%s\n%s", m.report(t)["network"], m.report(t)["log"])
	}
	linkLocal := netip.MustParseAddr("fe80::5054:ff:fe00:3")
	own := []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8:7::10")}
	edges := []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8:99::7")}
	t.Run("kernel", func(t *testing.T) { checkNetwork(t, m.report(t), wan) })
	t.Run("inside", func(t *testing.T) {
		for _, a := range own {
			got := w.probe(t, m, a, 65535, edges[0])
			if got[a.String()+" syn-ack 443"] == 0 || got[a.String()+" pong"] != 1 || got[a.String()+" rst"] < 65000 {
				t.Errorf("answers %v; want the page, a ping and nearly 65,535 resets", got)
			}
		}
		if got := w.probe(t, m, linkLocal, 1024, edges[0]); got[linkLocal.String()+" syn-ack 443"] == 0 || got[linkLocal.String()+" pong"] != 1 {
			t.Errorf("at the link-local address: answers %v; want the page and a ping", got)
		}
	})
	t.Run("outside", func(t *testing.T) {
		b.put(t, good)
		for _, a := range own {
			if got := w.probe(t, m, a, 65535, edges[0]); len(got) > 0 {
				t.Errorf("the box answers players at %s: %v", a, got)
			}
		}
		if got := w.probe(t, m, linkLocal, 1024, edges[0]); len(got) > 0 {
			t.Errorf("the box answers players at its link-local address: %v", got)
		}
		for _, edge := range edges {
			w.drain()
			for _, frame := range [][]byte{segment(edge, 25565, syn, 1), ping(edge)} {
				if err := w.send(frame); err != nil {
					t.Fatal(err)
				}
			}
			w.await(t, m, edge.String()+" syn-ack 25565", edge.String()+" pong")
		}
	})

	cut := fmt.Sprintf(network, more+fmt.Sprintf(`, { "name": %q, "mac": %q, "addresses": ["10.99.0.2/24"] }`, portOf(t, screen, pagePort), pagePort), "", wan)
	t.Run("cut off", func(t *testing.T) {
		b.cutOff(t, cut, "40s")
		b.waitBack(t)
	})
	t.Run("cut off and reset", func(t *testing.T) {
		b.cutOff(t, cut, "60s")
		got := w.knock(t, 443, append(own, linkLocal, edges[0], edges[1]), func() {
			m.reset(t)
			b.waitBack(t)
		})
		for answer := range got {
			if !slices.ContainsFunc(edges, func(a netip.Addr) bool { return strings.HasPrefix(answer, a.String()+" ") }) && !strings.Contains(answer, " dials ") {
				t.Errorf("the box answers players while it starts: %s", answer)
			}
		}
		if got[edges[0].String()+" syn-ack 443"] == 0 {
			t.Errorf("answers %v; want some of the edge address, once it is there", got)
		}
		checkNetwork(t, m.report(t), wan)
	})
	t.Run("less", func(t *testing.T) {
		b.put(t, fmt.Sprintf(network, strings.Replace(more[:strings.Index(more, "{ \"name\": \"bond0\"")], `"vlan": 5`, `"vlan": 7`, 1)+`{ "name": "lonely", "vlan": 9, "parent": "vlan5" }`, "", wan))
		r := m.report(t)
		links := linksOf(t, r)
		if links["vlan5"].Info.Data.ID != 7 || links["lonely"].Info.Data.ID != 9 || links["bond0"].Name != "" || links["bond0.6"].Name != "" {
			t.Errorf("VLAN 7 and one on it, no bond: got\n%s\n%s", r["addresses"], r["network"])
		}
	})
	t.Run("system", func(t *testing.T) {
		r := m.report(t)
		for _, nothing := range []string{"failed", "cycles", "denied"} {
			if got, there := r[nothing]; !there || got != "" {
				t.Errorf("%s: %q, want nothing", nothing, got)
			}
		}
		if got := listening(r["ports"]); !slices.Equal(got, []string{"tcp *:443"}) {
			t.Errorf("reachable from outside: %q, want the web page only", got)
		}
		t.Logf("network:\n%s\nlog:\n%s", r["network"], r["log"])
	})
}

// portOf is the name of the network port with this MAC, from the console.
func portOf(t *testing.T, screen, mac string) string {
	t.Helper()
	found := regexp.MustCompile(`(\S+) +` + mac + `  `).FindStringSubmatch(screen)
	if found == nil {
		t.Fatalf("the console shows no port %s:\n%s", mac, screen)
	}
	return found[1]
}

// put applies settings, and waits until nothing is wrong.
func (b *browser) put(t *testing.T, document string) {
	t.Helper()
	b.call(t, http.MethodPut, "/api/v1/settings", []byte(document), nil)
	waitFor(t, b.m, answerWait, func() (string, bool) {
		var s control.Status
		b.call(t, http.MethodGet, "/api/v1/status", nil, &s)
		return fmt.Sprintf("%+v", s), s.InForce && len(s.Conditions) == 0
	})
}

// cutOff applies settings that cut this browser off, and sees that they do.
func (b *browser) cutOff(t *testing.T, document, confirm string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // the answer cannot come
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+b.m.page+"/api/v1/settings?confirm="+confirm, bytes.NewReader([]byte(document)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	if response, err := b.Do(request); err == nil {
		t.Errorf("the change was answered: %s", response.Status)
		_ = response.Body.Close()
	}
	b.CloseIdleConnections()
	waitFor(t, b.m, answerWait/2, func() (string, bool) {
		return "the page is reached over the network that was taken away", !b.answers(t)
	})
}

// answers tells whether the page answers now.
func (b *browser) answers(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.m.page+"/api/v1/status", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.Do(request)
	if err != nil {
		b.CloseIdleConnections()
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// waitBack waits until the settings of before are in force again and the page says that a change was taken back.
func (b *browser) waitBack(t *testing.T) {
	t.Helper()
	began := time.Now()
	waitFor(t, b.m, bootWait, func() (string, bool) { return "no answer", b.answers(t) })
	t.Logf("back after %.0f s", time.Since(began).Seconds())
	waitFor(t, b.m, 2*time.Minute, func() (string, bool) {
		var s control.Status
		b.call(t, http.MethodGet, "/api/v1/status", nil, &s)
		return fmt.Sprintf("%+v", s), s.InForce && s.Pending == nil && s.Revision == 2 && len(s.Conditions) == 1 && s.Conditions[0].Code == "taken-back"
	})
}

// link is an interface as `ip -json -details address` shows it.
type link struct {
	Name   string `json:"ifname"`
	MTU    int
	Master string
	Info   struct {
		Kind string `json:"info_kind"`
		Data struct {
			ID   int
			Mode string
		} `json:"info_data"`
	} `json:"linkinfo"`
	Addresses []struct{ Local netip.Addr } `json:"addr_info"`
}

func linksOf(t *testing.T, r map[string]string) map[string]link {
	t.Helper()
	var list []link
	if err := json.Unmarshal([]byte(r["addresses"]), &list); err != nil {
		t.Fatalf("%v in %s", err, r["addresses"])
	}
	links := map[string]link{}
	for _, l := range list {
		links[l.Name] = l
	}
	return links
}

func (l link) has(address string) bool {
	return slices.ContainsFunc(l.Addresses, func(a struct{ Local netip.Addr }) bool { return a.Local == netip.MustParseAddr(address) })
}

// checkNetwork holds what the kernel has to the document.
func checkNetwork(t *testing.T, r map[string]string, wan string) {
	t.Helper()
	l := linksOf(t, r)
	bond, members := l["bond0"], 0
	for _, other := range l {
		if other.Master == "bond0" {
			members++
		}
	}
	for what, is := range map[string]bool{
		"the addresses of the port":  l[wan].has("192.0.2.10") && l[wan].has("2001:db8:7::10"),
		"the edge address":           l[wan].has("198.51.100.7"),
		"the VLAN":                   l["vlan5"].Info.Kind == "vlan" && l["vlan5"].Info.Data.ID == 5 && l["vlan5"].has("192.0.3.10"),
		"the bond":                   bond.Info.Kind == "bond" && bond.Info.Data.Mode == "active-backup" && bond.MTU == 1400 && bond.has("192.0.4.10"),
		"its members":                members == 2,
		"the VLAN on it":             l["bond0.6"].Info.Data.ID == 6 && l["bond0.6"].has("192.0.6.10"),
		"the route":                  strings.Contains(r["routes"], "10.77.0.0/16 via 192.0.2.1 dev "+wan+" proto static metric 77"),
		"the default route by DHCP":  strings.Contains(r["routes"], "default via 10.0.2.2"),
		"the name":                   r["name"] == "box7.example.org",
		"the resolver":               strings.Contains(r["resolvers"], "Global: 192.0.2.53"),
		"the time server":            strings.Contains(r["clock"], "192.0.2.123"),
		"nothing that did not work":  r["failed"] == "",
		"the network that was asked": !strings.Contains(r["addresses"], "10.99.0.2"),
	} {
		if !is {
			t.Errorf("%s: the kernel has not what the settings say", what)
		}
	}
	if t.Failed() {
		t.Logf("addresses:\n%s\nroutes:\n%s\nname: %s\nresolvers: %s\nclock: %s\nnetwork:\n%s", r["addresses"], r["routes"], r["name"], r["resolvers"], r["clock"], r["network"])
	}
}
