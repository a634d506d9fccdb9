package kernel

import (
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

const noEthernet = "no-ethernet" // the code of a condition

// whyTunnel is why neither program can be at an interface.
const whyTunnel = "Its packets come without an Ethernet header, as those of tunnels do (tun, WireGuard, PPP)"

// ethernet tells whether frames have the headers that the programs read: ARPHRD_ETHER of linux/if_arp.h, which ports, VLANs, bonds and
// bridges have. The length of the address does not tell: interfaces of IPsec (xfrm) have one of six bytes, too.
func ethernet(i *net.Interface) bool {
	request, err := unix.NewIfreq(i.Name)
	if err != nil {
		return false
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	return unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, request) == nil && request.Uint16() == unix.ARPHRD_ETHER
}

// tunnel tells whether packets come in there without such headers.
func tunnel(i *net.Interface) bool { return i.Flags&net.FlagLoopback == 0 && !ethernet(i) }

// tellTunnels raises a condition for each tunnel that clients come in by or that origins are behind. k.mu is held.
func (k *Path) tellTunnels(p *plan.Plan, t *tables) {
	here := make(map[string]bool)
	for _, name := range slices.Concat(p.Steering.Interfaces, t.tunnels) {
		i, err := net.InterfaceByName(name)
		if err != nil || !tunnel(i) {
			continue
		}
		here[name] = true
		k.options.Conditions.Raise(tunnelCondition(name, slices.Contains(p.Steering.Interfaces, name)))
	}
	for name := range k.tunnels {
		if !here[name] {
			k.options.Conditions.Clear(noEthernet, name)
		}
	}
	k.tunnels = here
}

func tunnelCondition(name string, edge bool) health.Condition {
	if edge {
		return health.Condition{
			Code: noEthernet, Subject: name, Severity: health.Warning,
			Title: "Clients who come in by " + name + " have neither the shield nor the kernel path",
			Detail: whyTunnel + ". The user path serves them, with more load on the processor, and in a flood there are only its limits and the SYN " +
				"cookies of the kernel. Let clients come in by a port, a VLAN or a bond, or end the tunnel in front of this box.",
		}
	}
	return health.Condition{
		Code: noEthernet, Subject: name, Severity: health.Info,
		Title:  "Origins behind " + name + " are not on the kernel path",
		Detail: whyTunnel + ". The user path serves them: everything works, with more load on the processor. Nothing needs to be done.",
	}
}
