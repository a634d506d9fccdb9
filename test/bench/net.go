package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The namespaces. Each box has one veth to the client and one to the origin; breakwater has a box of its own,
// and one for each engine, so that steering costs the others nothing. The direct link joins client and origin without a box.
//
//	bwb-client --- bwb-box  --- bwb-origin
//	bwb-client --- bwb-edge --- bwb-origin
//	bwb-client -- bwb-kernel -- bwb-origin
//	bwb-client -- bwb-shield -- bwb-origin
//	bwb-client ---------------- bwb-origin
//
// Floods have two boxes of their own: bwb-attacker --- bwb-plain, and bwb-attacker --- bwb-guarded.
const (
	clientNS = "bwb-client"
	originNS = "bwb-origin"
	boxNS    = "bwb-box"    // haproxy, nginx and plain routing
	edgeNS   = "bwb-edge"   // breakwater, user path
	kernelNS = "bwb-kernel" // breakwater, kernel path
	shieldNS = "bwb-shield" // breakwater, kernel path behind the shield

	attackerNS = "bwb-attacker"
	plainNS    = "bwb-plain"
	guardedNS  = "bwb-guarded" // breakwater

	// Interface names inside a box.
	wanName = "wan"
	lanName = "lan"

	plainName = "bare" // in the box without anything, so that its thread has a name of its own
)

var namespaces = []string{clientNS, boxNS, edgeNS, kernelNS, shieldNS, originNS, attackerNS, plainNS, guardedNS}

// link is one veth pair: a /24 of 198.18.0.0/15 with .1 on the left end and .2 on the right one.
type link struct {
	subnet              byte // third byte
	left, right         string
	leftName, rightName string
}

var links = []link{
	{1, clientNS, boxNS, "box", wanName},
	{2, boxNS, originNS, lanName, "box"},
	{3, clientNS, edgeNS, "edge", wanName},
	{4, edgeNS, originNS, lanName, "edge"},
	{5, clientNS, originNS, "direct", "direct"},
	{6, clientNS, kernelNS, "kernel", wanName},
	{7, kernelNS, originNS, lanName, "kernel"},
	{8, clientNS, shieldNS, "shield", wanName},
	{9, shieldNS, originNS, lanName, "shield"},
	{10, attackerNS, plainNS, "plain", plainName},
	{11, attackerNS, guardedNS, "guarded", wanName},
}

func addressIn(subnet, host byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, subnet, host}) }

var (
	boxAddress    = addressIn(1, 2)
	boxOrigin     = addressIn(2, 2)
	edgeAddress   = addressIn(3, 10) // what clients of breakwater dial; the box does not own it
	edgeOrigin    = addressIn(4, 2)
	directAddress = addressIn(5, 2)
	kernelAddress = addressIn(6, 10)
	kernelOrigin  = addressIn(7, 2)
	shieldAddress = addressIn(8, 10)
	shieldOrigin  = addressIn(9, 2)

	plainAddress   = addressIn(10, 2)
	guardedAddress = addressIn(11, 10)
	attackerOfIt   = addressIn(11, 1)
)

// routes are those between subnets that are not on one link.
var routes = []struct {
	ns, via string
	to      byte
}{
	{clientNS, addressIn(1, 2).String(), 2},
	{originNS, addressIn(2, 1).String(), 1},
	{clientNS, addressIn(3, 2).String(), 4},
	{originNS, addressIn(4, 1).String(), 3},
	{clientNS, addressIn(6, 2).String(), 7},
	{originNS, addressIn(7, 1).String(), 6},
	{clientNS, addressIn(8, 2).String(), 9},
	{originNS, addressIn(9, 1).String(), 8},
}

// networkSettings hold in every namespace. Each connection test leaves thousands of sockets in TIME_WAIT: with
// a wide port range and reuse none of them runs out of ports.
var networkSettings = map[string]string{
	"ipv4/ip_forward":              "1",
	"ipv4/conf/all/rp_filter":      "0",
	"ipv4/conf/default/rp_filter":  "0",
	"ipv4/ip_local_port_range":     "16384 65535",
	"ipv4/tcp_tw_reuse":            "1",
	"ipv4/tcp_max_syn_backlog":     "8192",
	"ipv6/conf/all/disable_ipv6":   "1", // no router solicitations while something is measured
	"ipv4/tcp_no_metrics_save":     "1", // no cell inherits what another learnt
	"ipv4/conf/all/send_redirects": "0",
}

// buildNetwork makes the namespaces, links and routes.
func buildNetwork(ctx context.Context) error {
	for _, ns := range namespaces {
		if err := ip(ctx, "netns", "add", ns); err != nil {
			return err
		}
		if err := inNamespace(ns, writeNetworkSettings); err != nil {
			return err
		}
		if err := ip(ctx, "-n", ns, "link", "set", "lo", "up"); err != nil {
			return err
		}
	}
	for _, l := range links {
		if err := l.build(ctx); err != nil {
			return err
		}
	}
	for _, r := range routes {
		if err := ip(ctx, "-n", r.ns, "route", "add", fmt.Sprintf("198.18.%d.0/24", r.to), "via", r.via); err != nil {
			return err
		}
	}
	return nil
}

func (l link) build(ctx context.Context) error {
	err := ip(ctx, "link", "add", l.leftName, "netns", l.left, "type", "veth", "peer", "name", l.rightName, "netns", l.right)
	if err != nil {
		return err
	}
	return errors.Join(
		linkUp(ctx, l.left, l.leftName, addressIn(l.subnet, 1)),
		linkUp(ctx, l.right, l.rightName, addressIn(l.subnet, 2)))
}

func linkUp(ctx context.Context, ns, name string, addr netip.Addr) error {
	return errors.Join(
		ip(ctx, "-n", ns, "addr", "add", addr.String()+"/24", "dev", name),
		ip(ctx, "-n", ns, "link", "set", name, "up"))
}

func writeNetworkSettings() error {
	for name, value := range networkSettings {
		path := filepath.Join("/proc/sys/net", name)
		if err := os.WriteFile(path, []byte(value), 0); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// removeNetwork ends what still runs in our namespaces, by process id, and deletes them. It is also how the
// leavings of a killed run are removed, so nothing has to be there.
func removeNetwork(ctx context.Context) error {
	var errs []error
	for _, ns := range namespaces {
		if _, err := os.Stat(filepath.Join("/run/netns", ns)); err != nil {
			continue
		}
		for _, pid := range namespacePIDs(ctx, ns) {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended by itself
		}
		errs = append(errs, ip(ctx, "netns", "delete", ns))
	}
	return errors.Join(errs...)
}

func namespacePIDs(ctx context.Context, ns string) []int {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", ns).Output()
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// inNamespace calls f on a thread of its own that is in the network namespace ns; empty: in that of this process.
// The thread ends with it, because a thread that was moved must not serve other goroutines.
func inNamespace(ns string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- func() error {
			if ns == "" {
				return f()
			}
			fd, err := unix.Open(filepath.Join("/run/netns", ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open namespace %s: %w", ns, err)
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter namespace %s: %w", ns, err)
			}
			return f()
		}()
	}()
	return <-done
}
