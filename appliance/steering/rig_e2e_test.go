//go:build e2e

package steering

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/plan"
)

// inside says that this process is in its own network namespace.
const inside = "BREAKWATER_TEST_INSIDE"

// volatile is what changes by itself: counters, times, and the empty tables that the nf_tables backend of iptables
// makes on first use.
var volatile = regexp.MustCompile(`(?m)^(#.*|\*mangle|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ACCEPT.*)\n| \[\d+:\d+\]| \(\d+\)`)

// TestMain runs the whole test binary again in a network namespace of its own, which ends with it. A closure that
// joins a namespace would not do: goroutines and child processes started from other threads stay outside.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var failed *exec.ExitError
	if err := cmd.Run(); errors.As(err, &failed) {
		os.Exit(failed.ExitCode())
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "a network namespace needs root:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func sh(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

func snapshot(t *testing.T) string {
	t.Helper()
	settle(t)
	return volatile.ReplaceAllString(sh(t, `iptables-save; ip6tables-save; ip rule; ip -6 rule
		ip route show table all; ip -6 route show table all; ip addr; ipset save`), "")
}

// settle waits until each IPv6 address has its route in the local table: the kernel makes it in a work queue
// (addrconf_dad_work), a moment after the address on a busy machine.
func settle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		missing := sh(t, `routes=$(ip -6 route show table local)
			ip -6 -o addr show up scope global | while read -r _ dev _ prefix _; do
				echo "$routes" | grep -q "^local ${prefix%/*} dev $dev " || echo "$prefix"
			done`)
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no local route for %s", missing)
		}
	}
}

// box makes the interfaces of a box and returns a Steering. The box has an address of its own on wan0.
func box(t *testing.T) *Steering {
	t.Helper()
	sh(t, `ip link set lo up
		for i in wan0 wan1 lan0; do
			ip link add $i type veth peer name far-$i
			ip link set $i addrgenmode none up; ip link set far-$i addrgenmode none up
		done
		ip addr add 198.18.1.1/24 dev wan0; ip addr add 2001:db8:1::1/64 dev wan0 nodad
		ip route add default via 198.18.1.254; ip route add default via 2001:db8:1::fe`)
	t.Cleanup(func() { sh(t, `for i in wan0 wan1 lan0; do ip link del $i; done`) })
	s, err := New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Clear(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func full() plan.Steering {
	return plan.Steering{
		Interfaces:  []string{"wan0", "wan1"},
		Addresses:   prefixes("198.18.1.10/32", "2001:db8:1::10/128", "198.18.50.0/24", "2001:db8:50::/64", "198.18.1.1/32"),
		Transparent: true,
	}
}

func apply(t *testing.T, s *Steering, c plan.Steering) {
	t.Helper()
	if err := s.Apply(c); err != nil {
		t.Fatal(err)
	}
}

// writes runs f and returns the steps it took.
func writes(s *Steering, f func()) []string {
	var list []string
	old := s.write
	s.write = func(st step) error { list = append(list, st.text); return old(st) }
	f()
	s.write = old
	return list
}

// covers are the prefixes outside of which rules let packets go.
func covers(t *testing.T, rules []string) []netip.Prefix {
	t.Helper()
	var list []netip.Prefix
	for _, r := range rules {
		if text, ok := strings.CutPrefix(r, "! -d "); ok {
			list = append(list, netip.MustParsePrefix(strings.Fields(text)[0]))
		}
	}
	return list
}

// present are the edge addresses that the box has.
func present(o observed, f family) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range o.addresses {
		if a.protocol == Protocol && familyOf(a.addr) == f {
			list = append(list, netip.PrefixFrom(a.addr, a.addr.BitLen()))
		}
	}
	for _, r := range o.ours {
		if r.Table != Table && routeFamily(r) == f {
			list = append(list, destination(r, f))
		}
	}
	return list
}

// sorted takes the order out of what has none (sets, addresses, interfaces) and of chains among each other; rules
// keep their chain's name.
func sorted(snapshot string) []string {
	lines := strings.Split(snapshot, "\n")
	slices.Sort(lines)
	return lines
}
