package flood

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Floor is a program that does the least with a packet: no other that comes to the same end can cost less.
type Floor asm.Instructions

// DropAll looks at no packet.
var DropAll = Floor{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()}

// AnswerAll sends every packet back to its source address, and looks at nothing but that it is long enough.
var AnswerAll = Floor{
	asm.Mov.Imm(asm.R0, xdpDrop),
	asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data and data_end of struct xdp_md
	asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
	asm.Mov.Reg(asm.R4, asm.R2),
	asm.Add.Imm(asm.R4, 14+20),
	asm.JGT.Reg(asm.R4, asm.R3, "end"),
	asm.LoadMem(asm.R4, asm.R2, 26, asm.Word), // both addresses of the IPv4 header, whose sum stays the same
	asm.LoadMem(asm.R5, asm.R2, 30, asm.Word),
	asm.StoreMem(asm.R2, 26, asm.R5, asm.Word),
	asm.StoreMem(asm.R2, 30, asm.R4, asm.Word),
	asm.Mov.Imm(asm.R0, xdpTX),
	asm.Return().WithSymbol("end"),
}

// enum xdp_action of linux/bpf.h
const (
	xdpDrop = 1
	xdpTX   = 3
)

// Run gives an interface in the caller's network namespace the program. What the function that it returns undoes must be undone there
// as well.
func (f Floor) Run(name string) (undo func() error, err error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "floor", Type: ebpf.XDP, Flags: unix.BPF_F_XDP_HAS_FRAGS, License: "Apache-2.0", Instructions: asm.Instructions(f),
	})
	if err != nil {
		return nil, fmt.Errorf("load a program that does the least: %w", err)
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
