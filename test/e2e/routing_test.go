//go:build e2e

package e2e

import (
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// TestPortMapping: an origin may have one port, or a range that is counted from the first port of the service.
func TestPortMapping(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		one, several := pool("one", f.origin), pool("several", f.origin)
		one.Origins[0].Port, several.Origins[0].Port = portRange("7777"), portRange("20000-20010")
		one.Health.Check, several.Health.Check = "none", "none"
		first, second := service("first", "800", "810-820"), service("second", "900-910", "1000-1010")
		first.Pool, second.Pool = "one", "several"
		apply(t, document([]settings.Pool{one, several}, first, second))
		for dialled, want := range map[uint16]uint16{
			800: 7777, 810: 7777, 820: 7777,
			900: 20000, 905: 20005, 910: 20010, 1000: 20000, 1010: 20010,
		} {
			arrivesAt(t, f, dialled, netip.AddrPortFrom(f.origin, want))
		}
		closes(t, connect(t, f.at(911)), nil)
	})
}

// arrivesAt expects that a port leads to a port of the origin, over TCP and UDP.
func arrivesAt(t *testing.T, f family, port uint16, want netip.AddrPort) {
	t.Helper()
	if got, err := askTCP(connect(t, f.at(port)), "hello"); err != nil || got.Destination != want {
		t.Errorf("TCP port %d: arrived at %s (%v), want %s", port, got.Destination, err, want)
	}
	if got, err := askUDP(connectUDP(t, f.at(port)), "hello"); err != nil || got.Destination != want {
		t.Errorf("UDP port %d: arrived at %s (%v), want %s", port, got.Destination, err, want)
	}
}

// TestNarrowerServiceWins: whatever the order in the document; of equally narrow ones the earlier.
func TestNarrowerServiceWins(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		other := families[0]
		if f == other {
			other = families[1]
		}
		pools := []settings.Pool{pool("games", f.origin)}
		var services []settings.Service
		for _, s := range []struct{ name, ports string }{
			{"everything", "1-65535"},
			{"range", "1000-1999"},
			{"exact", "1500"},
			{"later", "1500"},
			{"smaller", "1990-2010"},
			{"other-family", "1700"},
		} {
			service := service(s.name, s.ports)
			if s.name == "other-family" {
				service.Addresses = networks(other.edge.String())
			}
			services = append(services, service)
		}
		apply(t, document(pools, services...))
		for port, want := range map[uint16]string{
			999: "everything", 1000: "range", 1500: "exact", 1501: "range", 1989: "range",
			1990: "smaller", 2010: "smaller", 2011: "everything", 1700: "range", 65535: "everything",
		} {
			tcp, udp := connect(t, f.at(port)), connectUDP(t, f.at(port))
			if _, err := askTCP(tcp, "hello"); err != nil {
				t.Error(err)
			}
			if _, err := askUDP(udp, "hello"); err != nil {
				t.Error(err)
			}
			// Flows of earlier tests are still alive, and may have had the same client port.
			var overTCP, overUDP string
			for _, s := range sessions(t, "--client", f.client.String()) {
				switch {
				case s.Edge != f.at(port):
				case s.Protocol == plan.TCP && s.Client == local(tcp):
					overTCP = s.Service
				case s.Protocol == plan.UDP && s.Client == local(udp):
					overUDP = s.Service
				}
			}
			if overTCP != want || overUDP != want {
				t.Errorf("port %d: got the services %q for TCP and %q for UDP, want %q", port, overTCP, overUDP, want)
			}
		}
	})
}

// TestTCPAndUDPOfOneClientMeet: by default a player's address decides, so that a game with both finds one origin.
func TestTCPAndUDPOfOneClientMeet(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games := pool("games", f.origin, host(f.origin, 12), host(f.origin, 13))
		for i := range games.Origins {
			games.Origins[i].Name = []string{"games-1", "games-2", "games-3"}[i]
		}
		apply(t, document([]settings.Pool{games}, service("games", "1100-1200")))
		players := crowd(t, f)
		used := map[string]int{}
		for i := range 40 {
			from, at := players(i), f.at(uint16(1100+i))
			tcp, udp := connectFrom(t, "tcp", from, at), connectFrom(t, "udp", from, at)
			overTCP, err := askTCP(tcp, "hello")
			if err != nil {
				t.Fatal(err)
			}
			overUDP, err := askUDP(udp, "hello")
			if err != nil {
				t.Fatal(err)
			}
			if overTCP.Origin != overUDP.Origin {
				t.Errorf("%s: TCP reached %s, UDP %s", from, overTCP.Origin, overUDP.Origin)
			}
			used[overTCP.Origin]++
		}
		if len(used) != 3 {
			t.Errorf("40 players were spread as %v, want some at each of 3 origins", used)
		}
	})
}

// crowd lets bw-client receive for a large network until the test ends, and numbers its addresses: far apart, so that
// limits by source see many sources. connectFrom uses them.
func crowd(t *testing.T, f family) func(i int) netip.Addr {
	t.Helper()
	network := "198.19.0.0/16"
	if f.edge.Is6() {
		network = "2001:db8:c000::/36"
	}
	change(t, lab.Client, "ip route add local "+network+" dev lo", "ip route del local "+network+" dev lo")
	first := netip.MustParsePrefix(network).Addr()
	return func(i int) netip.Addr {
		if first.Is4() {
			a := first.As4()
			a[2], a[3] = byte(i), byte(i>>8)+1
			return netip.AddrFrom4(a)
		}
		a := first.As16()
		a[5], a[6], a[15] = byte(i>>8), byte(i), 1
		return netip.AddrFrom16(a)
	}
}
