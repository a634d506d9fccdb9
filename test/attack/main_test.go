//go:build e2e

// Package attack floods a whole box, and asks what its players notice.
//
//	make e2e
//	go test -tags e2e -run 'TestAttack/syn' ./test/attack
//	BREAKWATER_ATTACK_SECONDS=30 go test -tags e2e -timeout 0 ./test/attack
//
// The tests run in bw-client, where both the attacker (package flood) and the players are: they share one wire, as they do
// in front of a real box. Bars are shares and ratios, as machines differ; those that tell only on a quiet machine or over a
// longer time hold for attacks of 30 seconds.
package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/settings"
	"breakwater/test/attack/flood"
	"breakwater/test/lab"
)

// How long and how hard attacks are. What is asked of the box is less in short ones.
const (
	secondsVariable = "BREAKWATER_ATTACK_SECONDS"
	shortest        = 5 * time.Second
	full            = 30 * time.Second
	rateVariable    = "BREAKWATER_ATTACK_RATE" // packets a second; 0 is as many as the machine can
	defaultRate     = 150_000
)

// patience is how long to wait for something that must happen. No case measures with it.
const patience = 30 * time.Second

// TestMain starts the lab.
func TestMain(m *testing.M) {
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	os.Exit(lab.Main(m, lab.Options{Empty: true, NoOrigin: true}))
}

func attackTime(t *testing.T) time.Duration {
	t.Helper()
	return max(time.Duration(number(t, secondsVariable, int(shortest.Seconds())))*time.Second, time.Second)
}

func attackRate(t *testing.T) int {
	t.Helper()
	return number(t, rateVariable, defaultRate)
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is no number", variable, text)
	}
	return n
}

// family is the lab's addresses of one IP version. Players and attackers with real addresses are whole networks that
// bw-client takes for its own; the carpet is an edge prefix of which nobody plays on.
type family struct {
	name, pool           string
	client, edge, origin netip.Addr
	players, crowd       netip.Prefix
	carpet, strangers    netip.Prefix
}

var families = []family{
	{"IPv4", "games", addr("198.18.1.2"), addr("198.18.1.10"), addr("198.18.2.2"),
		prefix("198.18.16.0/20"), prefix("198.18.128.0/18"), prefix("198.18.64.0/24"), flood.Strangers},
	{"IPv6", "games6", addr("2001:db8:1::2"), addr("2001:db8:1::10"), addr("2001:db8:2::2"),
		prefix("2001:db8:1600::/40"), prefix("2001:db8:8000::/36"), prefix("2001:db8:64::/112"), flood.Strangers6},
}

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

// player is one of many addresses, each in a network of its own: others share a /24 or /48 only in IPv4, sixteen by sixteen.
func (f family) player(i int) netip.Addr { return within(f.players, i%256) }

// within is one address of a prefix: of IPv4 the networks are /24, of IPv6 /48.
func within(p netip.Prefix, i int) netip.Addr {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		networks := 1 << (24 - p.Bits())
		a[2] += byte(i % networks)
		a[3] = byte(1 + i/networks%254)
		return netip.AddrFrom4(a)
	}
	a := p.Addr().As16()
	a[5] = byte(i)
	a[15] = 1
	return netip.AddrFrom16(a)
}

// Neighbours on the players' wire, by the last byte of their address. bw-client is the gateway.
const (
	gateway, resolver, operator = 2, 53, 77
)

func (f family) neighbour(last byte) netip.Addr {
	b := f.client.AsSlice()
	b[len(b)-1] = last
	a, _ := netip.AddrFromSlice(b)
	return a
}

// The ports that players use, and that of a game which says more than it is asked.
const (
	tcpPort, udpPort, talkerPort = 25565, 27015, 27016
)

// document is a box with a service for all ports of each family.
func document() settings.Settings {
	s := settings.Settings{Schema: settings.Schema}
	s.Edge.Interfaces = []string{"wan0"}
	s.Management.Networks = []settings.Prefix{{Prefix: prefix("127.0.0.0/8")}}
	for _, f := range families {
		s.Management.Networks = append(s.Management.Networks, one(f.neighbour(operator)))
		s.DNS.Servers = append(s.DNS.Servers, settings.Server(netip.AddrPortFrom(f.neighbour(resolver), 53)))
		s.Edge.Addresses = append(s.Edge.Addresses, one(f.edge), settings.Prefix{Prefix: f.carpet})
		s.Pools = append(s.Pools, settings.Pool{Name: f.pool, Origins: []settings.Origin{{Address: f.origin.String()}}})
		s.Services = append(s.Services, settings.Service{Name: f.pool, Pool: f.pool, Protocols: []string{"tcp", "udp"},
			Addresses: []settings.Prefix{one(f.edge), {Prefix: f.carpet}}, Ports: []settings.Ports{{First: 1, Last: 65535}}})
	}
	lab.OnPath(s.Services)
	return s
}

func one(a netip.Addr) settings.Prefix {
	return settings.Prefix{Prefix: netip.PrefixFrom(a, a.BitLen())}
}

// begin makes the network and the box what the tests need, until the test ends.
func begin(t *testing.T) *flood.Meter {
	t.Helper()
	for _, f := range families {
		for _, p := range []netip.Prefix{f.players, f.crowd} {
			run(t, lab.Client, fmt.Sprintf("ip route replace local %s dev lo", p))
		}
		for _, last := range []byte{resolver, operator} {
			a := f.neighbour(last)
			run(t, lab.Client, fmt.Sprintf("ip addr replace %s/%d dev eth0 nodad", a, a.BitLen()))
		}
	}
	// IPv6 binds to addresses that an interface has, unless it is told that others will do.
	if err := os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	apply(t, document())
	m, err := flood.Attach("eth0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// apply puts a document in force.
func apply(t *testing.T, s settings.Settings) {
	t.Helper()
	cmd := exec.Command("../../build/breakwater", "apply", "-", "--reason", "attack")
	cmd.Stdin = bytes.NewReader(settings.Encode(s))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apply: %v: %s", err, out)
	}
}

// run runs a command in a network namespace of the lab and returns what it printed.
func run(t *testing.T, ns, command string) string {
	t.Helper()
	args := strings.Fields(command)
	var out []byte
	err := lab.Inside(ns, func() (err error) {
		out, err = exec.Command(args[0], args[1:]...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("in %s: %s: %v: %s", ns, command, err, out)
	}
	return string(out)
}

// eventually waits until done reports nothing, and fails with what it reported last.
func eventually(t *testing.T, done func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %v", patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// api asks control over its socket, which needs no network.
var api = http.Client{
	Timeout: patience,
	Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		text, err := os.ReadFile("/run/breakwater/lab.json")
		if err != nil {
			return nil, err
		}
		var access lab.Access
		if err := json.Unmarshal(text, &access); err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, "unix", access.Socket)
	}},
}

// get asks for a JSON document.
func get(path string, into any) error {
	resp, err := api.Get("http://lab" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, text)
	}
	return json.Unmarshal(text, into)
}
