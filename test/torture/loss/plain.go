package loss

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"breakwater/test/lab"
)

// switches are what Plain turns off (linux/ethtool.h): checksums are completed before a packet leaves and checked when
// it arrives, and nothing is larger than the MTU. What needs others comes before them.
var switches = []struct {
	name     string
	get, set uint32
}{
	{"generic-receive-offload", unix.ETHTOOL_GGRO, unix.ETHTOOL_SGRO},
	{"generic-segmentation-offload", unix.ETHTOOL_GGSO, unix.ETHTOOL_SGSO},
	{"tcp-segmentation-offload", unix.ETHTOOL_GTSO, unix.ETHTOOL_STSO},
	{"tx-checksumming", unix.ETHTOOL_GTXCSUM, unix.ETHTOOL_STXCSUM},
	{"rx-checksumming", unix.ETHTOOL_GRXCSUM, unix.ETHTOOL_SRXCSUM},
}

// Plain makes the packets of an interface what they are on a wire. The function that it returns undoes that.
// Sockets that are connected already go on with larger ones, which are cut when they leave.
func Plain(netns, interfaceName string) (undo func() error, err error) {
	var before []uint32
	var segments uint32
	err = lab.Inside(netns, func() error {
		l, err := netlink.LinkByName(interfaceName)
		if err != nil {
			return err
		}
		segments = l.Attrs().GSOMaxSegs
		for _, s := range switches {
			value, err := lab.Ethtool(interfaceName, s.get, 0)
			if err != nil {
				return fmt.Errorf("read %s: %w", s.name, err)
			}
			before = append(before, value)
		}
		// TCP makes large packets for any interface, and each would be lost as one: egress is before they are cut.
		return change(interfaceName, 1, make([]uint32, len(switches)))
	})
	if err != nil {
		return nil, fmt.Errorf("make the packets of %s in %s plain: %w", interfaceName, netns, err)
	}
	return func() error {
		return lab.Inside(netns, func() error { return change(interfaceName, int(segments), before) })
	}, nil
}

// change sets the switches, those that others need first when they are turned on.
func change(interfaceName string, segments int, values []uint32) error {
	l, err := netlink.LinkByName(interfaceName)
	if err != nil {
		return err
	}
	errs := []error{netlink.LinkSetGSOMaxSegs(l, segments)}
	order := make([]int, len(switches))
	for i := range order {
		order[i] = i
	}
	if slices.Max(values) > 0 {
		slices.Reverse(order)
	}
	for _, i := range order {
		// What is off because of a program at the other end cannot be set, not even to off.
		if value, err := lab.Ethtool(interfaceName, switches[i].get, 0); err == nil && value == values[i] {
			continue
		}
		if _, err := lab.Ethtool(interfaceName, switches[i].set, values[i]); err != nil {
			errs = append(errs, fmt.Errorf("set %s to %d: %w", switches[i].name, values[i], err))
		}
	}
	return errors.Join(errs...)
}
