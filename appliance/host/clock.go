package host

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is what the kernel knows of the machine's clock.
type Clock struct {
	Synchronised bool          // something keeps it on the time of others
	Off          time.Duration // at most, while it is
}

// The kernel's words for a clock that nobody keeps (linux/timex.h).
const (
	statusUnsynchronised = 0x40 // STA_UNSYNC
	stateError           = 5    // TIME_ERROR
)

// ReadClock asks the kernel (adjtimex(2)), which needs no right while nothing is set. chrony tells the kernel that the
// clock is synchronised, and by how much it may be off; without news that grows, and at 16 s the kernel takes the clock
// for unsynchronised.
func ReadClock() (Clock, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Clock{}, fmt.Errorf("ask the kernel for its clock: %w", err)
	}
	return clockOf(state, t.Status, t.Maxerror), nil
}

// clockOf reads the answer of adjtimex(2): its result, the status bits and the maximum error in microseconds.
func clockOf(state int, bits int32, maxError int64) Clock {
	if state == stateError || bits&statusUnsynchronised != 0 {
		return Clock{}
	}
	return Clock{true, time.Duration(maxError) * time.Microsecond}
}
