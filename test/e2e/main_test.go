//go:build e2e

// Package e2e tests the whole product through the lab: every test is a client in bw-client, of the box that runs in
// bw-edge as it does on a real box. One lab serves all tests; a test that needs other settings applies them and
// puts the lab's own back.
package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"breakwater/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, lab.Options{})) }

// wait bounds everything that a test waits for.
const wait = 5 * time.Second

// family is one of the two that every case runs for.
type family struct {
	name                 string
	client, edge, origin netip.Addr
}

// families are the lab's addresses, by family.
func families(t *testing.T) []family {
	t.Helper()
	r, err := lab.Running()
	if err != nil {
		t.Fatal(err)
	}
	list := make([]family, 0, 2)
	for i, name := range []string{"IPv4", "IPv6"} {
		list = append(list, family{name, r.Client.Addresses[i], r.Edge.Addresses[i], r.Origin.Addresses[i]})
	}
	return list
}

// both runs a test once for each family.
func both(t *testing.T, test func(t *testing.T, f family)) {
	t.Helper()
	for _, f := range families(t) {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// apply makes a document the current settings, for this test only. services is the value of its field of that name;
// pool "games" has an origin of each family, "games4" and "games6" one of theirs.
func apply(t *testing.T, services string) {
	t.Helper()
	document := fmt.Sprintf(`{ "schema": 1,
		"edge": { "interfaces": ["wan0"], "addresses": ["198.18.1.10/32", "2001:db8:1::10/128"] },
		"pools": [
			{ "name": "games4", "origins": [ { "name": "games-1", "address": "198.18.2.2" } ] },
			{ "name": "games6", "origins": [ { "name": "games-1", "address": "2001:db8:2::2" } ] } ],
		"services": %s }`, services)
	before := breakwater(t, "", "export")
	breakwater(t, document, "apply", "-")
	t.Cleanup(func() { breakwater(t, before, "apply", "-") })
}

// breakwater runs a command of the product against the lab and returns what it prints.
func breakwater(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	binary, err := lab.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("breakwater %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String()
}

// dial connects to the box and ends with the test.
func dial(t *testing.T, protocol string, addr netip.Addr, port uint16) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(protocol, netip.AddrPortFrom(addr, port).String(), wait)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// readAnswer reads the origin's line from a TCP connection, and leaves what follows in the reader.
func readAnswer(t *testing.T, conn net.Conn) (lab.Answer, *bufio.Reader) {
	t.Helper()
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	if err != nil {
		t.Fatalf("read the origin's answer: %v", err)
	}
	return parseAnswer(t, line), in
}

// exchange sends a datagram and returns the origin's line and the payload that came back.
func exchange(t *testing.T, conn net.Conn, payload []byte) (lab.Answer, []byte) {
	t.Helper()
	if _, err := conn.Write(payload); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("read the origin's reply: %v", err)
	}
	line, rest, _ := bytes.Cut(buf[:n], []byte("\n"))
	return parseAnswer(t, line), rest
}

func parseAnswer(t *testing.T, line []byte) (a lab.Answer) {
	t.Helper()
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("parse the origin's answer %q: %v", line, err)
	}
	return a
}

// local and remote are the addresses of a socket of ours.
func local(t *testing.T, c net.Conn) netip.AddrPort  { return addrPort(t, c.LocalAddr()) }
func remote(t *testing.T, c net.Conn) netip.AddrPort { return addrPort(t, c.RemoteAddr()) }

func addrPort(t *testing.T, a net.Addr) netip.AddrPort {
	t.Helper()
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return ap
}
