//go:build e2e

// Package e2e drives a whole box from outside: players in bw-client, the two processes of the box as they are
// installed, origins in bw-origin.
//
//	make e2e
//	go test -tags e2e -run 'TestEveryTCPPort/IPv6' ./test/e2e
//	BREAKWATER_PATH=kernel go test -tags e2e ./test/e2e
//
// One lab serves all cases. TestMain starts it and runs the test binary again inside bw-client, so every goroutine of
// every test is a player. What a case needs elsewhere it opens with lab.Inside: a socket stays in the network
// namespace it was made in, whichever goroutine uses it. Settings are changed as an operator does, with `breakwater
// apply`; a case begins by applying its own document and owes nothing to the next. The lab starts a killed edge or
// control again, as systemd does on a real box.
package e2e

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"breakwater/test/lab"
)

// patience is how long to wait for something that must happen. No case measures with it.
const patience = 30 * time.Second

// TestMain starts the lab.
func TestMain(m *testing.M) {
	os.Exit(lab.Main(m, lab.Options{Settings: "testdata/lab.json"}))
}

// family is the lab's addresses of one IP version.
type family struct {
	name                 string
	client, edge, origin netip.Addr
}

var families = []family{
	{"IPv4", netip.MustParseAddr("198.18.1.2"), netip.MustParseAddr("198.18.1.10"), netip.MustParseAddr("198.18.2.2")},
	{"IPv6", netip.MustParseAddr("2001:db8:1::2"), netip.MustParseAddr("2001:db8:1::10"), netip.MustParseAddr("2001:db8:2::2")},
}

// eachFamily runs f once for IPv4 and once for IPv6.
func eachFamily(t *testing.T, f func(t *testing.T, f family)) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) { f(t, family) })
	}
}

// host is another address in the network of a. The lab's origin answers on 2, 12 and 13 (testdata/lab.json).
func host(a netip.Addr, n byte) netip.Addr {
	if a.Is4() {
		b := a.As4()
		b[3] = n
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	b[15] = n
	return netip.AddrFrom16(b)
}

func (f family) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(f.edge, port) }

// eventually waits until done reports nothing, and fails with what it reported last.
func eventually(t *testing.T, done func() error) {
	t.Helper()
	within(t, patience, done)
}

func within(t *testing.T, limit time.Duration, done func() error) {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
