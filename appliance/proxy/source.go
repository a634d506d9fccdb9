package proxy

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// fromSources calls dial with one source address of a service's pool after the other, in turn, until one has a port left. The
// zero Addr leaves it to the kernel: it stands for pools without sources, and for services whose clients are the source themselves.
func (w *worker) fromSources(s *service, to netip.Addr, dial func(source netip.Addr) unix.Errno) (errno unix.Errno) {
	list := s.pool.Sources(to)
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

// bindSource gives a socket its source address. The port is chosen when it connects, as sockets to different origins may share
// one (ip(7), IP_BIND_ADDRESS_NO_PORT).
func bindSource(fd int, source netip.Addr) unix.Errno {
	if errno := setOption(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); errno != 0 {
		return errno
	}
	return bind(fd, netip.AddrPortFrom(source, 0))
}
