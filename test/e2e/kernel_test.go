//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// TestEdgeRestart: the successor puts the plan in force that is on disk, while control cannot help. Sessions of the kernel path go
// on meanwhile, and those of the user path end.
func TestEdgeRestart(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		kernel, user := onKernelPath(service("kernel", "1700")), service("user", "1703")
		user.Path = "user"
		user.Limits.MaxSessions = 1000 + rand.IntN(100_000) // another plan each time the test runs: three kills within a minute condemn one
		apply(t, document([]settings.Pool{pool("games", f.origin)}, kernel, user))
		for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(how.String(), func(t *testing.T) {
				control, err := lab.Child("control")
				if err != nil {
					t.Fatal(err)
				}
				thaw := freeze(t, control)
				goesOn, ends := served(t, f, 1700), served(t, f, 1703)
				end(t, "edge", how)
				if n, err := ends.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %d bytes and %v of a session whose edge is gone, want its end", n, err)
				}
				for _, port := range []uint16{1700, 1703} {
					eventually(t, func() error { return servedBy(f.at(port), "games-1") })
				}
				echoes(t, goesOn, "still")
				thaw()
				inForce(t)
				echoes(t, goesOn, "again")
			})
		}
	})
}

// kernelState is everything of ours in the kernel of the box, without what changes by itself.
func kernelState(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"iptables -t mangle -S", "ip6tables -t mangle -S", "ipset save -sorted",
		"ip -4 rule show", "ip -6 rule show", "ip -4 route show table 183", "ip -6 route show table 183",
		"ip route show table local proto 183", "ip -6 route show table local proto 183",
		"ip -o addr show",
	} {
		out, err := tryInside(lab.Edge, strings.Fields(command)...)
		if err != nil && !strings.Contains(out, "does not exist") { // a table without routes
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		for line := range strings.Lines(out) {
			if ours.MatchString(line) {
				b.WriteString(passing.ReplaceAllString(line, "") + "\n")
			}
		}
	}
	return b.String()
}

var (
	ours    = regexp.MustCompile(`BREAKWATER|183|0xb7|198\.18\.1\.10|2001:db8:1::10`)
	passing = regexp.MustCompile(`initval \S+|\s+$`)
)

// TestDriftIsRepaired: what somebody removes is back within 10 s.
func TestDriftIsRepaired(t *testing.T) {
	var services []settings.Service
	var pools []settings.Pool
	for _, f := range families {
		p, s := pool(f.pool(), f.origin), service(f.pool(), "1701")
		s.Pool, s.Transparent, s.Addresses = f.pool(), true, networks(f.edge.String())
		pools, services = append(pools, p), append(services, s)
	}
	apply(t, document(pools, services...))
	whole := kernelState(t)
	for _, tt := range []struct {
		name    string
		command string // %s is the one or the other
		either  [2]string
	}{
		{"rules of a chain", "%s -t mangle -F BREAKWATER-TPROXY", [2]string{"iptables", "ip6tables"}},
		{"the way into the chains", "%s -t mangle -D PREROUTING -j BREAKWATER-STEER", [2]string{"iptables", "ip6tables"}},
		{"all chains", "%s -t mangle -F", [2]string{"iptables", "ip6tables"}},
		{"the rule", "ip %s rule del pref 183", [2]string{"-4", "-6"}},
		{"the table", "ip %s route flush table 183", [2]string{"-4", "-6"}},
		{"the addresses", "ip addr del %s dev wan0", [2]string{"198.18.1.10/32", "2001:db8:1::10/128"}},
		{"the sets", "ipset flush BREAKWATER-EDGE%s", [2]string{"4", "6"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, one := range tt.either {
				inside(t, lab.Edge, strings.Fields(fmt.Sprintf(tt.command, one))...)
			}
			if kernelState(t) == whole {
				t.Fatal("nothing was removed, so the case proves nothing")
			}
			within(t, 10*time.Second, func() error {
				if now := kernelState(t); now != whole {
					return fmt.Errorf("got\n%s\nwant\n%s", now, whole)
				}
				return nil
			})
			eachFamily(t, func(t *testing.T, f family) {
				if err := servedBy(f.at(1701), "games-1"); err != nil {
					t.Error(err)
				}
			})
		})
	}
	if s := boxStatus(t); s.Edge.Steering.Repairs < 14 {
		t.Errorf("got %d repairs told, want all 14 or more", s.Edge.Steering.Repairs)
	}
}

// TestClearLeavesNothing: whatever the last edge left, also from the middle of its work.
func TestClearLeavesNothing(t *testing.T) {
	s := service("games", "1702")
	apply(t, document([]settings.Pool{pool("games", families[0].origin)}, s))
	clear := []string{binary, "edge", "--clear", "--socket", edgeSocket, "--state", edgeState}
	if out, err := tryInside(lab.Edge, clear...); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("got %q (%v), want it refused while edge runs", out, err)
	}
	back := withoutEdge(t)
	for _, state := range []string{"whole", "half", "nothing"} {
		if state == "half" {
			inside(t, lab.Edge, "ip", "rule", "add", "pref", "183", "fwmark", "0xb7000000/0xff000000", "lookup", "183", "proto", "183")
			inside(t, lab.Edge, "iptables", "-t", "mangle", "-N", "BREAKWATER-OWN")
		}
		inside(t, lab.Edge, clear...)
		if left := kernelState(t); left != "" {
			t.Errorf("%s: got this left:\n%s", state, left)
		}
	}
	back()
	eachFamily(t, func(t *testing.T, f family) {
		eventually(t, func() error { return servedBy(f.at(1702), "games-1") })
	})
}
