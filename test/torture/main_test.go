//go:build e2e

// Package torture carries streams through a whole box on a bad network, and checks every byte of them with its place.
//
//	make e2e
//	go test -tags e2e -run 'TestStreams/user/5%_lost' ./test/torture
//	BREAKWATER_TORTURE_MIB=1024 go test -tags e2e -timeout 0 -run TestStreams ./test/torture
//
// The tests run in bw-client, as those of test/e2e do. Both ends of each session are theirs: the lab has no origin. What
// they want of a session is that no byte is wrong and none is stuck, whatever becomes of packets (package loss).
package torture

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// engines are what carries the sessions: every test runs with each. BREAKWATER_PATH names another than the kernel path.
var engines = []string{cmp.Or(os.Getenv("BREAKWATER_PATH"), "kernel")}

// TestMain starts the lab.
func TestMain(m *testing.M) {
	// Both ends of thousands of sessions; where root may not raise the limit, the tests say what they lack.
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	os.Exit(lab.Main(m, lab.Options{Empty: true, NoOrigin: true}))
}

// family is the lab's addresses of one IP version. every is one of bw-origin that TestEveryPort gives it.
type family struct {
	name, pool                  string
	client, edge, origin, every netip.Addr
}

var families = []family{
	{"IPv4", "games", addr("198.18.1.2"), addr("198.18.1.10"), addr("198.18.2.2"), addr("198.18.2.3")},
	{"IPv6", "games6", addr("2001:db8:1::2"), addr("2001:db8:1::10"), addr("2001:db8:2::2"), addr("2001:db8:2::3")},
}

var addr = netip.MustParseAddr

// headers are the kinds of PROXY header. Each has a thousand ports of its own.
var headers = []struct {
	name string
	from uint16
}{{"none", 10000}, {"v1", 11000}, {"v2", 12000}}

// datagramHeaders are those of UDP, with their ports.
var datagramHeaders = []struct {
	name string
	from uint16
}{{"none", 20000}, {"v2-each", 21000}, {"v2-first", 22000}, {"spp", 23000}}

// streamsDocument has a service for each kind of header and family.
func streamsDocument(engine string) settings.Settings {
	var services []settings.Service
	for _, f := range families {
		for _, h := range datagramHeaders {
			s := service(f, "none", engine, fmt.Sprintf("%d-%d", h.from, h.from+999))
			s.Name, s.UDPHeader = f.pool+"-udp-"+h.name, h.name
			services = append(services, s)
		}
		for _, h := range headers {
			s := service(f, h.name, engine, fmt.Sprintf("%d-%d", h.from, h.from+999))
			s.Name = f.pool + "-" + h.name
			services = append(services, s)
		}
	}
	return document(services...)
}

// service takes TCP and UDP on ports of a family's edge address. It is as patient as the tests.
func service(f family, header, engine, ports string) settings.Service {
	s := settings.Service{Name: f.pool, Protocols: []string{"tcp", "udp"}, Pool: f.pool, TCPHeader: header, Path: engine}
	s.Addresses, s.Ports = prefixes(f.edge), make([]settings.Ports, 1)
	if err := s.Ports[0].UnmarshalText([]byte(ports)); err != nil {
		panic(err)
	}
	s.Shield.SYNRate = 1_000_000 // thousands of clients at once are no attack here
	s.Timeouts.Connect, s.Timeouts.WriteStall = settings.Duration(patience), settings.Duration(patience)
	return s
}

// document is a box with both edge addresses and a pool for each family.
func document(services ...settings.Service) settings.Settings {
	s := settings.Settings{Schema: settings.Schema, Services: services}
	s.Edge.Interfaces = []string{"wan0"}
	s.Limits.MaxFlowsPerSource = 1 << 16 // all players are one source
	for _, f := range families {
		s.Edge.Addresses = append(s.Edge.Addresses, prefixes(f.edge)...)
		s.Pools = append(s.Pools, settings.Pool{Name: f.pool, Origins: []settings.Origin{{Address: f.origin.String()}}})
	}
	return s
}

func prefixes(a netip.Addr) []settings.Prefix {
	list := make([]settings.Prefix, 1)
	if err := list[0].UnmarshalText([]byte(a.String())); err != nil {
		panic(err)
	}
	return list
}

// apply puts a document in force.
func apply(t *testing.T, s settings.Settings) {
	t.Helper()
	cmd := exec.Command("../../build/breakwater", "apply", "-", "--reason", "torture")
	cmd.Stdin = bytes.NewReader(settings.Encode(s))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apply: %v: %s", err, out)
	}
}

// inside runs a command in a network namespace of the lab.
func inside(t *testing.T, ns, command string) {
	t.Helper()
	args := strings.Fields(command)
	err := lab.Inside(ns, func() error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	if err != nil {
		t.Fatalf("in %s: %s: %v", ns, command, err)
	}
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
		time.Sleep(20 * time.Millisecond)
	}
}
