//go:build e2e

package foreign

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"breakwater/test/lab"
)

// A player asks for the server's status, joins, and says hello; the server kicks it with what it heard and from whom.
func TestMinecraft(t *testing.T) {
	startMinecraft(t)
	haproxy := startHaproxy(t, 25566)
	for _, c := range []struct {
		service string
		port    uint16
		sees    func(f family, client netip.AddrPort) netip.Addr // whom the game sees
	}{
		{"minecraft", 25565, func(f family, _ netip.AddrPort) netip.Addr { return f.box }},
		{"minecraft-transparent", 25567, func(_ family, client netip.AddrPort) netip.Addr { return client.Addr() }},
		// The game reads no PROXY header, so HAProxy does in front of it, and tells the player's address in its log.
		{"minecraft-v2", 25566, func(family, netip.AddrPort) netip.Addr { return families[0].origin }},
	} {
		t.Run(c.service, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				client, kicked := play(t, f.at(c.port))
				name, rest, _ := strings.Cut(kicked, " ")
				address, rest, _ := strings.Cut(rest, " ")
				port, heard, _ := strings.Cut(rest, " ")
				if name != "Steve" || heard != "hello" {
					t.Errorf("the server heard %q from %q, want hello from Steve", heard, name)
				}
				sees := c.sees(f, client)
				if address != sees.String() {
					t.Errorf("the server sees %s, want %s", address, sees)
				}
				if want := fmt.Sprint(client.Port()); sees == client.Addr() && port != want {
					t.Errorf("the server sees port %s, want %s", port, want)
				}
				if c.service == "minecraft-v2" {
					awaitSaid(t, haproxy, fmt.Sprintf("minecraft player %s %d\n", client.Addr(), client.Port()))
				}
			})
		})
	}
}

func startMinecraft(t *testing.T) *server {
	t.Helper()
	if _, err := os.Stat(absolute(t, modules+"/minecraft-protocol")); err != nil {
		t.Fatal("this test needs minecraft-protocol from npm: run test/tools/setup test, which installs it")
	}
	args := []string{absolute(t, "minecraft.js"), "server", "25565"}
	for _, f := range families {
		args = append(args, f.origin.String())
	}
	s := start(t, lab.Origin, "node", args...)
	for _, f := range families {
		s.awaitListening(t, f.origin, 25565)
	}
	return s
}

// play is a player's visit. It checks the server's status and returns the player's address and the reason of the kick.
func play(t *testing.T, at netip.AddrPort) (client netip.AddrPort, kicked string) {
	t.Helper()
	out := ask(t, "node", absolute(t, "minecraft.js"), "client", fmt.Sprint(at.Port()), at.Addr().String(), "Steve")
	var visit struct {
		MOTD    string
		Max     int
		Kicked  string
		Address string
		Port    uint16
	}
	lines := json.NewDecoder(strings.NewReader(out))
	for range 2 {
		if err := lines.Decode(&visit); err != nil {
			t.Fatalf("read the player's story %q: %v", out, err)
		}
	}
	if visit.MOTD != "behind the box" || visit.Max != 7 {
		t.Errorf("got the status %q with room for %d, want %q with room for 7", visit.MOTD, visit.Max, "behind the box")
	}
	address, err := netip.ParseAddr(visit.Address)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(address, visit.Port), visit.Kicked
}

// awaitSaid waits until a server has written something.
func awaitSaid(t *testing.T, s *server, text string) {
	t.Helper()
	eventually(t, func() error {
		if !strings.Contains(s.said.String(), text) {
			return fmt.Errorf("%s did not say %q", s.name, text)
		}
		return nil
	})
}
