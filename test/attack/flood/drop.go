package flood

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DropAll gives an interface in the caller's network namespace a program that drops every packet and looks at none. What the
// function that it returns undoes must be undone there as well.
func DropAll(name string) (undo func() error, err error) {
	const xdpDrop = 1 // linux/bpf.h
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "drop", Type: ebpf.XDP, Flags: unix.BPF_F_XDP_HAS_FRAGS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load a program that drops everything: %w", err)
	}
	defer program.Close() //nolint:errcheck // the interface has it
	set := func(fd int) error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if err := netlink.LinkSetXdpFd(l, fd); err != nil {
			return fmt.Errorf("change the program of %s: %w", name, err)
		}
		return nil
	}
	return func() error { return set(-1) }, set(program.FD())
}
