package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"breakwater/appliance/plan"
)

// attach brings the program to the edge interfaces and to those that lead to origins. It stays at others, where sessions may
// be under way still; new clients do not come in there any more.
func (k *Path) attach(p *plan.Plan, t tables) error {
	first, last, err := sourcePorts()
	if err != nil {
		return err
	}
	if err := k.configure(func(c *bpfConfiguration) {
		c.FirstPort, c.LastPort, c.HalfOpen = uint32(first), uint32(last), maxHalfOpen
		c.MaxSessions, c.MaxFlows = most(p.Limits.MaxSessions), most(p.Limits.MaxFlows)
		c.MaxFlowsPerSource, c.NewFlows = limit(p.Limits.MaxFlowsPerSource), limit(p.Limits.NewFlowsPerSec)
	}); err != nil {
		return err
	}
	entries := interfaceEntries(p, t)
	failed := []error{k.closeOthers(entries), k.tellHops(entries)} // before there are more
	for index, entry := range entries {
		if err := k.objects.Interfaces.Put(index, entry); err != nil {
			failed = append(failed, fmt.Errorf("enter interface %d: %w", index, err))
		}
		old := k.links[int(index)]
		if old != nil && attached(old.link, int(index)) {
			continue
		}
		if old != nil {
			failed = append(failed, old.detach())
		}
		failed = append(failed, k.attachTo(int(index)))
	}
	k.tellTunnels(p, &t)
	return errors.Join(failed...)
}

// interfaceEntries are those that the program is at, by index: of the edge, and of those that lead to origins.
func interfaceEntries(p *plan.Plan, t tables) map[uint32]bpfInterface {
	entries := make(map[uint32]bpfInterface)
	for _, name := range p.Steering.Interfaces {
		i, err := net.InterfaceByName(name)
		if err != nil {
			continue // steering says so
		}
		if !ethernet(i) {
			continue // its clients are the user path's
		}
		entries[uint32(i.Index)] = bpfInterface{Edge: 1, Reply: uint32(i.Index), Mtu: uint32(i.MTU)} //nolint:gosec // an index, a size
	}
	for _, index := range t.interfaces {
		i, err := net.InterfaceByIndex(index)
		if err != nil || !ethernet(i) {
			continue
		}
		if _, known := entries[uint32(index)]; !known { //nolint:gosec // an index
			entries[uint32(index)] = bpfInterface{Mtu: uint32(i.MTU)} //nolint:gosec // an index, a size
		}
	}
	return entries
}

// closeOthers lets no new clients in by interfaces that are not the edge's any more, and forgets those that the machine does not have
// any more: VLANs and bonds are made anew with another index, and there is room for a few hundred.
func (k *Path) closeOthers(wanted map[uint32]bpfInterface) error {
	others := make(map[uint32]bpfInterface)
	var index uint32
	var entry bpfInterface
	all := k.objects.Interfaces.Iterate()
	for all.Next(&index, &entry) {
		if _, known := wanted[index]; !known {
			others[index] = entry
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("list the interfaces of the kernel path: %w", err)
	}
	if len(others) == 0 {
		return nil
	}
	here, failed := net.Interfaces()
	if failed != nil {
		return fmt.Errorf("list the interfaces of the machine: %w", failed)
	}
	for index, entry := range others {
		if !slices.ContainsFunc(here, func(i net.Interface) bool { return i.Index == int(index) }) {
			failed = errors.Join(failed, k.forgetInterface(index))
		} else if entry.Edge != 0 {
			failed = errors.Join(failed, k.objects.Interfaces.Put(index, bpfInterface{}))
		}
	}
	if failed != nil {
		return fmt.Errorf("close interfaces that are not the edge's: %w", failed)
	}
	return nil
}

func (k *Path) forgetInterface(index uint32) error {
	err := k.objects.Interfaces.Delete(index)
	if a := k.links[int(index)]; a != nil {
		delete(k.links, int(index))
		err = errors.Join(err, a.detach())
	}
	return err
}

// most writes the limit of the box: none is as many as there are slots.
func most(n int) uint32 {
	if n <= 0 {
		return 1 << 31
	}
	return limit(n)
}

// maxHalfOpen is how many sessions there may be whose clients have not proven their addresses. A flood is then the kernel's, which answers with cookies
// for the listeners of the user path; sessions that are open are not touched by it.
const maxHalfOpen = 1024

// minSourcePorts are as many as are worth the while.
const minSourcePorts = 1024

// sourcePorts are the ports below those that sockets of this box take by themselves (ip_local_port_range): so a packet of an
// origin can only ever be for one of both.
func sourcePorts() (first, last uint16, err error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, fmt.Errorf("read which ports sockets take: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return 0, 0, fmt.Errorf("read which ports sockets take: %q is no range", text)
	}
	low, err := strconv.ParseUint(fields[0], 10, 16)
	if err != nil {
		return 0, 0, fmt.Errorf("read which ports sockets take: %w", err)
	}
	const lowest = 1024
	if low < lowest+minSourcePorts {
		return 0, 0, fmt.Errorf("sockets take ports from %d on (net.ipv4.ip_local_port_range), so too few are left for the kernel path", low)
	}
	return lowest, uint16(low - 1), nil
}
