package lab

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Roomy lets a socket hold 32 MiB of what comes, more than the machine gives unasked (SO_RCVBUFFORCE of socket(7)): an end that waits
// for a processor is not to lose what the other sends. It needs root.
func Roomy(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("make room in a socket: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) }) //nolint:gosec // an fd
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("make room in a socket: %w", err)
	}
	return nil
}
