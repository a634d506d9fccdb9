//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// named answers every connection to a port of an own address with a name. Closing the listener makes the port refuse.
func named(t *testing.T, at netip.AddrPort, name string) *net.TCPListener {
	t.Helper()
	l := listen(t, lab.Origin, at)
	accepting(l, func(c *net.TCPConn) { _, _ = c.Write([]byte(name + "\n")) })
	return l
}

// askName connects and reads the name of who answers; empty when the box closed instead.
func askName(f family, port uint16) (string, error) {
	c, err := dialTCP(f.at(port))
	if err != nil {
		return "", err
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && line == "" && strings.Contains(err.Error(), "EOF") {
		return "", nil
	}
	return strings.TrimSpace(line), err
}

// onlyFrom expects that n clients in a row are served by one origin.
func onlyFrom(t *testing.T, f family, port uint16, want string, n int) {
	t.Helper()
	for range n {
		if got, err := askName(f, port); err != nil || got != want {
			t.Fatalf("got an answer of %q (%v), want %q", got, err, want)
		}
	}
}

// TestOriginDown: on the user path the player gets a clean end, the operator the code why.
func TestOriginDown(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		refuses, silent := ownAddress(t, f, 54), ownAddress(t, f, 55)
		iptables := map[bool]string{true: "iptables", false: "ip6tables"}[f.edge.Is4()]
		rule := " INPUT -d " + silent.String() + " -j DROP"
		change(t, lab.Origin, iptables+" -A"+rule, iptables+" -D"+rule)
		refused, blackholed := service("refused", "1"), service("blackholed", "2")
		refused.Pool, blackholed.Pool = "refuses", "silent"
		refused.Path, blackholed.Path = "user", "user"
		blackholed.Timeouts.Connect = settings.Duration(300 * time.Millisecond)
		apply(t, document([]settings.Pool{pool("refuses", refuses), pool("silent", silent)}, refused, blackholed))
		log := watchEvents(t, f)
		for port, want := range map[uint16]status.Reason{1: status.OriginRefused, 2: status.ConnectTimeout} {
			c := connect(t, f.at(port))
			closes(t, c, []byte("hello"))
			end := log.of(t, c)[1]
			if end.Reason == nil || *end.Reason != want || end.Code != want.Code() {
				t.Errorf("port %d: got the event %+v, want the reason %s (%d)", port, end, want, want.Code())
			}
		}
	})
}

// twoOrigins is a pool with the own addresses a and b in turn, whose health is checked at port 99 if at all.
func twoOrigins(t *testing.T, f family, check string) (games settings.Pool, a, b netip.Addr) {
	t.Helper()
	a, b = ownAddress(t, f, 56), ownAddress(t, f, 57)
	games = pool("games", a, b)
	games.Choice = "round-robin"
	games.Origins[0].Name, games.Origins[1].Name = "a", "b"
	games.Health = settings.Health{Check: check, Interval: settings.Duration(500 * time.Millisecond), Rise: 1, Fall: 2}
	if check == "tcp" {
		games.Health.Port = 99
	}
	return games, a, b
}

// originUp reads what the box says about an origin of the pool "games".
func originUp(t *testing.T, name string) (o status.Origin, panics bool) {
	t.Helper()
	for _, p := range boxStatus(t).Edge.Pools {
		for _, o := range p.Origins {
			if o.Name == name {
				return o, p.Panic
			}
		}
	}
	t.Fatalf("there is no origin %s", name)
	return o, false
}

func waitForOrigin(t *testing.T, name string, up bool) {
	t.Helper()
	eventually(t, func() error {
		if o, _ := originUp(t, name); o.Up != up {
			return fmt.Errorf("got %+v, want up: %t", o, up)
		}
		return nil
	})
}

// TestRetryOnTheOtherOrigin: on the user path a player is not turned away because the first choice refuses, and after a few the
// origin counts as down. When it answers again, clients come back.
func TestRetryOnTheOtherOrigin(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games, _, b := twoOrigins(t, f, "none")
		for i := range games.Origins { // a refusal counts where an origin has one port
			games.Origins[i].Port = settings.Ports{First: 1300, Last: 1300}
		}
		named(t, netip.AddrPortFrom(b, 1300), "b")
		games1300 := service("games", "1300")
		games1300.Path = "user"
		apply(t, document([]settings.Pool{games}, games1300))
		onlyFrom(t, f, 1300, "b", 10)
		a, _ := originUp(t, "a")
		if a.Up || a.Failed < 2 || a.Why == "" {
			t.Errorf("got %+v, want it down after 2 failed connects, with why", a)
		}
	})
}

// TestHealthChecks: an origin whose port refuses takes no clients, and does again when it answers.
func TestHealthChecks(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games, a, b := twoOrigins(t, f, "tcp")
		for i, origin := range []netip.Addr{a, b} {
			named(t, netip.AddrPortFrom(origin, 1301), []string{"a", "b"}[i])
		}
		named(t, netip.AddrPortFrom(b, 99), "check")
		apply(t, document([]settings.Pool{games}, service("games", "1301")))
		waitForOrigin(t, "a", false)
		if _, raised := condition(t, "origin-down", "games/a"); !raised {
			t.Error("there is no condition about the origin that is down")
		}
		onlyFrom(t, f, 1301, "b", 10)
		named(t, netip.AddrPortFrom(a, 99), "check")
		waitForOrigin(t, "a", true)
		seen := map[string]bool{}
		eventually(t, func() error {
			name, err := askName(f, 1301)
			seen[name] = true
			if err == nil && !(seen["a"] && seen["b"]) {
				err = fmt.Errorf("got answers of %v, want both", seen)
			}
			return err
		})
	})
}

// TestPanicRule: when every origin is down, all are tried, since a wrong check must not turn everybody away.
func TestPanicRule(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games, a, _ := twoOrigins(t, f, "tcp")
		named(t, netip.AddrPortFrom(a, 1302), "a")
		apply(t, document([]settings.Pool{games}, service("games", "1302")))
		waitForOrigin(t, "a", false)
		waitForOrigin(t, "b", false)
		if _, panics := originUp(t, "a"); !panics {
			t.Error("every origin is down, and the pool does not say so")
		}
		if _, raised := condition(t, "pool-down", "games"); !raised {
			t.Error("there is no condition about the pool")
		}
		onlyFrom(t, f, 1302, "a", 6)
	})
}

// TestMaxSessionsOfAnOrigin: a full origin sends its clients to the other, and the last is told the reason.
func TestMaxSessionsOfAnOrigin(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		// A pool of its own: flows of other cases may be with the others' origins still, and would count.
		few := pool("few", f.origin, host(f.origin, 12))
		for i := range few.Origins {
			few.Origins[i].Name, few.Origins[i].MaxSessions = []string{"few-1", "few-2"}[i], 2
		}
		games := service("games", "1303")
		games.Pool = "few"
		apply(t, document([]settings.Pool{few}, games))
		used := map[string]int{}
		for range 4 {
			got, err := askTCP(connect(t, f.at(1303)), "hello")
			if err != nil {
				t.Fatal(err)
			}
			used[got.Origin]++
		}
		if used["games-1"] != 2 || used["games-2"] != 2 {
			t.Errorf("4 clients were spread as %v, want 2 at each", used)
		}
		closes(t, connect(t, f.at(1303)), []byte("hello"))
	})
}
