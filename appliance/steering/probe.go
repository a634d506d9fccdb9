package steering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNoReturn means that nothing came back from the origin to a foreign source address: its answers do not go
// through the box, or the origin is silent altogether.
var ErrNoReturn = errors.New("no answer came back through the box")

// Sources that are never a real client: TEST-NET-1 (RFC 5737) and the discard prefix (RFC 6666).
func probeSource(f family) netip.Addr {
	return [...]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1}), netip.MustParseAddr("100::1")}[f]
}

// ProbeReturn dials origin from a foreign source address, as a transparent session does, and returns nil when the
// answer (SYN-ACK or RST) comes back through the box. It returns ErrNoReturn when none came before the deadline
// of ctx, at most 4 s. It needs steering with Transparent in force, and CAP_NET_ADMIN.
func ProbeReturn(ctx context.Context, origin netip.AddrPort) error {
	deadline, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	origin = netip.AddrPortFrom(origin.Addr().Unmap(), origin.Port())
	f := familyOf(origin.Addr())
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(probeSource(f), 0)),
		Control:   func(_, _ string, c syscall.RawConn) error { return makeTransparent(c, f) },
	}
	conn, err := d.DialContext(deadline, "tcp", origin.String())
	switch {
	case err == nil:
		return closeWithReset(conn)
	case errors.Is(err, unix.ECONNREFUSED):
		return nil
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		return fmt.Errorf("probe the way back from %s: %w", origin, ErrNoReturn)
	}
	return fmt.Errorf("probe the way back from %s: %w", origin, err)
}

// makeTransparent lets the socket bind to an address that is not the box's.
func makeTransparent(c syscall.RawConn, f family) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if f == ipv6 {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) }); err != nil {
		return err
	}
	return failed
}

// closeWithReset leaves no TIME_WAIT behind, and tells the origin at once that nothing will follow.
func closeWithReset(conn net.Conn) error {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return fmt.Errorf("reset the probe: %w", err)
		}
	}
	return conn.Close()
}

// LocalAddresses are the box's own addresses, edge addresses included, AnyIP prefixes not: an origin that has one
// of them is a loop.
func LocalAddresses() ([]netip.Addr, error) {
	found, err := dump(listAddresses)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	list := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		list = append(list, a.addr)
	}
	return list, nil
}
