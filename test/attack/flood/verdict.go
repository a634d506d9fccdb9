package flood

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Verdict is what becomes of a packet (enum xdp_action of linux/bpf.h).
type Verdict int32

// The verdicts of Always.
const (
	Drop     Verdict = 1
	SendBack Verdict = 3
)

// Always gives an interface in the caller's network namespace a program that has one verdict for every packet and looks at none. What
// the function that it returns undoes must be undone there as well.
func Always(name string, v Verdict) (undo func() error, err error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "always", Type: ebpf.XDP, Flags: unix.BPF_F_XDP_HAS_FRAGS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, int32(v)), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load a program with one verdict: %w", err)
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
