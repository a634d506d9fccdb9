package lab

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// takeFrames gives the clients' end of the cable a program that lets everything pass. A veth takes frames that a program at its
// other end sends back only if it has a program too (drivers/net/veth.c, veth_xdp_xmit); a network card needs nothing.
func (n *network) takeFrames() error {
	const xdpPass = 2 // linux/bpf.h
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pass", Type: ebpf.XDP, Flags: unix.BPF_F_XDP_HAS_FRAGS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	if err != nil {
		return fmt.Errorf("load a program that lets everything pass: %w", err)
	}
	defer program.Close() //nolint:errcheck // the interface has it
	return within(n.client, func() error {
		link, err := netlink.LinkByName(outside)
		if err != nil {
			return fmt.Errorf("find %s: %w", outside, err)
		}
		if err := netlink.LinkSetXdpFd(link, program.FD()); err != nil {
			return fmt.Errorf("let %s take frames of programs: %w", outside, err)
		}
		return nil
	})
}
