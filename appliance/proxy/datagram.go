package proxy

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch receives several datagrams in one call (recvmmsg(2)). Each lies behind headroom, so that a PROXY header can be
// put in front of it and both leave as one datagram without being copied. A batch is made once and allocates nothing.
type batch struct {
	messages []message
	vectors  []unix.Iovec
	names    []sockaddr
	controls [][controlSize]byte
	data     []byte
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	size   uint32
	_      [4]byte
}

const (
	maxDatagram = 65535
	controlSize = 64 // one control message with a sockaddr_in6: 16 + 28, aligned
	dataStride  = headroom + maxDatagram + 1
)

func newBatch(n int) *batch {
	b := &batch{
		messages: make([]message, n), vectors: make([]unix.Iovec, n), names: make([]sockaddr, n),
		controls: make([][controlSize]byte, n), data: make([]byte, n*dataStride),
	}
	for i := range n {
		b.vectors[i].Base = &b.data[i*dataStride+headroom]
		b.vectors[i].Len = maxDatagram
		h := &b.messages[i].header
		h.Name = &b.names[i].data[0]
		h.Iov, h.Iovlen = &b.vectors[i], 1
		h.Control = &b.controls[i][0]
	}
	return b
}

// receive fills the batch with what there is, without waiting.
func (b *batch) receive(fd int) (int, unix.Errno) {
	for i := range b.messages {
		h := &b.messages[i].header
		h.Namelen, h.Controllen, h.Flags = unix.SizeofSockaddrInet6, controlSize, 0
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])),
		uintptr(len(b.messages)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// payload is datagram i; a zero-length one is a datagram too.
func (b *batch) payload(i int) []byte {
	at := i*dataStride + headroom
	return b.data[at : at+int(b.messages[i].size)]
}

// withHeader puts header in front of datagram i. len(header) is at most headroom.
func (b *batch) withHeader(i int, header []byte) []byte {
	at := i*dataStride + headroom - len(header)
	copy(b.data[at:], header)
	return b.data[at : at+len(header)+int(b.messages[i].size)]
}

func (b *batch) from(i int) netip.AddrPort { return b.names[i].addrPort() }

// destination is where datagram i was sent to before TPROXY: the control message IP_ORIGDSTADDR or IPV6_ORIGDSTADDR.
func (b *batch) destination(i int) netip.AddrPort {
	const headerSize = unix.SizeofCmsghdr
	control := b.controls[i][:]
	if b.messages[i].header.Controllen < headerSize+unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	level, kind := binary.NativeEndian.Uint32(control[8:]), binary.NativeEndian.Uint32(control[12:])
	if level == unix.IPPROTO_IP && kind == unix.IP_ORIGDSTADDR || level == unix.IPPROTO_IPV6 && kind == unix.IPV6_ORIGDSTADDR {
		return parseSockaddr(control[headerSize:])
	}
	return netip.AddrPort{}
}

// sendTo sends one datagram to an address, without waiting.
func sendTo(fd int32, payload []byte, to *sockaddr) unix.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(payload))),
		uintptr(len(payload)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&to.data)), uintptr(to.size))
	return errno
}
