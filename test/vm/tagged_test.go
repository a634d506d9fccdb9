//go:build vm

package vm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// tagged is a document of a machine whose players are in VLAN 5 of a port and in VLAN 7 of a bond, and whose origins are in
// VLAN 6 of the same port and without a tag. Its values: the port three times, the members of the bond, more edge interfaces,
// the services.
const tagged = `{ "schema": 1,
  "edge": { "interfaces": ["players", "bonded"%[3]s], "addresses": ["198.51.100.7/32", "2001:db8:99::7/128"] },
  "host": { "interfaces": [
    { "name": %[1]q, "mac": "52:54:00:00:00:03", "addresses": ["192.0.2.10/24", "2001:db8:2::10/64"] },
    { "name": "players", "vlan": 5, "parent": %[1]q, "addresses": ["192.0.5.10/24", "2001:db8:5::10/64"] },
    { "name": "origins", "vlan": 6, "parent": %[1]q, "addresses": ["192.0.6.10/24", "2001:db8:6::10/64"] },
    { "name": "bond0", "bond": "active-backup", "members": [%[2]s], "dhcp": "none" },
    { "name": "bonded", "vlan": 7, "parent": "bond0", "addresses": ["192.0.7.10/24", "2001:db8:7::10/64"] } ] },
  "pools": [ %[4]s ],
  "services": [ %[5]s ] }`

// Ports of the services, and that of origins.
const (
	portTagged  = 1000 // the origin is in a VLAN
	portPlain   = 2000 // the origin is in the untagged network of the port that VLANs of players and origins are on
	portCookies = 3000 // SYN cookies answer always; the origin is as with portTagged
	portOrigin  = 4000
)

// family is what there is twice.
type family struct {
	name, edge                              string
	player, bonded, plain, taggedOrigin, at string // addresses; at is of the origin without a tag
}

var families = []family{
	{"v4", "198.51.100.7", "192.0.5.2", "192.0.7.2", "192.0.2.3", "192.0.6.2", "192.0.2.2"},
	{"v6", "2001:db8:99::7", "2001:db8:5::2", "2001:db8:7::2", "2001:db8:2::3", "2001:db8:6::2", "2001:db8:2::2"},
}

// bad is what the packet rule of the services drops.
const bad = "bad payload, dropped by a rule of packets"

// taggedDocument writes the document.
func taggedDocument(port, members, edge string) string {
	var pools, services []string
	for _, f := range families {
		for pool, address := range map[string]string{"tagged": f.taggedOrigin, "plain": f.at} {
			pools = append(pools, fmt.Sprintf(`{ "name": "%s-%s", "health": { "check": "none" }, "origins": [ { "address": %q, "port": "%d" } ] }`, pool, f.name, address, portOrigin))
		}
		for _, s := range []struct {
			name, pool, cookies string
			port                int
		}{{"tagged", "tagged", "auto", portTagged}, {"plain", "plain", "auto", portPlain}, {"cookies", "tagged", "on", portCookies}} {
			services = append(services, fmt.Sprintf(`{ "name": "%s-%s", "protocols": ["tcp", "udp"], "addresses": [%q], "ports": ["%d"], "pool": "%[5]s-%[2]s",
				"tcpHeader": "v2", "udpHeader": "v2-each", "shield": { "synCookies": %[6]q, "packetRules": [ { "name": "bad", "protocol": "udp", "payload": "%[7]x" } ] } }`,
				s.name, f.name, map[string]string{"v4": f.edge + "/32", "v6": f.edge + "/128"}[f.name], s.port, s.pool, s.cookies, bad[:8]))
		}
	}
	slices.Sort(pools)
	return fmt.Sprintf(tagged, port, members, edge, strings.Join(pools, ",\n"), strings.Join(services, ",\n"))
}

