//go:build e2e

package kernel

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (r *rig) makeNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	if r.edge, err = addInterface("edge0", "192.0.2.1/24", "2001:db8:1::1/64"); err != nil {
		return err
	}
	if r.inner, err = addInterface("inner0", "10.1.0.254/16", "2001:db8:2::fe/64"); err != nil {
		return err
	}
	for _, gateway := range []netip.Addr{gateway4, gateway6} {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: r.edge, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("send what is for clients to %s: %w", gateway, err)
		}
	}
	r.sniff, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return err
	}
	return unix.Bind(r.sniff, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: r.inner})
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

func addInterface(name string, addresses ...string) (int, error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MTU = name, interfaceMTU
	link := &netlink.Veth{LinkAttrs: attributes, PeerName: name + "-peer"}
	if err := netlink.LinkAdd(link); err != nil {
		return 0, fmt.Errorf("add %s: %w", name, err)
	}
	peer, err := netlink.LinkByName(link.PeerName)
	if err != nil {
		return 0, err
	}
	// Nothing may come in by itself.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+link.PeerName+"/disable_ipv6", []byte("1"), 0); err != nil {
		return 0, err
	}
	if err := netlink.LinkSetUp(peer); err != nil {
		return 0, err
	}
	for _, text := range addresses {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return 0, err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return 0, fmt.Errorf("add %s to %s: %w", text, name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("set %s up: %w", name, err)
	}
	for _, neighbour := range []netip.Addr{origin4, origin6, gateway4, gateway6} { // so that nobody is asked
		n := &netlink.Neigh{LinkIndex: link.Index, State: netlink.NUD_PERMANENT, IP: neighbour.AsSlice(), HardwareAddr: peer.Attrs().HardwareAddr}
		if err := netlink.NeighSet(n); err != nil {
			return 0, fmt.Errorf("tell where %s is: %w", neighbour, err)
		}
	}
	return link.Index, nil
}

func setLink(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}
