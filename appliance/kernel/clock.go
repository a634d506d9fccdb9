package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is the clock of the program, CLOCK_MONOTONIC in ns.
func now() uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // this clock is always there
	return uint64(t.Nano())                         //nolint:gosec // since the start of the machine
}

// wallTime is the time of day of a time of the program.
func wallTime(at uint64) time.Time {
	return time.Now().Add(-time.Duration(now() - at)) //nolint:gosec // far less than a century
}
