package main

import (
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ends of the bench block in epoll_wait through RawSyscall: with syscall.Syscall the Go runtime hands the
// thread's P away and wakes its monitor at every sleep, which costs more than the message that is measured.

const maxEvents = 256

// poller is one epoll instance; the data of an event is the index that add was given.
type poller struct {
	fd     int
	events [maxEvents]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &poller{fd: fd}, nil
}

// wait returns the events that are ready; none after timeout milliseconds (-1: wait forever).
func (p *poller) wait(timeout int) ([]unix.EpollEvent, error) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), maxEvents, uintptr(timeout), 0, 0)
		if errno == 0 {
			return p.events[:n], nil
		}
		if errno != unix.EINTR {
			return nil, fmt.Errorf("wait for events: %w", errno)
		}
	}
}

func (p *poller) control(op, fd int, events uint32, index int) syscall.Errno {
	e := unix.EpollEvent{Events: events, Fd: int32(index)}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	return errno
}

func (p *poller) add(fd int, events uint32, index int) syscall.Errno {
	return p.control(unix.EPOLL_CTL_ADD, fd, events, index)
}

func (p *poller) modify(fd int, events uint32, index int) syscall.Errno {
	return p.control(unix.EPOLL_CTL_MOD, fd, events, index)
}

func rawRecv(fd int, buf []byte, flags int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(flags), 0, 0)
	return int(n), errno
}

// rawDiscard takes up to size bytes from a TCP socket without copying them (MSG_TRUNC of tcp(7)).
func rawDiscard(fd int, size int64) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(size), unix.MSG_TRUNC, 0, 0)
	return int(n), errno
}

func rawSend(fd int, buf []byte, flags int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(flags|unix.MSG_NOSIGNAL), 0, 0)
	return int(n), errno
}

func rawRecvFrom(fd int, buf []byte, from *unix.RawSockaddrInet4) (int, syscall.Errno) {
	size := uint32(unix.SizeofSockaddrInet4)
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size)))
	return int(n), errno
}

func rawSendTo(fd int, buf []byte, to *unix.RawSockaddrInet4) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrInet4)
	return int(n), errno
}

// rawSendfile sends up to size bytes from the start of file.
func rawSendfile(fd, file int, size int64) (int, syscall.Errno) {
	var offset int64
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file), uintptr(unsafe.Pointer(&offset)), uintptr(size), 0, 0)
	return int(n), errno
}

func rawAccept(fd int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

func rawSocket(kind int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, uintptr(kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), 0)
	return int(n), errno
}

func rawConnect(fd int, to *unix.RawSockaddrInet4) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrInet4)
	return errno
}

func rawLocal(fd int, into *unix.RawSockaddrInet4) syscall.Errno {
	size := uint32(unix.SizeofSockaddrInet4)
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(into)), uintptr(unsafe.Pointer(&size)))
	return errno
}

func rawClose(fd int) {
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// rawNoDelay turns off Nagle's algorithm, as games and every proxy here do.
func rawNoDelay(fd int) {
	one := int32(1)
	_, _, _ = syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, uintptr(unsafe.Pointer(&one)), 4, 0)
}

// sockaddr is a as the kernel wants it: port and address in network byte order.
func sockaddr(a netip.AddrPort) *unix.RawSockaddrInet4 {
	port := a.Port()
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port<<8 | port>>8, Addr: a.Addr().As4()}
}

// payloadSize is that of the file both ends send bulk data from.
const payloadSize = 1 << 20

// payloadFile is a file of zeros in memory, so that bulk data is sent without a copy from user space.
func payloadFile() (int, error) {
	fd, err := unix.MemfdCreate("payload", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("create the payload file: %w", err)
	}
	if _, err := unix.Write(fd, make([]byte, payloadSize)); err != nil {
		return -1, fmt.Errorf("fill the payload file: %w", err)
	}
	return fd, nil
}