// TestTaggedEdge: players and origins may be behind VLANs, of a port or of a bond: the kernel path carries them, and the shield
// is in front of them.
func TestTaggedEdge(t *testing.T) {
	port := newCable(t, "wire", wirePort)
	members := []*cable{newCable(t, "member1", "52:54:00:00:00:11"), newCable(t, "member2", "52:54:00:00:00:12")}
	players := newLAN(t, 5, []string{"192.0.5.2/24", "2001:db8:5::2/64"}, "192.0.5.10", "2001:db8:5::10")
	bonded := newLAN(t, 7, []string{"192.0.7.2/24", "2001:db8:7::2/64"}, "192.0.7.10", "2001:db8:7::10")
	origins := newLAN(t, 6, []string{"192.0.6.2/24", "2001:db8:6::2/64"})
	plain := newLAN(t, 0, []string{"192.0.2.2/24", "192.0.2.3/24", "2001:db8:2::2/64", "2001:db8:2::3/64"}, "192.0.2.10", "2001:db8:2::10")
	trunks := []*trunk{newTrunk(t, []*cable{port}, players, origins, plain), newTrunk(t, members, bonded)}
	resets := make(chan string, 16)
	for _, f := range families {
		origins.serve(t, f.taggedOrigin, resets)
		plain.serve(t, f.at, resets)
	}
	m := boot(t, freePort(t), "", slices.Concat(port.arguments, members[0].arguments, members[1].arguments)...)
	code := regexp.MustCompile(`(?m)^Setup code +(\S+)$`)
	screen := waitFor(t, m, bootWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && strings.Contains(s, "https://10.0.2.15/") && code.MatchString(s)
	})
	b := newBrowser(t, m)
	b.claim(t, code.FindStringSubmatch(screen)[1])
	wan := portOf(t, screen, wirePort)
	bond := fmt.Sprintf("%q, %q", portOf(t, screen, "52:54:00:00:00:11"), portOf(t, screen, "52:54:00:00:00:12"))
	b.put(t, taggedDocument(wan, bond, ""))
	if got := b.covered(t, "bonded", "players"); got["bonded"] != "generic" || got["players"] != "generic" {
		t.Errorf("the shield is at %v; no driver has it at a VLAN", got)
	}

	for _, f := range families {
		for _, p := range []player{{b, players, f.player, f.edge}, {b, bonded, f.bonded, f.edge}} {
			from := fmt.Sprintf("%s from tag %d ", f.name, p.tag)
			t.Run(from+"to a tag", func(t *testing.T) { p.everything(t, portTagged) })
			t.Run(from+"to none", func(t *testing.T) { p.everything(t, portPlain) })
			t.Run(from+"with a cookie", p.cookie)
			t.Run(from+"is killed", func(t *testing.T) { p.killed(t, portTagged, resets) })
		}
	}
	t.Run("the port is of the edge, too", func(t *testing.T) {
		b.put(t, taggedDocument(wan, bond, fmt.Sprintf(", %q", wan)))
		if got := b.covered(t, "bonded", "players", wan); got["players"] != got[wan] {
			t.Errorf("the shield is at %v; at the port it sees the frames of the VLAN, too", got)
		}
		for _, f := range families {
			for _, p := range []player{{b, players, f.player, f.edge}, {b, plain, f.plain, f.edge}} {
				p.everything(t, portTagged)
				p.cookie(t)
			}
		}
	})
	for _, k := range trunks {
		if all := k.strays(); len(all) > 0 {
			t.Errorf("%d frames went to a wrong network, the first %s", len(all), all[0])
		}
	}
	r := m.report(t)
	if r["failed"] != "" || r["denied"] != "" {
		t.Errorf("failed: %q, denied: %q, want nothing", r["failed"], r["denied"])
	}
	if t.Failed() {
		t.Logf("%+v\nlog:\n%s", b.status(t).Edge.Shield, r["log"])
	}
}

func (b *browser) status(t *testing.T) (s control.Status) {
	t.Helper()
	b.call(t, http.MethodGet, "/api/v1/status", nil, &s)
	if s.Edge == nil {
		t.Fatalf("edge does not answer: %+v", s)
	}
	return s
}

// covered waits until the shield is at these interfaces, and returns its modes there.
func (b *browser) covered(t *testing.T, interfaces ...string) (modes map[string]string) {
	t.Helper()
	waitFor(t, b.m, answerWait, func() (string, bool) {
		modes = map[string]string{}
		for _, a := range b.status(t).Edge.Shield.Attachments {
			modes[a.Interface] = a.Mode
		}
		good := len(modes) == len(interfaces)
		for _, name := range interfaces {
			good = good && modes[name] != "" && modes[name] != "none"
		}
		return fmt.Sprintf("the shield is at %v, want it at %v", modes, interfaces), good
	})
	return modes
}

// player is somebody in a network with an address, who dials an edge address.
type player struct {
	*browser
	*lan
	address, edge string
}

// pathOf is the engine that carries what this client has opened; empty: neither.
func (p player) pathOf(t *testing.T, conn net.Conn) (path plan.Path, id status.ID) {
	t.Helper()
	var list status.SessionList
	p.call(t, http.MethodGet, "/api/v1/sessions", nil, &list)
	for _, s := range list.Sessions {
		if s.Client.String() == conn.LocalAddr().String() {
			return s.Path, s.ID
		}
	}
	return "", id
}

