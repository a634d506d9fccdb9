//go:build e2e

package attack

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/status"
	"breakwater/test/attack/flood"
	"breakwater/test/lab"
)

// TestForgedSources attacks under the addresses of those who must never be turned away: whoever can forge a source could have
// anybody banned otherwise.
func TestForgedSources(t *testing.T) {
	m := begin(t)
	startOrigins(t)
	renew(t)
	p := startPlayers(t)
	during := p.watch()
	for _, v := range []struct {
		name   string
		victim func(f family) netip.Addr
		plays  bool // it has an address at bw-client, from where it can try
	}{
		{"gateway", func(f family) netip.Addr { return f.neighbour(gateway) }, true},
		{"management client", func(f family) netip.Addr { return f.neighbour(operator) }, true},
		{"resolver", func(f family) netip.Addr { return f.neighbour(resolver) }, true},
		{"origin", func(f family) netip.Addr { return f.origin }, false},
		{"player who plays", func(f family) netip.Addr { return f.player(0) }, true},
	} {
		t.Run(v.name, func(t *testing.T) {
			a := begun(t, m, vector{name: v.name, named: status.VectorSYN, shapes: func(f family) []flood.Shape {
				ends := flood.Ends{From: one(v.victim(f)).Prefix, To: one(f.edge).Prefix}
				game, query := ends, ends
				game.ToPort, query.ToPort = tcpPort, udpPort
				return []flood.Shape{flood.TCP(game, flood.SYN, nil), flood.TCP(game, flood.ACK, nil), flood.UDP(query, raknetPing), flood.UDP(ends, nil)}
			}})
			time.Sleep(attackTime(t) / 2)
			a.end(t)
			for _, f := range families {
				if v.plays {
					eventually(t, func() error { return getsThrough(v.victim(f), f) })
				}
			}
			recovers(t)
			var bans []control.Ban
			if err := get("/api/v1/bans", &bans); err != nil || len(bans) > 0 {
				t.Errorf("bans: %v, %v", bans, err)
			}
		})
	}
	p.watch()
	if figures := during.figures(); figures.lost > 0 {
		t.Errorf("%d established sessions were lost, such as: %v", figures.lost, during.lost[0])
	}
}

func getsThrough(from netip.Addr, f family) error {
	_, err := tryLetter(from, netip.AddrPortFrom(f.edge, tcpPort), 3)
	return errors.Join(err, tryDatagram(from, netip.AddrPortFrom(f.edge, udpPort), 3))
}

// TestUnprovenSources asks a talkative game in the name of strangers, once each: no more may go to them than three times what
// came. What would be more does not go at all.
func TestUnprovenSources(t *testing.T) {
	m := begin(t)
	startOrigins(t)
	renew(t)
	for _, question := range []struct {
		size    int
		answers bool
	}{{64, false}, {600, true}} {
		for _, f := range families {
			t.Run(fmt.Sprintf("%s/%d bytes", f.name, question.size), func(t *testing.T) {
				a := begun(t, m, vector{name: "talk", named: status.VectorUDP, rate: 500, shapes: func(other family) []flood.Shape {
					if other.name != f.name {
						return nil
					}
					return datagrams(0, talkerPort, make([]byte, question.size))(f)
				}})
				time.Sleep(2 * time.Second)
				a.end(t)
				t.Logf("%.2f bytes went back for each that came", a.back.wire()/a.in.wire())
				if a.back.packets > 0 != question.answers {
					t.Errorf("%d packets went back, want some: %t", a.back.packets, question.answers)
				}
				a.judge(t)
				recovers(t)
			})
		}
	}
}

// TestFilterOutlivesTheBox ends edge and control under attack: what was dropped before is dropped still, and who plays plays on.
func TestFilterOutlivesTheBox(t *testing.T) {
	m := begin(t)
	startOrigins(t)
	renew(t)
	p := startPlayers(t)
	count := countPast(t)
	a := begun(t, m, vector{name: "dead", named: status.VectorFlags, shapes: segments(0, flood.FIN|flood.PSH|flood.URG)})
	time.Sleep(time.Second)
	during := p.watch()
	before, arrived := count(), received(t)
	die(t, func() { time.Sleep(3 * time.Second) })
	past, came := count()-before, received(t).since(arrived).packets
	p.watch()
	a.end(t)
	t.Logf("while nobody was there: %d packets came, %d of the attack got past the filter; players: %v", came, past, during.figures())
	if came < 1000 || past > came/1000 {
		t.Errorf("%d of %d packets got past the filter", past, came)
	}
	if figures := during.figures(); figures.lost > 0 {
		t.Errorf("%d established sessions were lost, such as: %v", figures.lost, during.lost[0])
	}
	recovers(t)
}

// countPast counts what netfilter sees of strangers, which is what the filter lets pass, until the test ends.
func countPast(t *testing.T) (count func() uint64) {
	t.Helper()
	commands := map[string]family{"iptables": families[0], "ip6tables": families[1]}
	for command, f := range commands {
		rule := fmt.Sprintf("PREROUTING -s %s", f.strangers)
		run(t, lab.Edge, command+" -t raw -I "+rule)
		t.Cleanup(func() { run(t, lab.Edge, command+" -t raw -D "+rule) })
	}
	return func() (sum uint64) {
		for command := range commands {
			var packets uint64
			_, counters, _ := strings.Cut(run(t, lab.Edge, command+" -t raw -v -S PREROUTING 1"), "-c ")
			if _, err := fmt.Sscan(counters, &packets); err != nil {
				t.Fatalf("read the counter of %s: %v", command, err)
			}
			sum += packets
		}
		return sum
	}
}

// die lets edge and control be dead for as long as something lasts. The lab, which would start them again, stands still.
func die(t *testing.T, meanwhile func()) {
	t.Helper()
	keeper, err := lab.Keeper()
	must(t, err)
	must(t, syscall.Kill(keeper, syscall.SIGSTOP))
	defer func() {
		must(t, syscall.Kill(keeper, syscall.SIGCONT))
		eventually(t, served)
	}()
	for _, name := range []string{"edge", "control"} {
		pid, err := lab.Child(name)
		must(t, err)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	meanwhile()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
