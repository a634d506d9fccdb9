package proxy

import (
	"bytes"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// opOpen is IORING_OP_OPENAT, which no ring may.
const opOpen = 18

// TestRing: each call of a batch has its own result, and nothing but receives and sends is carried out.
func TestRing(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := newRing()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.enable(); err != nil {
		t.Fatal(err)
	}
	full, talker := pair(t)
	silent, _ := pair(t)
	ended, leaver := pair(t)
	if _, err := unix.Write(talker, bytes.Repeat([]byte("x"), 100)); err != nil {
		t.Fatal(err)
	}
	_ = unix.Shutdown(leaver, unix.SHUT_WR)
	for round := range 3 * ringSlots { // more than the queues hold
		r.receive(3, int32(full), 100)
		r.receive(0, int32(silent), 100)
		r.receive(2, int32(ended), 100)
		r.receive(1, -1, 100)
		r.submit()
		want := [4]int32{-int32(unix.EAGAIN), -int32(unix.EBADF), 0, 100}
		if got := [4]int32(r.result[:4]); got != want {
			t.Fatalf("round %d: got %v, want %v", round, got, want)
		}
		r.send(3, int32(talker), r.buffer(3)[:100])
		r.submit()
		if r.result[3] != 100 {
			t.Fatalf("round %d: %d bytes were sent", round, r.result[3])
		}
		b := make([]byte, 200)
		if n, err := unix.Read(full, b); n != 100 || err != nil {
			t.Fatalf("read %d, %v", n, err)
		}
		if _, err := unix.Write(talker, b[:100]); err != nil {
			t.Fatal(err)
		}
	}
	r.add(0, []byte("/etc/hostname\x00"), ringCall{op: opOpen, fd: unix.AT_FDCWD})
	r.submit()
	if got := r.result[0]; got != -int32(unix.EACCES) {
		t.Errorf("a call that is not allowed ended with %d, want EACCES", got)
	}
}

// refuseRing lets the kernel answer io_uring_enter(2) of this thread with errno from now on, where at most most calls are handed in.
// The thread ends with its goroutine.
func refuseRing(errno unix.Errno, most uint32) error {
	runtime.LockOSThread()
	const number, handedIn = 0, 16 + 8 // in struct seccomp_data; the low half of the second argument
	const load, larger, equal, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K,
		unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, Jf: 3, K: unix.SYS_IO_URING_ENTER},
		{Code: load, K: handedIn},
		{Code: larger, Jt: 1, K: most},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return errno
	}
	return nil
}

// TestRingThatTheKernelRefuses: a worker turned for ever in a system call that found no memory, and ended edge at any other error.
func TestRingThatTheKernelRefuses(t *testing.T) {
	tests := []struct {
		name  string
		errno unix.Errno
		most  uint32 // handed in at once, for a refusal
	}{
		{"no memory", unix.EAGAIN, ringSlots},
		{"no memory for a wait", unix.ENOMEM, ringSlots},
		{"too much to tell", unix.EBUSY, ringSlots},
		{"a signal again and again", unix.EINTR, ringSlots},
		{"a rule of the system", unix.EPERM, ringSlots},
		{"no memory after half of it", unix.EAGAIN, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				refusedRing(t, test.errno, test.most)
			}()
			<-done
		})
	}
}

func refusedRing(t *testing.T, errno unix.Errno, most uint32) {
	runtime.LockOSThread()
	r, err := newRing()
	if err != nil {
		t.Error(err)
		return
	}
	defer r.close()
	if err := r.enable(); err != nil {
		t.Error(err)
		return
	}
	if err := refuseRing(errno, most); err != nil {
		t.Error(err)
		return
	}
	near, far := pair(t)
	silent, _ := pair(t)
	if most < ringSlots {
		// A call that is not allowed ends what the kernel takes at once: two are left.
		r.add(3, []byte("/etc/hostname\x00"), ringCall{op: opOpen, fd: unix.AT_FDCWD})
	}
	r.receive(0, int32(silent), 100)
	r.send(1, int32(near), []byte("sent"))
	r.submit()
	want := [2]int32{-int32(unix.EAGAIN), 4}
	if got := [2]int32(r.result[:2]); got != want || r.failed != errno {
		t.Errorf("got %v, %v; want %v, %v", got, r.failed, want, errno)
	}
	if most < ringSlots && r.result[3] != -int32(unix.EACCES) {
		t.Errorf("what the kernel took ended with %d, want EACCES", r.result[3])
	}
	wantRead(t, far, "sent")
	r.send(2, int32(near), []byte("later"))
	r.receive(0, -1, 100)
	r.submit()
	if r.result[2] != 5 || r.result[0] != -int32(unix.EBADF) {
		t.Errorf("later calls ended with %d and %d", r.result[2], r.result[0])
	}
	wantRead(t, far, "later")
}

func wantRead(t *testing.T, fd int, want string) {
	t.Helper()
	b := make([]byte, 100)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != want {
		t.Errorf("read %q, %v, want %q", b[:max(n, 0)], err, want)
	}
}

// withAndWithout runs a test with rings, without them as on a kernel that has none, and with rings that the kernel refuses from the
// first batch on.
func withAndWithout(t *testing.T, test func(t *testing.T, ready func(*box))) {
	t.Run("together", func(t *testing.T) {
		test(t, func(b *box) { b.eachRing(t, func(*worker) {}) })
	})
	t.Run("one by one", func(t *testing.T) {
		test(t, func(b *box) { b.eachRing(t, func(w *worker) { w.ring.close(); w.ring = nil }) })
	})
	t.Run("refused", func(t *testing.T) {
		test(t, func(b *box) { b.refuseRings(t) })
	})
}

// eachRing runs do in each worker, which must have a ring.
func (b *box) eachRing(t *testing.T, do func(*worker)) {
	t.Helper()
	for _, w := range b.workers {
		w.ask(func() {
			if w.ring == nil {
				t.Error("a worker has no ring")
				return
			}
			do(w)
		})
	}
}

func (b *box) refuseRings(t *testing.T) {
	t.Helper()
	b.eachRing(t, func(*worker) {
		if err := refuseRing(unix.EAGAIN, ringSlots); err != nil {
			t.Error(err)
		}
	})
}

// TestWorkersGiveUpRefusedRings: once it was refused, a worker goes on as one without.
func TestWorkersGiveUpRefusedRings(t *testing.T) {
	manyAtOnce(t, func(b *box) {
		b.refuseRings(t)
		t.Cleanup(func() {
			for _, w := range b.workers {
				w.ask(func() {
					if w.ring != nil {
						t.Errorf("worker %d has a ring that the kernel refuses", w.number)
					}
				})
			}
		})
	})
}
