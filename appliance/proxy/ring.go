package proxy

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring carries many receives, or many sends, out in one system call (io_uring(7)). Who enters the kernel pays for that by more
// than most of these calls cost: on a virtual machine several microseconds, with what is lost from the caches.
//
// All sockets are non-blocking and all calls have MSG_DONTWAIT, so each ends at once, inside the call that submits it: nothing is
// ever under way, and a buffer is the kernel's only meanwhile.
type ring struct {
	fd      int
	memory  []byte // the two queues
	entries []byte // what is to be done
	buffers []byte // ringSlots of ringBuffer bytes; memory that is never written to is none
	tail    *uint32
	head    *uint32 // of completions
	ready   *uint32 // their tail
	calls   *[ringSlots]ringCall
	results *[2 * ringSlots]ringResult
	queued  uint32
	failed  unix.Errno       // why the kernel takes nothing any more; 0: it does
	result  [ringSlots]int32 // of each slot, after submit: bytes, or -errno
}

const (
	// ringSlots is how much is done at once. The bytes of the first wait for the reads of all others, so it is not large.
	ringSlots = 32
	// ringBuffer takes any datagram.
	ringBuffer = 64 << 10
	// ringTries is how often in a row the kernel may take nothing. A signal is over by then, and a lack of memory that is not would
	// keep the worker here.
	ringTries = 8
)

// ringCall is struct io_uring_sqe of linux/io_uring.h, as far as receives and sends need it.
type ringCall struct {
	op     uint8
	_      uint8
	_      uint16
	fd     int32
	to     uint64 // a sockaddr; 0: whom the socket is connected to
	data   uint64
	length uint32
	flags  uint32 // as of recv(2) and send(2)
	slot   uint64
	_      uint32
	toSize uint16
	_      uint16
	_      [2]uint64
}

// ringResult is struct io_uring_cqe.
type ringResult struct {
	slot   uint64
	result int32
	_      uint32
}

// ringSetup is struct io_uring_params.
type ringSetup struct {
	calls, results, flags uint32
	_                     [3]uint32
	_                     [4]uint32
	call, done            ringOffsets
}

// ringOffsets are struct io_sqring_offsets and io_cqring_offsets.
type ringOffsets struct {
	head, tail uint32
	_          [3]uint32
	results    uint32 // of the second
	order      uint32 // of the first
	_          [3]uint32
}

// ringRestriction is struct io_uring_restriction.
type ringRestriction struct {
	kind uint16
	op   uint8
	_    uint8
	_    [3]uint32
}

// Of linux/io_uring.h.
const (
	ringDisabled     = 1 << 6  // IORING_SETUP_R_DISABLED
	ringOneThread    = 1 << 12 // IORING_SETUP_SINGLE_ISSUER
	ringDeferred     = 1 << 13 // IORING_SETUP_DEFER_TASKRUN
	ringSend         = 26      // IORING_OP_SEND
	ringReceive      = 27      // IORING_OP_RECV
	ringWait         = 1       // IORING_ENTER_GETEVENTS
	ringRestrict     = 11      // IORING_REGISTER_RESTRICTIONS
	ringEnable       = 12      // IORING_REGISTER_ENABLE_RINGS
	ringRestrictCall = 1       // IORING_RESTRICTION_SQE_OP
	ringEntries      = 0x10000000
)

// newRing makes a ring that can receive and send, and nothing else. It must be enabled by the thread that is going to use it.
func newRing() (*ring, error) {
	setup := ringSetup{flags: ringDisabled | ringOneThread | ringDeferred}
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, ringSlots, uintptr(unsafe.Pointer(&setup)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("set up io_uring: %w", errno)
	}
	r := &ring{fd: int(fd)}
	if err := r.open(&setup); err != nil {
		r.close()
		return nil, fmt.Errorf("set up io_uring: %w", err)
	}
	return r, nil
}

func (r *ring) open(setup *ringSetup) (err error) {
	if setup.calls != ringSlots || setup.results != 2*ringSlots {
		return fmt.Errorf("there is room for %d calls and %d results", setup.calls, setup.results)
	}
	const own = unix.PROT_READ | unix.PROT_WRITE
	order := (*[ringSlots]uint32)(nil)
	size := max(int(setup.call.order)+int(unsafe.Sizeof(*order)), int(setup.done.results)+int(unsafe.Sizeof(*r.results)))
	if r.memory, err = unix.Mmap(r.fd, 0, size, own, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return err
	}
	if r.entries, err = unix.Mmap(r.fd, ringEntries, int(unsafe.Sizeof(*r.calls)), own, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return err
	}
	if r.buffers, err = unix.Mmap(-1, 0, ringSlots*ringBuffer, own, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return err
	}
	at := func(offset uint32) unsafe.Pointer { return unsafe.Pointer(&r.memory[offset]) }
	r.tail, r.head, r.ready = (*uint32)(at(setup.call.tail)), (*uint32)(at(setup.done.head)), (*uint32)(at(setup.done.tail))
	r.results = (*[2 * ringSlots]ringResult)(at(setup.done.results))
	r.calls = (*[ringSlots]ringCall)(unsafe.Pointer(&r.entries[0]))
	order = (*[ringSlots]uint32)(at(setup.call.order))
	for i := range order {
		order[i] = uint32(i) //nolint:gosec // small
	}
	return r.restrict()
}

