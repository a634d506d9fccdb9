package origin

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
)

const (
	firstCheck = time.Second // a new origin is checked within this time, whatever its interval
	hangUpTime = time.Second // for the origin to close its side
	hangUpSize = 64 * 1024   // bytes it may still say
)

// keepChecked checks one address until ctx ends.
func (s *Set) keepChecked(ctx context.Context, t checkTask) {
	if !sleep(ctx, rand.N(min(t.health.Interval, firstCheck))) { //nolint:gosec // nothing depends on nobody guessing it
		return
	}
	var row streak
	for {
		took, err := s.check(ctx, t)
		if ctx.Err() != nil {
			return // the end of the task is no failure of the origin
		}
		t.origin.judge(t.health, &row, took, err)
		if !sleep(ctx, about(t.health.Interval)) {
			return
		}
	}
}

// streak counts checks in a row. Good ones count only while the origin is down.
type streak struct{ good, bad int }

// judge draws the conclusion from one check.
func (o *Origin) judge(h plan.Health, row *streak, took time.Duration, err error) {
	o.checks.Add(1)
	old := o.now.Load()
	if err != nil {
		o.failures.Add(1)
		row.good, row.bad = 0, row.bad+1
		o.become(old, old.up && row.bad < h.Fall, err.Error())
		return
	}
	row.bad = 0
	why := fmt.Sprintf("connected in %s", took.Round(time.Microsecond))
	if old.up {
		row.good = 0
		o.become(old, true, why)
		return
	}
	row.good++
	if row.good >= h.Rise {
		o.become(old, true, why)
	}
}

// checkTCP connects to the address, says the header that the origin expects, and hangs up. took is the time until the
// connection was there.
func checkTCP(ctx context.Context, t checkTask) (took time.Duration, err error) {
	dialer := net.Dialer{Timeout: t.health.Timeout, KeepAlive: -1}
	dialer.SetMultipathTCP(false)
	started := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", t.address.String())
	if err != nil {
		return 0, err
	}
	took = time.Since(started)
	defer hangUp(ctx, conn.(*net.TCPConn))
	first, err := firstBytes(t.health.Header, conn)
	if err != nil || len(first) == 0 {
		return took, err
	}
	if _, err := conn.Write(first); err != nil {
		return took, fmt.Errorf("send the PROXY header of the check: %w", err)
	}
	return took, nil
}

// firstBytes is the header of a check: LOCAL in version 2, and in version 1, which has nothing like it, the line of
// the check's own connection. "UNKNOWN" would be allowed, but several servers refuse it.
func firstBytes(kind plan.TCPHeader, conn net.Conn) ([]byte, error) {
	switch kind {
	case plan.TCPV2:
		return header.Local(), nil
	case plan.TCPV1:
		local, remote := conn.LocalAddr().(*net.TCPAddr), conn.RemoteAddr().(*net.TCPAddr)
		return header.V1(local.AddrPort(), remote.AddrPort())
	}
	return nil, nil
}

// hangUp closes as a client that is done: it finishes its side, and takes what the origin still says. To close with
// bytes unread would be answered by the kernel with a reset, which game servers log as an error.
func hangUp(ctx context.Context, conn *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if conn.CloseWrite() == nil && conn.SetReadDeadline(time.Now().Add(hangUpTime)) == nil {
		// The check is over; how the connection ends says nothing about the origin.
		_, _ = io.CopyN(io.Discard, conn, hangUpSize)
	}
	_ = conn.Close()
}
