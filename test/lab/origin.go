package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/steering"
)

// origin answers every TCP connection and datagram on every port with what it saw, then echoes. It takes all ports
// as the box itself does: steering to one transparent listener.
type origin struct {
	log   *slog.Logger
	names map[netip.Addr]string
}

// Answer is the line that the origin begins with. Its fields are part of the interface.
type Answer struct {
	Origin      string         `json:"origin"`
	Peer        netip.AddrPort `json:"peer"`   // as the socket sees it
	Header      string         `json:"header"` // none, v1, v2; on UDP none, v2, spp
	Source      netip.AddrPort `json:"source"` // from the header, else the socket's
	Destination netip.AddrPort `json:"destination"`
}

// firstBytes is how long the origin waits for a header. The box sends it at once; a client that waits for the
// server to speak gets its answer after this time.
const firstBytes = 500 * time.Millisecond

func (o *origin) run(ctx context.Context, interfaceName string) error {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	st, err := steering.New(o.log)
	if err != nil {
		return err
	}
	wish := plan.Steering{Interfaces: []string{interfaceName}}
	for addr := range o.names {
		wish.Addresses = append(wish.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, host := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		at := netip.AddrPortFrom(host, steering.ListenPort)
		if err := o.listen(ctx, group, at); err != nil {
			return err
		}
	}
	if err := st.Apply(wish); err != nil {
		return err
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return steering.Clear()
}

// listen opens the transparent TCP and UDP sockets at one address and serves them until ctx ends.
func (o *origin) listen(ctx context.Context, group *errgroup.Group, at netip.AddrPort) error {
	lc := net.ListenConfig{Control: transparent}
	lc.SetMultipathTCP(false) // TPROXY does not look for MPTCP sockets
	listener, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return fmt.Errorf("listen on tcp %s: %w", at, err)
	}
	packets, err := lc.ListenPacket(ctx, "udp", at.String())
	if err != nil {
		return fmt.Errorf("listen on udp %s: %w", at, err)
	}
	conn, ok := packets.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("listen on udp %s: got a %T", at, packets)
	}
	context.AfterFunc(ctx, func() { _ = errors.Join(listener.Close(), conn.Close()) })
	group.Go(func() error { return o.accept(listener) })
	group.Go(func() error { return o.receive(conn) })
	return nil
}

// transparent lets a socket take and use addresses that are not the machine's own, and tells datagrams' destinations.
func transparent(network, _ string, c syscall.RawConn) error {
	var errs []error
	err := c.Control(func(fd uintptr) {
		level, option, destination := unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_RECVORIGDSTADDR
		if network == "tcp6" || network == "udp6" {
			level, option, destination = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, unix.IPV6_RECVORIGDSTADDR
		}
		set := func(level, option int) { errs = append(errs, unix.SetsockoptInt(int(fd), level, option, 1)) }
		set(unix.SOL_SOCKET, unix.SO_REUSEADDR)
		set(level, option)
		if network == "udp4" || network == "udp6" {
			set(level, destination)
		}
	})
	return errors.Join(append(errs, err)...)
}

func (o *origin) accept(l net.Listener) error {
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // out of files: those who are here end some day
			o.log.Warn("accept", "err", err)
			time.Sleep(50 * time.Millisecond)
		default:
			go o.serve(conn) // ends with its client, or with the process
		}
	}
}

// serve answers one TCP connection and echoes until the client has finished.
func (o *origin) serve(nc net.Conn) {
	defer nc.Close() //nolint:errcheck // the client is gone
	conn, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	a, rest, err := o.meet(conn)
	if err != nil {
		return
	}
	if _, err := conn.Write(append(a.line(), rest...)); err != nil {
		return
	}
	_ = echo(conn) // a diagnostic tool has nobody to tell
}

// meet reads the header, if one comes, and words the answer. rest is what the client sent after it.
func (o *origin) meet(conn *net.TCPConn) (a Answer, rest []byte, err error) {
	a = o.answerTo(addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr()))
	if err := conn.SetReadDeadline(time.Now().Add(firstBytes)); err != nil {
		return a, nil, err
	}
	buf := make([]byte, 0, 512)
	for {
		h, n, err := header.Parse(buf)
		if err != nil { // not a header: what came is the client's
			break
		}
		if n > 0 {
			a.saw(h)
			buf = buf[n:]
			break
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		got, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+got]
		var timeout net.Error
		if errors.Is(err, io.EOF) || errors.As(err, &timeout) && timeout.Timeout() {
			break
		}
		if err != nil {
			return a, nil, err
		}
	}
	return a, buf, conn.SetReadDeadline(time.Time{})
}

func (o *origin) answerTo(peer, local netip.AddrPort) Answer {
	name, ok := o.names[local.Addr()]
	if !ok {
		name = local.Addr().String()
	}
	return Answer{Origin: name, Peer: peer, Header: "none", Source: peer, Destination: local}
}

// saw notes a header. A LOCAL one, of a health check, speaks of nobody, so the socket's addresses stay.
func (a *Answer) saw(h header.Header) {
	a.Header = fmt.Sprintf("v%d", h.Version)
	if !h.Local {
		a.Source, a.Destination = h.Source, h.Destination
	}
}

func (a *Answer) line() []byte {
	text, err := json.Marshal(a)
	if err != nil { // four addresses and two words: cannot be
		panic(err)
	}
	return append(text, '\n')
}

// buffers are lent to connections that have something to read. An idle one holds none, so 20,000 are cheap.
// (net's splice would hold a pipe for each.)
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// echo writes back what it reads until the client has finished.
func echo(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var buf *[64 << 10]byte
		var n int
		var errno error
		err := raw.Read(func(fd uintptr) bool {
			buf, _ = buffers.Get().(*[64 << 10]byte)
			n, errno = unix.Read(int(fd), buf[:])
			if errors.Is(errno, unix.EAGAIN) {
				buffers.Put(buf)
				return false
			}
			return true
		})
		if err := errors.Join(err, errno); err != nil || n <= 0 {
			return err
		}
		_, err = conn.Write(buf[:n])
		buffers.Put(buf)
		if err != nil {
			return err
		}
	}
}

// addrPort is the address of a TCP or UDP socket, IPv4 always as IPv4.
func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// raiseFileLimit allows as many connections as the kernel lets one process have. Where root may not raise the hard
// limit, as in some containers, that limit is in force: Go programs begin with it.
func raiseFileLimit() error {
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20} // the default of fs.nr_open
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("raise the limit of open files to %d: %w", limit.Cur, err)
	}
	return nil
}
