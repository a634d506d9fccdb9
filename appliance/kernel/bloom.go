package kernel

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// The Bloom filter of who may have a session or a socket (bpf/bloom.h). What begins is entered by the shield; here it is made anew
// when it has become full, and when something may have begun that the shield did not see.

const (
	bloomBytes = 8 * 65536 // of each of the two; TestWhys

	// bloomFull is how many entries are too many: more than one in twenty of those who are not in it seem to be.
	bloomFull = 1 << 18
	// bloomSettles is how long all takes that was under way when a filter began to be filled: who asked for a connection before
	// has a session or socket by then, or has given up.
	bloomSettles = 15 * time.Second
)

// bloom is the filter as this process keeps it.
type bloom struct {
	state   bpfBloomState // as the programs have it
	began   time.Time     // when the other one began to be filled
	entered uint64        // how much had been entered then
	doubts  int           // how often something may have begun unseen
}

// distrustBloom lets the programs look for everybody until the filter is made anew. k.mu is held.
func (k *Path) distrustBloom() error {
	k.bloom.doubts++
	return k.putBloom(bpfBloomState{Generation: k.bloom.state.Generation, Distrusted: 1})
}

func (k *Path) putBloom(s bpfBloomState) error {
	if err := k.objects.BloomStates.Put(uint32(0), &s); err != nil {
		return fmt.Errorf("configure the filter of sessions: %w", err)
	}
	k.bloom.state = s
	return nil
}

// renewBloom makes it anew, a step at a time.
func (k *Path) renewBloom() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := &k.bloom
	entered, err := sum(k.objects.BloomEntered, 0)
	if err != nil {
		return err
	}
	switch {
	case b.state.Filling == 0 && b.state.Distrusted == 0 && entered-b.entered < bloomFull:
		return nil
	case b.state.Filling == 0:
		return k.beginBloom(entered)
	case b.began.IsZero(): // it counts for a while now, and who had found the former has entered what it had to
		return k.putBloom(bpfBloomState{Generation: b.state.Generation})
	case time.Since(b.began) < bloomSettles:
		return nil
	}
	return k.fillBloom()
}

// beginBloom clears the filter that does not count, and lets what begins be entered there, too. k.mu is held.
func (k *Path) beginBloom(entered uint64) error {
	state := k.bloom.state
	if _, err := k.objects.bloom.WriteAt(make([]byte, bloomBytes), int64(state.Generation^1)*bloomBytes); err != nil {
		return fmt.Errorf("clear the filter of sessions: %w", err)
	}
	state.Filling = 1
	k.bloom.began, k.bloom.entered = time.Now(), entered
	return k.putBloom(state)
}

// fillBloom enters what there is in the filter that does not count, and lets it count. k.mu is held, but not while it enters: that takes
// a while, with many sessions.
func (k *Path) fillBloom() error {
	doubts := k.bloom.doubts
	k.mu.Unlock()
	err := errors.Join(k.enterSessions(), k.enterSockets())
	k.mu.Lock()
	if err != nil || doubts != k.bloom.doubts {
		return err
	}
	k.bloom.began = time.Time{}
	return k.putBloom(bpfBloomState{Generation: k.bloom.state.Generation ^ 1, Filling: 1})
}

// enterSessions enters those of the kernel path.
func (k *Path) enterSessions() error {
	var totals bpfTotal
	if err := k.objects.Totals.Lookup(uint32(0), &totals); err != nil {
		return fmt.Errorf("read the totals of the kernel path: %w", err)
	}
	const part = 65536                                         // the program is not interrupted
	used := uint32(min(totals.Fresh, uint64(k.objects.slots))) //nolint:gosec // bounded
	for first := uint32(0); first < used; first += part {
		f := bpfFilling{First: first, Count: min(part, used-first)}
		if _, err := k.objects.FillSessions.Run(&ebpf.RunOptions{Context: &f}); err != nil {
			return fmt.Errorf("enter what sessions there are: %w", err)
		}
	}
	return nil
}

// enterSockets enters those of this network namespace (Documentation/bpf/bpf_iterators.rst).
func (k *Path) enterSockets() error {
	it, err := link.AttachIter(link.IterOptions{Program: k.objects.FillSockets})
	if err != nil {
		return fmt.Errorf("begin to list sockets: %w", err)
	}
	run, err := it.Open()
	if err == nil {
		err = errors.Join(readAll(run), run.Close())
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("enter what sockets there are: %w", err)
	}
	return nil
}

// readAll reads a file that has no bytes. The kernel interrupts it after a million of what it looks at.
func readAll(r io.Reader) error {
	var none [1]byte
	for {
		_, err := r.Read(none[:])
		switch {
		case errors.Is(err, unix.EAGAIN):
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
