//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// mustBan bans over the command line.
func mustBan(t *testing.T, prefix string, flags ...string) {
	t.Helper()
	if out := breakwater(t, nil, append([]string{"ban", prefix, "--reason", t.Name()}, flags...)...); out.code != 0 {
		t.Fatalf("ban %s: %s", prefix, out.stderr)
	}
	t.Cleanup(func() { breakwater(t, nil, "unban", prefix) }) // it may be over or taken back by now
}

// entry connects as a client that may be banned, and says whether it is served: nil, or a reset, be it before or after
// the connect has returned.
func entry(from netip.Addr, at netip.AddrPort) error {
	d := net.Dialer{Timeout: patience, Control: freebind, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", at.String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = askTCP(c, "hello")
	return err
}

func wantNoEntry(t *testing.T, from netip.Addr, at netip.AddrPort) {
	t.Helper()
	if err := entry(from, at); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%s connects: got %v, want a reset", from, err)
	}
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d bytes and %v, want a reset", n, err)
	}
}

// talk opens a session or flow from an address of a crowd and exchanges a word.
func talk(t *testing.T, network string, from netip.Addr, at netip.AddrPort) net.Conn {
	t.Helper()
	c := connectFrom(t, network, from, at)
	ask := askTCP
	if network == "udp" {
		ask = askUDP
	}
	if _, err := ask(c, "hello"); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBan(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1900")))
		log := watchEvents(t, f)
		source := crowd(t, f)
		bad, good := source(1), source(2)
		tcp, udp, other := talk(t, "tcp", bad, f.at(1900)), talk(t, "udp", bad, f.at(1900)), talk(t, "tcp", good, f.at(1900))
		before, beforeUDP := reasons(t, plan.TCP)[status.Banned], reasons(t, plan.UDP)[status.Banned]

		mustBan(t, bad.String())
		wantReset(t, tcp)
		wantEvents(t, log, tcp, status.Banned)
		wantEvents(t, log, udp, status.Banned)
		wantNoEntry(t, bad, f.at(1900))
		if _, err := udp.Write([]byte("anyone?")); err != nil {
			t.Error(err)
		}
		counted(t, plan.TCP, status.Banned, before, 2) // the end and the one who came
		counted(t, plan.UDP, status.Banned, beforeUDP, 2)
		if _, err := other.Write([]byte("still")); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
		if n, err := io.ReadFull(other, make([]byte, len("still"))); err != nil {
			t.Errorf("the neighbour got %d bytes and %v", n, err)
		}
		if list := sessions(t, "--search", bad.String()); len(list) != 0 {
			t.Errorf("got the sessions %+v of a banned client", list)
		}

		if out := breakwater(t, nil, "unban", bad.String()); out.code != 0 {
			t.Fatal(out.stderr)
		}
		if err := entry(bad, f.at(1900)); err != nil {
			t.Errorf("after unban: %v", err)
		}
	})
}

// TestBanOutlivesEdge: the next edge knows it before control has said a word.
func TestBanOutlivesEdge(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1901")))
		source := crowd(t, f)
		mustBan(t, source(1).String())
		pid, err := lab.Child("control")
		if err != nil {
			t.Fatal(err)
		}
		thaw := freeze(t, pid)
		end(t, "edge", syscall.SIGKILL)
		eventually(t, func() error { return entry(source(2), f.at(1901)) })
		wantNoEntry(t, source(1), f.at(1901))
		thaw()
		inForce(t)
		wantNoEntry(t, source(1), f.at(1901))
		end(t, "control", syscall.SIGKILL)
		inForce(t)
		wantNoEntry(t, source(1), f.at(1901))
	})
}

func TestBanEnds(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1902")))
		source := crowd(t, f)
		const lasts = 2 * time.Second
		began := time.Now()
		mustBan(t, source(1).String(), "--for", lasts.String())
		if err := entry(source(1), f.at(1902)); err == nil && time.Since(began) < lasts {
			t.Error("the banned client gets in")
		}
		eventually(t, func() error { return entry(source(1), f.at(1902)) })
		eventually(t, func() error {
			var list []control.Ban
			getJSON(t, &list, "bans")
			if s := boxStatus(t); len(list) > 0 || s.Edge == nil || s.Edge.Bans != "" {
				return fmt.Errorf("got the bans %+v, want none, also in edge", list)
			}
			return nil
		})
	})
}

