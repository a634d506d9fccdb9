package steering

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"breakwater/appliance/status"
)

// Interfaces lists the interfaces of the box, without lo.
func Interfaces() ([]status.Interface, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	found, err := dump(listAddresses)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	list := []status.Interface{}
	for _, l := range links {
		if l.Attrs().Flags&net.FlagLoopback == 0 {
			list = append(list, interfaceOf(l.Attrs(), found))
		}
	}
	describe(list)
	return list, nil
}

// Gateways are the routers that the routes of the box lead to. It reads all of them, which may be many.
func Gateways() ([]netip.Addr, error) {
	var o observed
	for f := range families {
		if err := o.observeRoutes(f); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(o.gateways, netip.Addr.Compare)
	return slices.Compact(o.gateways), nil
}

func interfaceOf(l *netlink.LinkAttrs, found []address) status.Interface {
	i := status.Interface{
		Name: l.Name, MAC: madeWith(l).String(), Addresses: []netip.Prefix{},
		Up: l.Flags&net.FlagUp != 0, Running: l.RawFlags&unix.IFF_RUNNING != 0,
	}
	for _, a := range found {
		if a.index == l.Index {
			i.Addresses = append(i.Addresses, netip.PrefixFrom(a.addr, a.bits))
		}
	}
	if s := l.Statistics; s != nil {
		i.Rx = status.Counters{Bytes: s.RxBytes, Packets: s.RxPackets, Drops: s.RxDropped}
		i.Tx = status.Counters{Bytes: s.TxBytes, Packets: s.TxPackets, Drops: s.TxDropped}
	}
	return i
}

// madeWith is the address of the port itself: a member of a bond bears the bond's.
func madeWith(l *netlink.LinkAttrs) net.HardwareAddr {
	if len(l.PermHWAddr) > 0 {
		return l.PermHWAddr
	}
	return l.HardwareAddr
}

// describe adds drivers and speeds, as far as they are known: the tunnels and bridges among the interfaces have none.
// /sys is not asked: it may be that of another network namespace.
func describe(list []status.Interface) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	for i := range list {
		if info, err := unix.IoctlGetEthtoolDrvinfo(fd, list[i].Name); err == nil {
			list[i].Driver = unix.ByteSliceToString(info.Driver[:])
		}
		list[i].Speed = speedOf(fd, list[i].Name)
	}
}

// ethtoolSettings is struct ethtool_cmd of linux/ethtool.h.
type ethtoolSettings struct {
	command, _, _ uint32
	speed         uint16
	_             [14]byte
	speedHigh     uint16
	_             [14]byte
}

// speedOf is the speed of a link in Mbit/s, 0 when it is unknown. ETHTOOL_GSET is old and works with every driver: the
// kernel translates it.
func speedOf(fd int, name string) int {
	settings := ethtoolSettings{command: unix.ETHTOOL_GSET}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // struct ifreq is larger than this member of its union
	}{data: unsafe.Pointer(&settings)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	speed := uint32(settings.speedHigh)<<16 | uint32(settings.speed)
	if errno != 0 || speed == 0xffffffff || speed == 0xffff { // SPEED_UNKNOWN, in both its widths
		return 0
	}
	return int(speed)
}