// open connects, and reads what the origin was told by the PROXY header. It tries again while another engine carries it: an
// interface that has just come is found within seconds.
func (p player) open(t *testing.T, port uint16, want plan.Path) (net.Conn, *bufio.Reader, status.ID) {
	t.Helper()
	to := netip.AddrPortFrom(netip.MustParseAddr(p.edge), port)
	for began := p.m.patience(); ; {
		conn, err := p.dial(t, "tcp", p.address, to)
		if err != nil {
			t.Fatalf("dial %s: %v", to, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(answerWait))
		r := bufio.NewReader(conn)
		got, err := r.ReadString('\n')
		if told := fmt.Sprintf("%s to %s\n", conn.LocalAddr(), to); err != nil || got != told {
			t.Fatalf("the origin told %q, %v; want %q", got, err, told)
		}
		path, id := p.pathOf(t, conn)
		if path == want {
			return conn, r, id
		}
		if began.ends(answerWait) {
			t.Fatalf("the path of %s is %q, want %q", to, path, want)
		}
		_ = conn.Close()
	}
}

// everything is what the kernel path and the shield do with a service.
func (p player) everything(t *testing.T, port uint16) {
	t.Helper()
	p.tcp(t, port, plan.PathKernel)
	p.udp(t, port)
	p.rule(t, port)
}

// cookie connects by a SYN cookie of the shield.
func (p player) cookie(t *testing.T) {
	t.Helper()
	was := p.status(t).Edge.Shield.Cookies
	p.tcp(t, portCookies, plan.PathUser)
	if is := p.status(t).Edge.Shield.Cookies; is.Sent == was.Sent || is.Accepted == was.Accepted || is.Refused != was.Refused {
		t.Errorf("cookies were %+v and are %+v; want more sent and accepted, and none refused", was, is)
	}
}

// tcp sends more than a window of bytes, and wants all of them back.
func (p player) tcp(t *testing.T, port uint16, want plan.Path) {
	t.Helper()
	conn, r, _ := p.open(t, port, want)
	defer conn.Close()
	sent := make([]byte, 200_000)
	for i := range sent {
		sent[i] = byte(i * i >> 8)
	}
	go func() {
		_, _ = conn.Write(sent) // what is missing is seen below
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", len(got), err, len(sent))
	}
}

// udp sends datagrams until one is answered, as they may be lost. The kernel path carries them.
func (p player) udp(t *testing.T, port uint16) {
	t.Helper()
	to := netip.AddrPortFrom(netip.MustParseAddr(p.edge), port)
	conn, err := p.dial(t, "udp", p.address, to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const payload = "a payload that is long enough for the answer to be no amplification, whatever is told in front of it"
	buffer := make([]byte, 2048)
	for range 5 {
		if _, err := io.WriteString(conn, payload); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(answerWait / 5))
		n, err := conn.Read(buffer)
		if err != nil {
			continue
		}
		if got, want := string(buffer[:n]), fmt.Sprintf("%s to %s\n%s", conn.LocalAddr(), to, payload); got != want {
			t.Errorf("the origin told %q, want %q", got, want)
		}
		if path, _ := p.pathOf(t, conn); path != plan.PathKernel {
			t.Errorf("the path of %s is %q, want %q", conn.LocalAddr(), path, plan.PathKernel)
		}
		return
	}
	t.Errorf("no answer from %s to five datagrams", to)
}

// rule sends what a packet rule drops: each is counted once, and nothing is answered.
func (p player) rule(t *testing.T, port uint16) {
	t.Helper()
	const count = 10
	hits := func() (n uint64) {
		for _, r := range p.status(t).Edge.Shield.Rules {
			n += r.Packets
		}
		return n
	}
	was := hits()
	conn, err := p.dial(t, "udp", p.address, netip.AddrPortFrom(netip.MustParseAddr(p.edge), port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range count {
		if _, err := io.WriteString(conn, bad); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, p.m, answerWait, func() (string, bool) {
		n := hits() - was
		return fmt.Sprintf("the rule has matched %d packets, want %d", n, count), n >= count
	})
	_ = conn.SetReadDeadline(time.Now().Add(time.Second / 2))
	if n, err := conn.Read(make([]byte, 2048)); err == nil {
		t.Errorf("what the rule drops was answered with %d bytes", n)
	}
	if n := hits() - was; n != count {
		t.Errorf("the rule has matched %d packets, want %d", n, count)
	}
}

// killed ends a session by the API: both ends get a reset.
func (p player) killed(t *testing.T, port uint16, resets <-chan string) {
	t.Helper()
	conn, r, id := p.open(t, port, plan.PathKernel)
	for len(resets) > 0 {
		<-resets
	}
	p.call(t, http.MethodDelete, fmt.Sprintf("/api/v1/sessions/%s", id), nil, nil)
	if _, err := r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the player got %v, want a reset", err)
	}
	select {
	case got := <-resets:
		if got != conn.LocalAddr().String() {
			t.Errorf("the origin got a reset for %s, want one for %s", got, conn.LocalAddr())
		}
	case <-time.After(answerWait):
		t.Error("the origin got no reset")
	}
}