// restrict leaves nothing that can be asked for but the two calls.
func (r *ring) restrict() error {
	allowed := [2]ringRestriction{{kind: ringRestrictCall, op: ringSend}, {kind: ringRestrictCall, op: ringReceive}}
	return r.register(ringRestrict, unsafe.Pointer(&allowed), uintptr(len(allowed)))
}

// enable gives the ring to the thread that calls it.
func (r *ring) enable() error { return r.register(ringEnable, nil, 0) }

func (r *ring) register(what uintptr, arg unsafe.Pointer, n uintptr) error {
	_, _, errno := syscall.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), what, uintptr(arg), n, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (r *ring) close() {
	for _, m := range [][]byte{r.memory, r.entries, r.buffers} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	_ = unix.Close(r.fd)
}

// buffer is where the bytes of a slot are.
func (r *ring) buffer(slot int) []byte { return r.buffers[slot*ringBuffer : (slot+1)*ringBuffer] }

// receive queues a read of at most size bytes into the buffer of a slot.
func (r *ring) receive(slot int, fd int32, size int) {
	r.add(slot, r.buffer(slot)[:size], ringCall{op: ringReceive, fd: fd, flags: unix.MSG_DONTWAIT})
}

// send queues a write of b, which must stay as it is until submit.
func (r *ring) send(slot int, fd int32, b []byte) {
	r.add(slot, b, ringCall{op: ringSend, fd: fd, flags: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL})
}

// sendTo is send to an address, which must stay as well.
func (r *ring) sendTo(slot int, fd int32, b []byte, to *sockaddr) {
	r.add(slot, b, ringCall{op: ringSend, fd: fd, flags: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL,
		to: uint64(uintptr(unsafe.Pointer(&to.data))), toSize: uint16(to.size)}) //nolint:gosec // 28 at most
}

func (r *ring) add(slot int, b []byte, c ringCall) {
	c.slot, c.data, c.length = uint64(slot), uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), uint32(len(b)) //nolint:gosec // small
	r.calls[(*r.tail+r.queued)%ringSlots] = c
	r.queued++
}

// submit carries out what is queued, at most one call a slot, and notes the results. What the kernel does not take is carried out
// call by call, and so is everything from then on: the worker is to give up the ring.
func (r *ring) submit() {
	end := *r.tail + r.queued
	atomic.StoreUint32(r.tail, end)
	if r.failed == 0 {
		r.enter()
	}
	for ; r.queued > 0; r.queued-- {
		c := &r.calls[(end-r.queued)%ringSlots]
		r.result[c.slot] = c.alone()
	}
}

// enter hands what is queued to the kernel, and leaves in queued what it did not take. An error says that nothing was taken by this
// call, and what was by the ones before has ended.
func (r *ring) enter() {
	for tries := 1; r.queued > 0; tries++ {
		_, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.queued), uintptr(r.queued), ringWait, 0, 0)
		r.take()
		switch {
		case errno == 0:
			tries = 0
		case tries == ringTries:
			r.failed = errno
			return
		}
	}
}

// alone carries out a call by itself, and gives its result: bytes, or -errno.
func (c *ringCall) alone() int32 {
	call := uintptr(unix.SYS_SENDTO)
	if c.op == ringReceive {
		call = unix.SYS_RECVFROM
	}
	n, _, errno := syscall.RawSyscall6(call, uintptr(c.fd), uintptr(c.data), uintptr(c.length), uintptr(c.flags), uintptr(c.to), uintptr(c.toSize))
	if errno != 0 {
		return -int32(errno) //nolint:gosec // small
	}
	return int32(n) //nolint:gosec // at most length
}

// take notes the results that there are.
func (r *ring) take() {
	head, tail := *r.head, atomic.LoadUint32(r.ready)
	for ; head != tail; head++ {
		done := &r.results[head%(2*ringSlots)]
		r.result[done.slot] = done.result
		r.queued--
	}
	atomic.StoreUint32(r.head, head)
}