// TestBanAmongMany: one client among 8,000 sessions, or as many as the box may have here, is gone within a second, besides what a
// command takes on this machine, and the others notice nothing.
func TestBanAmongMany(t *testing.T) {
	f := families[0]
	apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1903")))
	h := hold(t, f, 1903, min(8000, boxStatus(t).Edge.Limits.MaxSessions-100), 50)
	source := crowd(t, f)
	var bad []net.Conn
	for range 5 {
		bad = append(bad, talk(t, "tcp", source(1), f.at(1903)))
	}
	began := time.Now()
	boxStatus(t)
	asked := time.Now()
	mustBan(t, netip.PrefixFrom(source(1), 24).Masked().String())
	for _, c := range bad {
		wantReset(t, c)
	}
	if took, command := time.Since(asked), asked.Sub(began); took > command+time.Second {
		t.Errorf("it took %s, and a look at the status %s", took, command)
	}
	h.verify(t)
	if list := sessions(t, "--service", "games", "--sort", "bytes", "--desc", "--limit", "7"); len(list) != 7 || list[0].BytesToClient < list[6].BytesToClient {
		t.Errorf("got the window %+v", list)
	}
}

// TestBansThatHurtAreRefused in the words of the box.
func TestBansThatHurtAreRefused(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1904")))
		for prefix, why := range map[string]string{
			f.origin.String(): "origin games-1", f.edge.String(): "an edge address", host(f.edge, 1).String(): "of this box",
			"0.0.0.0/0": "too wide", "2000::/3": "too wide", "players": "",
		} {
			if out := breakwater(t, nil, "ban", prefix); out.code != 1 || !strings.Contains(out.stderr, why) {
				t.Errorf("ban %s: got the exit status %d and %q, want %q", prefix, out.code, out.stderr, why)
			}
		}
	})
}

// TestTry: the origin sees the header that the trial shows, and nobody gets a trial with the box itself.
func TestTry(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		headed := service("games", "1905")
		headed.TCPHeader, headed.UDPHeader = "v2", "spp"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, headed))
		try := func(r control.TryRequest) (trial status.Trial, code int) {
			body, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			response, err := api(t).Post("http://box/api/v1/try", "application/json", strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if err := json.NewDecoder(response.Body).Decode(&trial); err != nil && response.StatusCode == 200 {
				t.Fatal(err)
			}
			return trial, response.StatusCode
		}
		client := netip.AddrPortFrom(host(f.client, 77), 40000)
		for _, network := range []plan.Protocol{plan.TCP, plan.UDP} {
			r := control.TryRequest{Network: network, Address: netip.AddrPortFrom(f.origin, 1905).String(), Header: "v2", Client: client, Edge: f.at(1905), Send: []byte("hello")}
			if network == plan.UDP {
				r.Header = "v2-each"
			}
			trial, code := try(r)
			if code != 200 || !trial.Connected || trial.Error != "" || !strings.Contains(string(trial.Received), client.String()) || !strings.Contains(trial.HeaderText, client.String()) {
				t.Errorf("%s: got %d %+v (%q)", network, code, trial, trial.Received)
			}
		}
		for _, address := range []netip.Addr{f.edge, host(f.edge, 1), netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
			if trial, code := try(control.TryRequest{Network: plan.TCP, Address: netip.AddrPortFrom(address, 22).String()}); code == 200 {
				t.Errorf("the box tried itself: %+v", trial)
			}
		}
	})
}

// TestInterfaces: the box tells those that it has.
func TestInterfaces(t *testing.T) {
	apply(t, document([]settings.Pool{pool("games", families[0].origin)}, service("games", "1906")))
	s := boxStatus(t)
	if s.Edge == nil {
		t.Fatal("edge does not answer")
	}
	for _, i := range s.Edge.Interfaces {
		if i.Name != "wan0" {
			continue
		}
		if !i.Up || !i.Running || i.MAC == "" || i.Driver != "veth" || i.Rx.Packets == 0 || i.Tx.Bytes == 0 || len(i.Addresses) < 4 {
			t.Errorf("got %+v", i)
		}
		return
	}
	t.Errorf("got %+v, want wan0", s.Edge.Interfaces)
}
