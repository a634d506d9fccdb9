package proxy

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
)

// fromSourceAddresses calls dial with one source address of a service's pool after the other, in turn, until one has a port left. The
// zero Addr leaves it to the kernel: it stands for pools without any, and for transparent services, whose packets come from the clients themselves.
func (w *worker) fromSourceAddresses(s *service, to netip.Addr, dial func(source netip.Addr) unix.Errno) (errno unix.Errno) {
	list := s.pool.SourceAddresses(to)
	if s.Transparent || len(list) == 0 {
		return dial(netip.Addr{})
	}
	for range list {
		w.sourceTurn++
		if errno = dial(list[w.sourceTurn%len(list)]); !portless(errno) {
			break
		}
	}
	return errno
}

// portless tells whether a socket found no port, or no address to have one of: it was taken off the box a moment ago.
func portless(errno unix.Errno) bool { return errno == unix.EADDRNOTAVAIL || errno == unix.EADDRINUSE }

// socketPorts are as many ports as sockets may have of one address (ip_local_port_range of ip-sysctl). It is asked when there is none
// left, which has cost much more by then.
func socketPorts() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var first, last int
	if err == nil {
		_, err = fmt.Sscan(string(text), &first, &last)
	}
	if err != nil { // it is always there
		return 0
	}
	return last - first + 1
}

// flowPorts are as many ports as flows of a service may have of one address.
func flowPorts(s *service) int {
	if s.UDPHeader == plan.UDPV2First {
		return lastSourcePort - firstSourcePort + 1
	}
	return socketPorts()
}

// bindSource gives a socket its source address. The port is chosen when it connects, as sockets to different origins may share
// one (ip(7), IP_BIND_ADDRESS_NO_PORT).
func bindSource(fd int, source netip.Addr) unix.Errno {
	if errno := setOption(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); errno != 0 {
		return errno
	}
	return bind(fd, netip.AddrPortFrom(source, 0))
}
