package proxy

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of the reactor. All sockets are non-blocking, so none of these sleeps; they go through RawSyscall, which
// does not tell the scheduler, because a worker owns its thread and telling costs more than most of these calls
// (measured: five times the CPU of a 64-byte message). Only epollWait may sleep; see there.

// sockaddr is a struct sockaddr_in or sockaddr_in6 as the kernel writes it.
type sockaddr struct {
	data [unix.SizeofSockaddrInet6]byte
	size uint32
}

// set makes a the sockaddr of ap.
func (a *sockaddr) set(ap netip.AddrPort) {
	addr := ap.Addr().Unmap()
	binary.BigEndian.PutUint16(a.data[2:], ap.Port())
	if addr.Is4() {
		binary.NativeEndian.PutUint16(a.data[0:], unix.AF_INET)
		ip := addr.As4()
		copy(a.data[4:8], ip[:])
		clear(a.data[8:16])
		a.size = unix.SizeofSockaddrInet4
		return
	}
	binary.NativeEndian.PutUint16(a.data[0:], unix.AF_INET6)
	ip := addr.As16()
	clear(a.data[4:8])
	copy(a.data[8:24], ip[:])
	clear(a.data[24:28])
	a.size = unix.SizeofSockaddrInet6
}

// addrPort is the address in a; the zero AddrPort when the family is another.
func (a *sockaddr) addrPort() netip.AddrPort { return parseSockaddr(a.data[:]) }

func parseSockaddr(data []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(data[2:])
	switch binary.NativeEndian.Uint16(data) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(data[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(data[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

func family(addr netip.Addr) int {
	if addr.Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func accept(fd int) (int, netip.AddrPort, unix.Errno) {
	var a sockaddr
	a.size = uint32(len(a.data))
	n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&a.data)),
		uintptr(unsafe.Pointer(&a.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(n), a.addrPort(), 0
}

// localAddr is the address a socket is bound to; for an accepted one, what the client dialled.
func localAddr(fd int) netip.AddrPort {
	var a sockaddr
	a.size = uint32(len(a.data))
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&a.data)),
		uintptr(unsafe.Pointer(&a.size)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return a.addrPort()
}

func socket(family, kind int) (int, unix.Errno) {
	n, _, errno := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(family),
		uintptr(kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}

func bind(fd int, ap netip.AddrPort) unix.Errno { return withAddr(unix.SYS_BIND, fd, ap) }

func connect(fd int, ap netip.AddrPort) unix.Errno { return withAddr(unix.SYS_CONNECT, fd, ap) }

func withAddr(call uintptr, fd int, ap netip.AddrPort) unix.Errno {
	var a sockaddr
	a.set(ap)
	_, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&a.data)), uintptr(a.size))
	return errno
}

func setOption(fd, level, option, value int) unix.Errno {
	v := int32(value) //nolint:gosec // option values are small constants
	_, _, errno := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&v)), 4, 0)
	return errno
}

// socketError takes the pending error of a socket.
func socketError(fd int) unix.Errno {
	var v, size int32 = 0, 4
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return unix.Errno(v) //nolint:gosec // an errno, never negative
}

// read takes what a socket has. recvfrom spares the checks that read makes for files.
func read(fd int32, b []byte) (int, unix.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}

// write sends b on a socket without raising SIGPIPE.
func write(fd int32, b []byte) (int, unix.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}

// splice moves at most size bytes between a socket and a pipe inside the kernel.
func splice(from, to int32, size int) (int, unix.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(size),
		unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}

func shutdownWrite(fd int32) {
	_, _, _ = syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

func closeFD(fd int32) { _, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// resetOnClose makes close send RST instead of FIN, and drop what was not sent.
func resetOnClose(fd int32) {
	linger := unix.Linger{Onoff: 1, Linger: 0}
	_, _, _ = syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER,
		uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
}

// epollWait fills events. It sleeps in a raw system call and so keeps its processor slot: the run time would otherwise
// hand the slot on and wake a monitor at each sleep. Edge therefore runs with one slot more than there are workers.
// Garbage collection still stops the world: its signal ends the call with EINTR (TestStopTheWorldWhileIdle).
func epollWait(epoll int, events []unix.EpollEvent, timeout int) int {
	n, _, _ := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(timeout), 0, 0)
	return int(n) // -1 on EINTR: no event
}

// epollRest is epollWait of a worker that has nothing to do: it gives its processor slot back. The run time interrupts
// whoever keeps one for 10 ms, asleep or not, which costs several switches of threads a hundred times a second.
func epollRest(epoll int, events []unix.EpollEvent, timeout int) int {
	n, _, _ := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(timeout), 0, 0)
	return int(n)
}

func epollAdd(epoll int, fd int32, events uint32, token token) unix.Errno {
	e := token.event(events)
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	return errno
}

// token says whose event an epoll event is. The generation tells a fresh owner of a slot from a former one.
type token struct {
	kind       kind
	index      uint32 // into the worker's sessions, flows or listeners
	generation uint32
}

type kind uint8

const (
	kindWake kind = iota
	kindListener
	kindClient
	kindOrigin
	kindDatagrams
	kindFlow
)

const indexBits = 28

func (t token) event(events uint32) unix.EpollEvent {
	return unix.EpollEvent{
		Events: events,
		Fd:     int32(uint32(t.kind)<<indexBits | t.index), //nolint:gosec // 32 bits of our own
		Pad:    int32(t.generation),                        //nolint:gosec // 32 bits of our own
	}
}

func tokenOf(e *unix.EpollEvent) token {
	word := uint32(e.Fd)                                                                                     //nolint:gosec // 32 bits of our own
	return token{kind: kind(word >> indexBits), index: word & (1<<indexBits - 1), generation: uint32(e.Pad)} //nolint:gosec // ours
}
